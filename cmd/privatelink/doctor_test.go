// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

// isolated returns arguments for a doctor without a cluster and without
// credentials.
func isolated(t *testing.T, args ...string) []string {
	t.Helper()
	missingFile := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_CONFIG_FILE": missingFile, "AWS_SHARED_CREDENTIALS_FILE": missingFile,
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "KUBECONFIG": missingFile, "HOME": filepath.Dir(missingFile),
	} {
		t.Setenv(name, value)
	}
	return append([]string{"doctor", "--lock", missingFile}, args...)
}

func TestDoctorWithoutAccessReportsUnknown(t *testing.T) {
	for name, registry := range map[string]string{"ECR": ecr, "another registry": "registry.example.com/castai"} {
		t.Run(name, func(t *testing.T) {
			code, out, err := call(t, nil, "", isolated(t, "--registry", registry, "-o", "json", "--skip", "registry/login,registry/repositories,registry/images,registry/platforms,registry/webhook-image")...)
			if code != 1 {
				t.Fatalf("exit code %d: %s%s", code, out, err)
			}
			var report struct {
				Checks []struct{ ID, Status, Found, Remedy, Cause string }
			}
			if err := json.Unmarshal([]byte(out), &report); err != nil {
				t.Fatal(err)
			}
			for _, c := range report.Checks {
				if c.Status != "unknown" && c.Status != "skipped" || c.Status == "unknown" && c.Cause == "" && c.Remedy == "" {
					t.Errorf("%+v", c)
				}
			}
		})
	}
}

func TestDoctorUsageErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"an unknown format":               {[]string{"--registry", ecr, "-o", "xml"}, "use json, yaml, html or junit"},
		"an unknown group":                {[]string{"--registry", ecr, "--only", "netwrok"}, `"netwrok": no such check or group`},
		"from a pod and from here":        {[]string{"--registry", ecr, "--probe", "--inside"}, "exclude each other"},
		"an unknown engine":               {[]string{"--registry", ecr, "--engine", "istio"}, "use webhook or policy"},
		"an unknown engine to list":       {[]string{"--list", "--engine", "istio"}, "use webhook or policy"},
		"results of a list":               {[]string{"--list", "-o", "junit"}, "use json or yaml"},
		"a time that is over":             {[]string{"--registry", ecr, "--wait", "-1s"}, "not negative"},
		"a host without a port":           {[]string{"--registry", ecr, "--castai-host", "api.cast.ai"}, "HOST:PORT"},
		"an unknown CAST AI service":      {[]string{"--registry", ecr, "--castai-service", "grcp=x"}, "use one of api, grpc"},
		"neither a registry nor cluster":  {nil, "set --registry or --config"},
		"a configuration that has faults": {[]string{"--registry", "https://x"}, "begins with a scheme"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, out, err := call(t, nil, "", isolated(t, tc.args...)...); code != 2 || !strings.Contains(err, tc.want) {
				t.Errorf("exit code %d, %q, want %q; %s", code, err, tc.want, out)
			}
		})
	}
}

func TestDoctorDocumentListsEveryCheck(t *testing.T) {
	var lines []string
	for _, engine := range []string{"webhook", "policy"} {
		code, out, stderr := call(t, nil, "", isolated(t, "--list", "--engine", engine)...)
		if code != 0 {
			t.Fatal(code, stderr)
		}
		lines = append(lines, strings.Split(strings.TrimSpace(out), "\n")...)
	}
	seen := map[string]bool{}
	var table strings.Builder
	table.WriteString("| check | what is expected | because |\n|---|---|---|\n")
	for i := 0; i+2 < len(lines); i += 3 {
		if seen[lines[i]] { // checks of both engines
			continue
		}
		seen[lines[i]] = true
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", lines[i], strings.TrimSpace(lines[i+1]), strings.TrimSpace(lines[i+2]))
	}
	const file, begin, end = "../../docs/reference/doctor.md", "-update -->\n", "<!-- end -->"
	document, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(document), begin)
	was, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no markers for the table", file)
	}
	if golden.Update() {
		if err := os.WriteFile(file, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(table.String(), was); diff != "" {
		t.Errorf("%s differs; run the test with -update:\n%s", file, diff)
	}
}
