// SPDX-License-Identifier: Apache-2.0

// Package oracle compares results with those of published modules: the rewrite rules
// with sysregistriesv2, which has the same semantics of prefixes and with which podman
// and CRI-O resolve registry mirrors, and the images of charts with a walk of what
// Helm's install action renders. It is a module of its own because these modules
// bring many others.
package oracle

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/sysregistriesv2"
	"go.podman.io/image/v5/types"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

const registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"

var (
	hosts = []string{
		"docker.io", "quay.io", "registry.k8s.io", "us-docker.pkg.dev", "us-east4-docker.pkg.dev", "ghcr.io", "nvcr.io", "gcr.io",
		"us-docker.pkg.dev.example.net", "eu.us-docker.pkg.dev", "registry:5000", "registry.example.com:5000", "registry.example.com-5000", "public.ecr.aws",
	}
	parts = []string{"castai-hub", "library", "castai", "images", "live", "acme", "deep", "w", "wid_get", "wid.get", "castai-hub2", "quay.io"}
	tails = []string{"", ":v7", "@sha256:" + strings.Repeat("ab", 32), ":v7@sha256:" + strings.Repeat("ab", 32)}
)

// mirrors writes the rules in the oracle's own language: one mirror for each
// alias, extra rule and host.
func mirrors(t *testing.T, rules []rewrite.Rule) *types.SystemContext {
	t.Helper()
	var conf strings.Builder
	add := func(prefix, target string) {
		fmt.Fprintf(&conf, "[[registry]]\nprefix = %q\nlocation = %q\n[[registry.mirror]]\nlocation = %q\n", prefix, prefix, target)
	}
	for _, a := range rewrite.Aliases() {
		add(a, registry)
	}
	for _, r := range rules {
		add(r.Source, registry+"/"+r.Target)
	}
	for _, h := range hosts {
		add(h, registry+"/"+strings.ReplaceAll(h, ":", "_"))
	}
	file := filepath.Join(t.TempDir(), "registries.conf")
	if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return &types.SystemContext{SystemRegistriesConfPath: file, SystemRegistriesConfDirPath: t.TempDir()}
}

func TestPrefixesMatchAsInSysregistries(t *testing.T) {
	for name, rules := range map[string][]rewrite.Rule{
		"the built-in rules": nil,
		"with extra rules":   {{Source: "quay.io/acme", Target: "p"}, {Source: "quay.io/acme/deep", Target: "q"}, {Source: "registry.k8s.io", Target: "k8s"}},
	} {
		t.Run(name, func(t *testing.T) {
			ours, err := rewrite.New(rewrite.Config{Registry: registry, Rules: rules})
			if err != nil {
				t.Fatal(err)
			}
			sys, compared := mirrors(t, rules), 0
			for _, source := range sources() {
				if differs(source) {
					continue
				}
				compared++
				if want, got := oracle(t, sys, source), ours.Image(source).Target; got != want {
					t.Fatalf("%q: ours %q by %s, sysregistriesv2 %q", source, got, ours.Image(source).Rule, want)
				}
			}
			if compared < 50_000 {
				t.Fatalf("only %d references were compared", compared)
			}
			t.Logf("%d references agree", compared)
		})
	}
}

func sources() (out []string) {
	var paths []string
	for _, a := range parts {
		paths = append(paths, a)
		for _, b := range parts {
			paths = append(paths, a+"/"+b)
			for _, c := range parts {
				paths = append(paths, a+"/"+b+"/"+c)
			}
		}
	}
	for _, h := range hosts {
		for _, p := range paths {
			for _, tail := range tails {
				out = append(out, h+"/"+p+tail)
			}
		}
	}
	return out
}

// differs names the two classes in which we mean something else: an alias
// without a remainder, and one whose remainder begins like a host.
func differs(source string) bool {
	for _, a := range rewrite.Aliases() {
		rest, ok := strings.CutPrefix(source, a)
		if ok && (rest == "" || rest[0] == ':' || rest[0] == '@' || strings.HasPrefix(rest, "/quay.io/")) {
			return true
		}
		if ok && strings.HasPrefix(rest, "/wid.get/") {
			return true
		}
	}
	return false
}

func oracle(t *testing.T, sys *types.SystemContext, source string) string {
	t.Helper()
	named, err := reference.ParseNormalizedNamed(source)
	if err != nil {
		t.Fatal(err)
	}
	found, err := sysregistriesv2.FindRegistry(sys, named.Name())
	if err != nil || found == nil {
		t.Fatalf("%q: %v, %v", source, found, err)
	}
	pulls, err := found.PullSourcesFromReference(named)
	if err != nil {
		t.Fatalf("%q: %v", source, err)
	}
	return pulls[0].Reference.String()
}
