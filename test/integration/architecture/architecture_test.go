// SPDX-License-Identifier: Apache-2.0

// Package architecture tests which package may import which, and what the
// server binary may link.
package architecture

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/castai/privatelink-webhook"
	root   = "../../.."
)

// mayImport lists, for each package, the packages of ours that it may import.
// cmd may import all; tests and what only they or the build use may import anything.
var mayImport = map[string][]string{
	"certs":   {},
	"webhook": {"internal/rewrite", "internal/podspec", "internal/jsonpatch"},
	"deploy":  {"internal/rewrite", "internal/cel", "internal/jsonpatch"},

	"internal/exitcode":   {},
	"internal/kubeconfig": {"internal/exitcode"},
	"internal/jsonpatch":  {},

	"internal/cel":      {"internal/rewrite", "internal/podspec"},
	"internal/flagenv":  {},
	"internal/podspec":  {},
	"internal/rewrite":  {},
	"internal/manifest": {"internal/rewrite", "internal/podspec"},
	"internal/explain":  {"internal/rewrite", "internal/podspec", "internal/jsonpatch", "deploy", "webhook"},
	"internal/status": {"deploy", "internal/doctor/cluster", "internal/exitcode", "internal/kubeconfig", "internal/mirror/lock",
		"internal/registry", "internal/registry/awsecr", "internal/rewrite"},

	"internal/catalog":       {"internal/rewrite", "internal/podspec", "internal/manifest"},
	"internal/catalog/live":  {"internal/catalog", "internal/rewrite", "internal/podspec"},
	"internal/catalog/chart": {},

	"internal/registry":        {"internal/rewrite"},
	"internal/registry/awsecr": {"internal/registry", "internal/rewrite"},

	"internal/mirror":         {"internal/mirror/lock", "internal/registry", "internal/rewrite"},
	"internal/mirror/lock":    {},
	"internal/mirror/prune":   {},
	"internal/mirror/archive": {"internal/mirror", "internal/mirror/lock", "internal/registry", "internal/rewrite"},

	"internal/doctor":          {},
	"internal/doctor/cluster":  {"internal/doctor", "internal/rewrite", "internal/podspec"},
	"internal/doctor/registry": {"internal/doctor", "internal/registry", "internal/rewrite"},
	"internal/doctor/awsapi":   {"internal/doctor"},
	"internal/doctor/network":  {"internal/doctor", "internal/doctor/awsapi", "deploy"},
	"internal/doctor/identity": {"internal/doctor", "internal/doctor/awsapi"},
	"internal/doctor/probe":    {},
	"internal/doctor/inside":   {"internal/doctor", "internal/doctor/probe"},
	"internal/doctor/suite": {"deploy", "internal/catalog", "internal/catalog/live", "internal/doctor", "internal/doctor/awsapi", "internal/doctor/cluster",
		"internal/doctor/identity", "internal/doctor/inside", "internal/doctor/network", "internal/doctor/probe", "internal/doctor/registry",
		"internal/exitcode", "internal/kubeconfig", "internal/mirror/lock", "internal/registry/awsecr", "internal/rewrite"},
}

// onlyIn names the packages that alone may import a library, or what is below it.
var onlyIn = map[string][]string{
	"github.com/slok/kubewebhook":            {"webhook"},
	"github.com/cert-manager/cert-manager":   {"certs"},
	"sigs.k8s.io/kustomize":                  {"deploy"},
	"github.com/prometheus/client_golang":    {"webhook"},
	"github.com/aws/aws-sdk-go-v2":           {"internal/registry/awsecr", "internal/doctor/awsapi", "internal/doctor/network", "internal/doctor/identity"},
	"github.com/google/go-containerregistry": {"internal/tools/ociimage"},
	"github.com/go-json-experiment/json":     {"webhook", "internal/podspec"},
	"helm.sh/helm":                           {"internal/catalog/chart"},
	"k8s.io/apiserver":                       {"internal/explain"},
	"k8s.io/client-go":                       {"certs", "internal/catalog/live", "internal/doctor/cluster", "internal/doctor/inside", "internal/doctor/suite", "internal/kubeconfig", "internal/status", "cmd/privatelink", "cmd/privatelink-webhook"},
}

// imports reads the files in this process, so that the test's cache sees every
// one of them.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if d.IsDir() {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); name != "." && (err == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || name == "bin" || name == "dist") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(name))
		for _, i := range file.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			found[pkg] = append(found[pkg], imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// unrestricted packages are wiring, tests and tools of the build.
func unrestricted(pkg string) bool {
	return slices.ContainsFunc([]string{"cmd/", "test/", "internal/testutil/", "internal/tools/"}, func(prefix string) bool { return strings.HasPrefix(pkg+"/", prefix) })
}

func TestArrowsPointOneWay(t *testing.T) {
	for pkg, imported := range imports(t) {
		if unrestricted(pkg) {
			continue
		}
		allowed, known := mayImport[pkg]
		if !known {
			t.Errorf("package %s is not in the table: say what it may import", pkg)
		}
		for _, i := range imported {
			ours, ok := strings.CutPrefix(i, module+"/")
			if ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s must not import %s", pkg, ours)
			}
		}
	}
}

func TestLibrariesStayBehindTheirFence(t *testing.T) {
	for pkg, imported := range imports(t) {
		if strings.HasPrefix(pkg, "test/") || strings.HasPrefix(pkg, "internal/testutil/") {
			continue
		}
		for _, i := range imported {
			for library, allowed := range onlyIn {
				if (i == library || strings.HasPrefix(i, library+"/")) && !slices.Contains(allowed, pkg) {
					t.Errorf("%s must not import %s: it belongs in %s", pkg, i, strings.Join(allowed, ", "))
				}
			}
		}
	}
}

func TestTheRewriteRulesArePure(t *testing.T) {
	for _, i := range imports(t)["internal/rewrite"] {
		for _, impure := range []string{"os", "net", "time", "k8s.io", "context", "sync", "log"} {
			if i == impure || strings.HasPrefix(i, impure+"/") {
				t.Errorf("rewrite imports %s: it has no clock, network, environment or Kubernetes", i)
			}
		}
	}
}

func TestTheServerLinksNoAWSAndNoHelm(t *testing.T) {
	c := exec.Command("go", "list", "-deps", "./cmd/privatelink-webhook")
	c.Dir = root
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 100 {
		t.Fatalf("only %d packages: the list is not credible", len(deps))
	}
	for _, d := range deps {
		for _, banned := range []string{"github.com/aws/", "helm.sh/", "sigs.k8s.io/kustomize", "github.com/slok/kubewebhook/v2/pkg/webhook/mutating", "k8s.io/apiserver", module + "/deploy", module + "/internal/manifest", module + "/internal/explain"} {
			if strings.HasPrefix(d, banned) {
				t.Errorf("the server links %s", d)
			}
		}
	}
}
