// SPDX-License-Identifier: Apache-2.0

//go:build aws

package terraform

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// withoutHelm is the example helm-release without the parts of the Helm provider, which
// is not available everywhere, and with an output of what the provider would log in with.
func withoutHelm(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(module, "examples", "helm-release", "main.tf"))
	if err != nil {
		t.Fatal(err)
	}
	out := string(text)
	for begin, end := range map[string]string{"    helm = {\n": "    }\n", "provider \"helm\" {\n": "\n}\n", "resource \"helm_release\" \"webhook\" {\n": "\n}\n"} {
		before, rest, found := strings.Cut(out, begin)
		_, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			t.Fatalf("the example has no %q", begin)
		}
		out = before + after
	}
	return out + `
output "login" {
  sensitive = true
  value = {
    host    = local.host
    account = local.account
    region  = local.region
    user    = data.aws_ecr_authorization_token.this.user_name
    token   = data.aws_ecr_authorization_token.this.password
  }
}
`
}

func TestHelmReleaseReadsATokenOfTheRegistry(t *testing.T) {
	w := newFixture(t, "new-vpc")
	if err := os.WriteFile(filepath.Join(w.example, "main.tf"), []byte(withoutHelm(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	vars := func(registry string) []string {
		return []string{"-input=false", "-no-color", "-var=chart_version=0.2.0", "-var=registry=" + registry}
	}
	w.must(t, append([]string{"apply", "-auto-approve"}, vars("123456789012.dkr.ecr.us-east-1.amazonaws.com/castai")...)...)
	var login struct{ Host, Account, Region, User, Token string }
	if err := json.Unmarshal([]byte(w.must(t, "output", "-json", "login")), &login); err != nil {
		t.Fatal(err)
	}
	if login.Host != "123456789012.dkr.ecr.us-east-1.amazonaws.com" || login.Account != "123456789012" || login.Region != "us-east-1" || login.User != "AWS" || login.Token == "" {
		t.Errorf("host %s, account %s, region %s, user %s, a token of %d characters", login.Host, login.Account, login.Region, login.User, len(login.Token))
	}
	for _, registry := range []string{
		"https://123456789012.dkr.ecr.us-east-1.amazonaws.com/castai", "123456789012.dkr.ecr.us-east-1.amazonaws.com", "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai/", "ghcr.io/castai",
	} {
		out, code, _ := w.run(t.Context(), append([]string{"plan"}, vars(registry)...)...)
		if code != 1 || !strings.Contains(strings.Join(strings.Fields(strings.ReplaceAll(out, "│", " ")), " "), "registry must be ACCOUNT.dkr.ecr.REGION.amazonaws.com/PATH") {
			t.Errorf("registry %s: exit code %d\n%s", registry, code, out)
		}
	}
}
