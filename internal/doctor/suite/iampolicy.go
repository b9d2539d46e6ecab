// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/identity"
	"github.com/castai/privatelink-webhook/internal/doctor/network"
	"github.com/castai/privatelink-webhook/internal/doctor/registry"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror/lockstore"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/s3bucket"
)

// iamStatement is a statement of an IAM policy.
type iamStatement struct {
	Sid      string
	Effect   string
	Action   []string
	Resource string
}

// IAMPolicy writes the IAM policy that the checks need, and no more. Without rules, it is
// for all repositories. lockFile is that of Options.
func IAMPolicy(w io.Writer, rules *rewrite.Rules, lockFile string) error {
	if _, err := lockstore.Open(lockFile, lockstore.Options{}); err != nil {
		return exitcode.AsUsage(err)
	}
	repositories, err := repositoriesOf(rules)
	if err != nil {
		return err
	}
	reads := doctor.Distinct(slices.Concat(network.Actions(), identity.Actions()))
	statements := []iamStatement{{"DoctorReads", "Allow", reads, "*"}}
	if repositories != "" {
		statements = append(statements, iamStatement{"RegistryLogin", "Allow", []string{registry.LoginAction}, "*"}, iamStatement{"RegistryReads", "Allow", registry.Actions(), repositories})
	}
	if object, ok := strings.CutPrefix(lockFile, s3bucket.Scheme); ok {
		statements = append(statements, lockReads(repositories, object)...)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		Version   string
		Statement []iamStatement
	}{"2012-10-17", statements})
}

// lockReads returns the statements for a lock in S3, BUCKET/KEY, in the partition of the
// repositories. Without the right to list the bucket, S3 answers 403 for an object that is
// not there:
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
func lockReads(repositories, object string) []iamStatement {
	s3 := "arn:aws:s3:::"
	if parts := strings.Split(repositories, ":"); len(parts) > 1 {
		s3 = "arn:" + parts[1] + ":s3:::"
	}
	bucket, _, _ := strings.Cut(object, "/")
	return []iamStatement{
		{"LockBucketLists", "Allow", []string{"s3:ListBucket"}, s3 + bucket},
		{"LockReads", "Allow", []string{"s3:GetObject"}, s3 + object},
	}
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
