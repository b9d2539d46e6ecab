// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/castai/privatelink-webhook/internal/doctor/identity"
	"github.com/castai/privatelink-webhook/internal/doctor/network"
	"github.com/castai/privatelink-webhook/internal/doctor/registry"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// iamStatement is a statement of an IAM policy.
type iamStatement struct {
	Sid      string
	Effect   string
	Action   []string
	Resource string
}

// IAMPolicy writes the IAM policy that the checks need, and no more. Without rules, it is
// for all repositories.
func IAMPolicy(w io.Writer, rules *rewrite.Rules) error {
	repositories, err := repositoriesOf(rules)
	if err != nil {
		return err
	}
	reads := slices.Concat(network.Actions(), identity.Actions())
	slices.Sort(reads)
	statements := []iamStatement{{"DoctorReads", "Allow", slices.Compact(reads), "*"}}
	if repositories != "" {
		statements = append(statements, iamStatement{"RegistryLogin", "Allow", []string{registry.LoginAction}, "*"}, iamStatement{"RegistryReads", "Allow", registry.Actions(), repositories})
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		Version   string
		Statement []iamStatement
	}{"2012-10-17", statements})
}

// repositoriesOf returns the ARN of the repositories of a registry, or "" if it is not in
// ECR.
func repositoriesOf(rules *rewrite.Rules) (string, error) {
	if rules == nil {
		return "*", nil
	}
	if !rules.OnECR() {
		return "", nil
	}
	host, err := rewrite.ParseECRHost(rules.Registry())
	if err != nil {
		return "", err
	}
	_, prefix, _ := strings.Cut(rules.Registry(), "/")
	if prefix != "" {
		prefix += "/"
	}
	return fmt.Sprintf("arn:%s:ecr:%s:%s:repository/%s*", host.Partition, host.Region, host.Account, prefix), nil
}
