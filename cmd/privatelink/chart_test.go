// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

func TestChartIsWrittenOrPushed(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	folder := filepath.Join(t.TempDir(), "chart")
	if code, _, stderr := call(t, nil, "", "chart", "--to", folder); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if _, err := os.Stat(filepath.Join(folder, "templates", "_helpers.tpl")); err != nil {
		t.Error(err)
	}
	server := fakeregistry.Start(t)
	code, stdout, stderr := call(t, nil, "", "chart", "--push", "oci://"+server.Host+"/charts")
	if code != 0 || !strings.Contains(stdout, "helm pull oci://"+server.Host+"/charts/privatelink-webhook --version ") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	for want, args := range map[string][]string{
		"either --to":        {"chart"},
		"--push":             {"chart", "--push", "example.com/charts"},
		"is not empty":       {"chart", "--to", folder},
		"give --values":      {"chart", "config"},
		"give --registry":    {"chart", "values"},
		"values.schema.json": {"chart", "config", "--values", write(t, "values.yaml", "registry: "+ecr+"\nreplica: 3\n")},
		"rules[0].target":    {"chart", "values", "--config", write(t, "privatelink.yaml", "registry: "+ecr+"\nrules: [{source: quay.io, target: A}]\n")},
		"--guard: set it in": {"install", "--values", "values.yaml", "--guard", "deny"},
		"no such file":       {"install", "--values", filepath.Join(folder, "none")},
		"registry of":        {"install", "--registry", "example.com/x", "--values", write(t, "values.yaml", "registry: "+ecr)},
		"replicas":           {"install", "--values", write(t, "values.yaml", "registry: "+ecr+"\nreplicas: 0\n")},
		"unknown field":      {"install", "--values", write(t, "values.yaml", "registry: "+ecr+"\naffinity: {nodeAffinity: {x: y}}\n")},
	} {
		code, stdout, stderr := call(t, nil, "", args...)
		if code == 0 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %s%s", args, code, stdout, stderr)
		}
	}
}

func TestValuesOfTheChartAreOptionsOfInstall(t *testing.T) {
	config := write(t, "privatelink.yaml", "registry: "+ecr+"\nkeep: [quay.io]\n")
	code, values, stderr := call(t, nil, "", "chart", "values", "--config", config)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	code, back, stderr := call(t, nil, values, "chart", "config", "--values", "-")
	if code != 0 || !strings.Contains(back, `keep: ["quay.io"]`) {
		t.Errorf("exit code %d: %s%s", code, back, stderr)
	}
	values += "nodeSelector: {example.com/pool: system}\ncommonLabels: {team: platform}\nguard: deny\n"
	code, out, stderr := call(t, nil, values, "install", "--values", "-", "--namespace", "team-x")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{"example.com/pool: system", "kubernetes.io/os: linux", "team: platform", "namespace: team-x", `{"quay.io":""}`, "- Deny"} {
		if !strings.Contains(out, want) {
			t.Errorf("the bundle lacks %q", want)
		}
	}
}
