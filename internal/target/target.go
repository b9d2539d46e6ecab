// SPDX-License-Identifier: Apache-2.0

// Package target names the cluster and the registry that a command works on, for
// reports and for questions.
package target

import (
	"cmp"
	"fmt"
	"strings"
)

// Target is a cluster and a registry. Fields that are not known are empty.
type Target struct {
	// Context is the name of the kubeconfig context; empty inside a cluster.
	Context string `json:"context,omitempty"`
	// Server is the URL of the API server.
	Server string `json:"server,omitempty"`
	// Cluster is the name in EKS.
	Cluster string `json:"cluster,omitempty"`
	// Account and Region are those of AWS.
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"`
	// Registry is the prefix of the private images.
	Registry string `json:"registry,omitempty"`
}

// WithRegistry returns the target with a registry, and with its account and region where
// those of the cluster are not known.
func (t Target) WithRegistry(prefix, account, region string) Target {
	t.Registry, t.Account, t.Region = prefix, cmp.Or(t.Account, account), cmp.Or(t.Region, region)
	return t
}

// String names the cluster on one line, such as "cluster prod (context admin, https://...)".
func (t Target) String() string {
	var details []string
	if t.Context != "" {
		details = append(details, "context "+t.Context)
	}
	if t.Server != "" {
		details = append(details, t.Server)
	}
	name := "the cluster"
	if t.Cluster != "" {
		name += " " + t.Cluster
	}
	if len(details) == 0 {
		return name
	}
	return fmt.Sprintf("%s (%s)", name, strings.Join(details, ", "))
}
