// SPDX-License-Identifier: Apache-2.0

package kubeconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/exitcode"
)

const sample = `apiVersion: v1
kind: Config
current-context: login
clusters:
- {name: "arn:aws:eks:eu-central-1:123456789012:cluster/by-arn", cluster: {server: "https://127.0.0.1:1"}}
- {name: local, cluster: {server: "https://127.0.0.1:1"}}
contexts:
- {name: login, context: {cluster: local, user: exec}}
- {name: arn, context: {cluster: "arn:aws:eks:eu-central-1:123456789012:cluster/by-arn", user: token}}
- {name: local, context: {cluster: local, user: token}}
users:
- name: exec
  user: {exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: aws, args: [eks, get-token, --cluster-name, by-login]}}
- {name: token, user: {token: t}}
`

func TestOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(sample), 0o600); err != nil {
		t.Fatal(err)
	}
	for context, want := range map[string]string{"": "by-login", "login": "by-login", "arn": "by-arn", "local": "", "none": ""} {
		if got := (Options{File: file, Context: context}).EKSCluster(); got != want {
			t.Errorf("context %q: EKS cluster %q, want %q", context, got, want)
		}
	}
	for server, want := range map[string]string{
		"https://0A1B.gr7.us-east-1.eks.amazonaws.com":         "0a1b.gr7.us-east-1.eks.amazonaws.com",
		"https://0A1B.gr7.us-east-1.eks.amazonaws.com.evil.io": "",
		"https://127.0.0.1:8443":                               "",
		"%":                                                    "",
	} {
		if got := EKSHost(server); got != want {
			t.Errorf("%s: host of EKS %q, want %q", server, got, want)
		}
	}
	client, config, err := Options{File: file, Context: "local"}.Connect()
	if err != nil || client == nil || config.Host != "https://127.0.0.1:1" {
		t.Errorf("%v %v", config, err)
	}
	missing := Options{File: filepath.Join(t.TempDir(), "none")}
	if _, err := missing.Client(); exitcode.Code(err) != exitcode.Usage || !strings.Contains(err.Error(), "--kubeconfig") {
		t.Errorf("error %v", err)
	}
	if got := missing.EKSCluster(); got != "" {
		t.Errorf("EKS cluster %q", got)
	}
}
