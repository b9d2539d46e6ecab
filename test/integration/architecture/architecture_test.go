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

// row is a package and the packages of ours that it may import.
type row struct {
	pkg       string
	mayImport []string
}

// tiers lists the packages from the top to the bottom. A row may list only rows
// further down, so that the table itself cannot allow an arrow upwards. Packages
// of cmd may import all rows; tests and build tools may import anything.
var tiers = [][]row{
	{ // what a command of privatelink runs
		{"internal/transfer", []string{"internal/selection", "internal/mirror/lockstore", "internal/progress", "internal/exitcode", "internal/catalog", "internal/chartimage", "internal/mirror", "internal/mirror/archive", "internal/mirror/lock", "internal/registry", "internal/registry/awsecr", "internal/rewrite", "internal/target", "internal/webhookimage"}},
		{"internal/selection", []string{"deploy", "internal/mirror/lockstore", "internal/catalog", "internal/catalog/chart", "internal/catalog/live", "internal/catalog/track", "internal/chartimage", "internal/exitcode", "internal/kubeconfig", "internal/manifest", "internal/mirror", "internal/mirror/lock", "internal/rewrite", "internal/webhookimage"}},
		{"internal/chartpush", []string{"deploy/chart", "internal/chartimage", "internal/exitcode", "internal/registry", "internal/registry/awsecr", "internal/rewrite"}},
		{"internal/chartrepo", []string{"internal/atomicfile", "internal/catalog", "internal/catalog/chart", "internal/catalog/track", "internal/exitcode", "internal/mirror/lock", "internal/mirror/lockstore", "internal/rewrite", "internal/s3bucket"}},
		{"internal/mirror/prune", []string{"internal/catalog", "internal/catalog/live", "internal/chartimage", "internal/progress", "internal/exitcode", "internal/kubeconfig", "internal/mirror", "internal/mirror/lock", "internal/registry/awsecr", "internal/rewrite", "internal/table"}},
		{"internal/status", []string{"deploy", "internal/catalog", "internal/catalog/live", "internal/doctor", "internal/doctor/cluster", "internal/exitcode", "internal/htmlreport", "internal/kubeconfig", "internal/mirror/lock", "internal/mirror/lockstore", "internal/output", "internal/registry", "internal/registry/awsecr", "internal/rewrite", "internal/table", "internal/target", "internal/terminal", "internal/textreport"}},
		{"internal/doctor/suite", []string{"deploy", "internal/catalog", "internal/catalog/live", "internal/doctor", "internal/doctor/awsapi", "internal/doctor/cluster", "internal/doctor/identity", "internal/doctor/inside", "internal/doctor/network", "internal/doctor/page", "internal/doctor/probe", "internal/doctor/registry", "internal/doctor/topology", "internal/exitcode", "internal/htmlreport", "internal/kubeconfig", "internal/mirror/lock", "internal/mirror/lockstore", "internal/output", "internal/redact", "internal/registry/awsecr", "internal/rewrite", "internal/s3bucket", "internal/target", "internal/textreport"}},
		{"internal/mirror/lockstore", []string{"internal/kubeconfig", "internal/mirror/lock", "internal/s3bucket"}},
		{"internal/progress", []string{"internal/exitcode", "internal/htmlreport", "internal/mirror", "internal/mirror/archive", "internal/output", "internal/registry", "internal/target", "internal/terminal", "internal/textreport"}},
		{"internal/explain", []string{"internal/exitcode", "internal/jsonpatch", "internal/manifest", "internal/podspec", "internal/rewrite", "deploy", "webhook"}},
		{"internal/doctor/page", []string{"internal/doctor", "internal/doctor/topology", "internal/htmlreport", "internal/target"}},
		{"internal/doctor/network", []string{"deploy", "internal/doctor", "internal/doctor/awsapi", "internal/doctor/topology"}},
		{"internal/doctor/cluster", []string{"internal/catalog/live", "internal/doctor", "internal/kubeconfig", "internal/podspec", "internal/rewrite"}},
		{"internal/doctor/registry", []string{"internal/doctor", "internal/doctor/awsapi", "internal/registry", "internal/rewrite"}},
		{"internal/doctor/identity", []string{"internal/doctor", "internal/doctor/awsapi"}},
		{"internal/doctor/inside", []string{"internal/doctor", "internal/doctor/probe"}},
		{"internal/doctor/awsapi", []string{"internal/awssdk", "internal/doctor"}},
		{"internal/doctor/probe", nil},
		{"internal/doctor/topology", nil},
		{"internal/doctor", []string{"internal/output", "internal/table", "internal/target", "internal/terminal", "internal/textreport"}},
	},
	{ // the catalog and the install bundle
		{"internal/chartimage", []string{"internal/catalog/chart", "internal/mirror", "internal/registry", "internal/rewrite"}},
		{"internal/catalog/track", []string{"internal/catalog", "internal/catalog/chart", "internal/catalog/live", "internal/manifest", "internal/rewrite"}},
		{"internal/catalog/live", []string{"internal/catalog", "internal/podspec", "internal/rewrite"}},
		{"internal/catalog/chart", []string{"internal/registry"}},
		{"internal/catalog", []string{"internal/manifest", "internal/rewrite", "internal/table"}},
		{"deploy/chart", []string{"deploy", "internal/rewrite"}},
		{"deploy", []string{"internal/cel", "internal/jsonpatch", "internal/rewrite"}},
	},
	{ // the engines
		{"internal/webhookimage", []string{"internal/mirror", "internal/registry", "internal/rewrite"}},
		{"internal/mirror/archive", []string{"internal/mirror", "internal/mirror/lock", "internal/registry", "internal/rewrite"}},
		{"internal/mirror", []string{"internal/mirror/lock", "internal/registry", "internal/rewrite"}},
		{"internal/mirror/lock", []string{"internal/atomicfile", "internal/rewrite"}},
		{"internal/manifest", []string{"internal/podspec", "internal/rewrite", "internal/terminal"}},
		{"webhook", []string{"internal/jsonpatch", "internal/jsonscan", "internal/podspec", "internal/rewrite"}},
		{"internal/cel", []string{"internal/podspec", "internal/rewrite"}},
	},
	{ // what they are built on
		{"internal/configfile", []string{"internal/rewrite"}},
		{"internal/s3bucket", []string{"internal/awssdk", "internal/registry", "internal/registry/awsecr"}},
		{"internal/registry/awsecr", []string{"internal/awssdk", "internal/registry", "internal/rewrite"}},
		{"internal/registry", []string{"internal/rewrite"}},
		{"internal/awssdk", nil},
		{"certs", nil},
		{"internal/rewrite", []string{"internal/editdistance"}},
		{"internal/podspec", []string{"internal/jsonscan"}},
		{"internal/jsonpatch", nil},
		{"internal/jsonscan", nil},
		{"internal/editdistance", nil},
	},
	{ // the command line
		{"internal/completion", []string{"internal/output"}},
		{"internal/output", nil},
		{"internal/textreport", []string{"internal/table", "internal/target", "internal/terminal"}},
		{"internal/table", []string{"internal/terminal"}},
		{"internal/htmlreport", []string{"internal/target", "internal/terminal"}},
		{"internal/redact", nil},
		{"internal/plugin", nil},
		{"internal/help", nil},
		{"internal/confirm", []string{"internal/exitcode", "internal/target", "internal/terminal"}},
		{"internal/kubeconfig", []string{"internal/exitcode", "internal/target"}},
		{"internal/target", nil},
		{"internal/buildinfo", nil},
		{"internal/manpage", nil},
		{"internal/exitcode", nil},
		{"internal/terminal", nil},
		{"internal/atomicfile", nil},
		{"internal/flagenv", nil},
	},
}

// onlyIn names the packages that alone may import a library, or what is below it.
var onlyIn = map[string][]string{
	"github.com/slok/kubewebhook":            {"webhook"},
	"github.com/cert-manager/cert-manager":   {"certs"},
	"sigs.k8s.io/kustomize":                  {"deploy"},
	"github.com/prometheus/client_golang":    {"webhook"},
	"github.com/aws/aws-sdk-go-v2":           {"internal/awssdk", "internal/registry/awsecr", "internal/doctor/awsapi", "internal/doctor/network", "internal/doctor/identity", "internal/s3bucket"},
	"github.com/google/go-containerregistry": {"internal/tools/ociimage", "internal/tools/sbom"},
	"github.com/go-json-experiment/json":     {"webhook", "internal/podspec", "internal/jsonpatch", "internal/jsonscan"},
	"helm.sh/helm":                           {"internal/catalog/chart"},
	"k8s.io/apiserver":                       {"internal/explain"},
	"k8s.io/client-go":                       {"certs", "internal/catalog/live", "internal/doctor/cluster", "internal/doctor/inside", "internal/doctor/suite", "internal/status", "internal/kubeconfig", "internal/mirror/prune", "internal/mirror/lockstore", "cmd/privatelink-webhook"},
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
		found[pkg] = slices.Grow(found[pkg], len(file.Imports)) // also a package that imports nothing
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

func TestArrowsPointDown(t *testing.T) {
	table := map[string][]string{}
	below := map[string]bool{}
	for _, tier := range slices.Backward(tiers) {
		for _, r := range slices.Backward(tier) {
			for _, i := range r.mayImport {
				if !below[i] {
					t.Errorf("the table lets %s import %s, which is not further down in it", r.pkg, i)
				}
			}
			table[r.pkg], below[r.pkg] = r.mayImport, true
		}
	}
	found := imports(t)
	for pkg, imported := range found {
		if unrestricted(pkg) {
			continue
		}
		allowed, known := table[pkg]
		if !known {
			t.Errorf("package %s is not in the table of tiers", pkg)
		}
		for _, i := range imported {
			ours, ok := strings.CutPrefix(i, module+"/")
			if ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s must not import %s", pkg, ours)
			}
		}
	}
	for pkg := range table {
		if _, ok := found[pkg]; !ok {
			t.Errorf("package %s is in the table and does not exist", pkg)
		}
	}
}

// A command is flags and one call: the libraries of a domain belong in packages.
func TestCommandsHaveNoDomainLogic(t *testing.T) {
	kubeconfig := []string{"k8s.io/client-go/rest", "k8s.io/client-go/tools/clientcmd"}
	for pkg, imported := range imports(t) {
		if !strings.HasPrefix(pkg, "cmd/") {
			continue
		}
		for _, i := range imported {
			for _, library := range []string{"github.com/aws", "k8s.io/client-go", "k8s.io/api", "k8s.io/apiserver", "oras.land", "helm.sh"} {
				if (i == library || strings.HasPrefix(i, library+"/")) && !slices.Contains(kubeconfig, i) {
					t.Errorf("%s must not import %s: move the logic to a package below internal", pkg, i)
				}
			}
		}
	}
}

func TestLibrariesAreImportedInOnePlace(t *testing.T) {
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
