// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/buildinfo"
)

func TestTheConfigurationOfTheCurrentFolder(t *testing.T) {
	const other = "registry.example.com/other"
	config := write(t, "other.yaml", "registry: "+other+"\n")
	for name, tc := range map[string]struct {
		file   string
		env    map[string]string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		"is read, and reported":                 {file: "registry: " + ecr + "\nkeep: [quay.io]\n", args: []string{"quay.io/a:1"}, stdout: "quay.io/a:1\tquay.io/a:1\n", stderr: "privatelink: reading privatelink.yaml in the current folder, for the registry " + ecr + "; --config or --registry select another configuration\n"},
		"gives way to --config":                 {file: "faulty", args: []string{"--config", config, "quay.io/a:1"}, stdout: "quay.io/a:1\t" + other + "/quay.io/a:1\n"},
		"gives way to PRIVATELINK_CONFIG":       {file: "faulty", env: map[string]string{"PRIVATELINK_CONFIG": config}, args: []string{"quay.io/a:1"}, stdout: "quay.io/a:1\t" + other + "/quay.io/a:1\n"},
		"gives way to --registry, not silently": {file: "faulty", args: []string{"--registry", other, "quay.io/a:1"}, stdout: "quay.io/a:1\t" + other + "/quay.io/a:1\n", stderr: "privatelink: privatelink.yaml in the current folder is not read, because --registry is set; --config privatelink.yaml reads it\n"},
		"gives way to PRIVATELINK_REGISTRY":     {file: "faulty", env: map[string]string{"PRIVATELINK_REGISTRY": other}, args: []string{"quay.io/a:1"}, stdout: "quay.io/a:1\t" + other + "/quay.io/a:1\n", stderr: "privatelink: privatelink.yaml in the current folder is not read, because --registry is set; --config privatelink.yaml reads it\n"},
		"is named in its errors":                {file: "registri: x\n", args: []string{"a"}, code: 2, stderr: "privatelink.yaml:1: registri: unknown key"},
		"is not another kind of file":           {file: "apiVersion: v1\nkind: Namespace\n", args: []string{"a"}, code: 2, stderr: "privatelink.yaml:1"},
		"is not required":                       {args: []string{"a"}, code: 2, stderr: "give --registry PREFIX, or --config FILE"},
		"is not an empty --config":              {file: "registry: " + ecr + "\n", args: []string{"--config", "", "a"}, code: 2, stderr: "--config: is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if tc.file != "" {
				if err := os.WriteFile("privatelink.yaml", []byte(tc.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			code, stdout, stderr := call(t, tc.env, "", append([]string{"rewrite"}, tc.args...)...)
			if code != tc.code || stdout != tc.stdout || !strings.Contains(stderr, tc.stderr) || (tc.stderr == "") != (stderr == "") {
				t.Errorf("code %d, want %d\nstdout %q\n  want %q\nstderr %q\n  want %q", code, tc.code, stdout, tc.stdout, stderr, tc.stderr)
			}
		})
	}
}

// The document of install is the same, wherever its configuration comes from.
func TestInstallReadsTheCurrentFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("privatelink.yaml", []byte("registry: "+ecr+"\nnamespaces: [castai-omni]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, found, stderr := call(t, nil, "", "install")
	if _, named, _ := call(t, nil, "", "install", "--config", "privatelink.yaml"); found != named || !strings.Contains(found, "castai-omni") || !strings.Contains(stderr, "reading privatelink.yaml") {
		t.Errorf("stderr %q; the documents differ: %t", stderr, found != named)
	}
}

// --values have rules of their own.
func TestInstallByValuesDoesNotReadTheCurrentFolder(t *testing.T) {
	values := write(t, "values.yaml", "registry: "+ecr+"\n")
	t.Chdir(t.TempDir())
	if err := os.WriteFile("privatelink.yaml", []byte("registry: registry.example.com/other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := call(t, nil, "", "install", "--values", values)
	if code != 0 || !strings.Contains(stdout, ecr) || strings.Contains(stdout, "registry.example.com") || !strings.Contains(stderr, "not read, because --values is set") {
		t.Errorf("code %d, stderr %q", code, stderr)
	}
}

// The doctor compares the cluster with its own configuration, unless it is told to use
// another one.
func TestTheDoctorDoesNotReadTheCurrentFolder(t *testing.T) {
	args := isolated(t)
	t.Chdir(t.TempDir())
	if err := os.WriteFile("privatelink.yaml", []byte("registry: "+ecr+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := call(t, nil, "", args...); code != 2 || !strings.Contains(stderr, "no configuration: set --registry or --config") {
		t.Errorf("code %d, %s", code, stderr)
	}
}

func TestVersion(t *testing.T) {
	for name, tc := range map[string]struct {
		env  map[string]string
		args []string
	}{"the flag": {nil, []string{"--version"}}, "the command": {nil, []string{"version"}}, "a version of a chart in the environment": {map[string]string{"PRIVATELINK_VERSION": "0.43.1"}, []string{"--version"}}} {
		if code, stdout, stderr := call(t, tc.env, "", tc.args...); code != 0 || stdout != "privatelink "+buildinfo.Read(version).Version+"\n" || stderr != "" {
			t.Errorf("%s: code %d, stdout %q, stderr %q", name, code, stdout, stderr)
		}
	}
	if code, stdout, stderr := call(t, map[string]string{"PRIVATELINK_VERSION": "0.43.1"}, ""); code != 0 || !strings.HasPrefix(stdout, "Run CAST AI") {
		t.Errorf("code %d, %s%s", code, stdout, stderr)
	}
}
