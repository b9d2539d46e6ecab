// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"strings"
	"testing"

	"github.com/distribution/reference"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
)

// configs are rule sets under which every property must hold.
func configs() map[string]rewrite.Config {
	return map[string]rewrite.Config{
		"defaults":           {Registry: corpus.Registry},
		"no repository part": {Registry: ecr},
		"plain registry":     {Registry: "registry.example.com:5000/castai"},
		"layout-like prefix": {Registry: ecr + "/us-docker.pkg.dev/castai-hub/library"},
		"rules and keeps": {
			Registry: corpus.Registry,
			Rules:    []rewrite.Rule{{Source: "quay.io/acme", Target: "p"}, {Source: "ghcr.io/castai/images/prom", Target: "q/r"}, {Source: "docker.io", Target: "hub"}},
			Keep:     []string{"registry.k8s.io", "quay.io/acme/kept", "ghcr.io/castai"},
		},
	}
}

// sources enumerates references made of hosts and paths that are likely to
// collide: alias prefixes, encoded ports, registry-like parts, Hub spellings.
func sources(registry string) []string {
	hosts := []string{
		"", "docker.io/", "index.docker.io/", "quay.io/", "registry:5000/", "registry.example.com:5000/", "registry.example.com-5000/",
		"registry.example.com/", "localhost:5000/", "ghcr.io/castai/images/", "us-docker.pkg.dev/castai-hub/library/",
		"us-east4-docker.pkg.dev/castai-hub/library/", "ghcr.io/castai/", "registry.k8s.io/", "us-docker.pkg.dev/castai-hub/", registry + "/", ecr + "/",
	}
	parts := []string{"acme", "library", "w", "quay.io", "docker.io", "reg_5000", "ghcr.io/castai/images", "p", "q/r", "prom", "hub", "castai", "wid__get", "localhost", "us-docker.pkg.dev/castai-hub/library"}
	paths := append([]string{}, parts...)
	for _, a := range parts {
		for _, b := range parts {
			paths = append(paths, a+"/"+b)
			for _, c := range parts[:6] {
				paths = append(paths, a+"/"+b+"/"+c)
			}
		}
	}
	var out []string
	for _, h := range hosts {
		for _, p := range paths {
			out = append(out, h+p)
		}
	}
	return out
}

// canonical is the identity of an image: its normalised name with the vendor's
// aliases folded, unless what follows the alias begins like a host.
func canonical(t *testing.T, source string) string {
	named, err := reference.ParseNormalizedNamed(source)
	if err != nil {
		t.Fatal(err)
	}
	name := named.Name()
	for _, a := range rewrite.Aliases() {
		rest, ok := strings.CutPrefix(name, a+"/")
		first, _, nested := strings.Cut(rest, "/")
		if ok && (!nested || !strings.Contains(first, ".") && first != "localhost" && !strings.HasSuffix(first, "_5000")) {
			return rewrite.Aliases()[0] + "/" + rest
		}
	}
	return name
}

func TestTargetsAreUniqueAndMappingIsIdempotent(t *testing.T) {
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) {
			r := rules(t, c)
			sourceOf, targetOf := map[string]string{}, map[string]string{}
			rewritten := 0
			for _, s := range sources(c.Registry) {
				got := r.Image(s)
				if second := r.Image(got.Target); second.Target != got.Target {
					t.Fatalf("%q is mapped to %q, and that to %q", s, got.Target, second.Target)
				}
				if !got.Changed() || strings.HasPrefix(s, c.Registry+"/") {
					continue
				}
				rewritten++
				id := canonical(t, s)
				if other, ok := sourceOf[got.Target]; ok && other != id {
					t.Fatalf("%q and %q share the target %q", id, other, got.Target)
				}
				if target, ok := targetOf[id]; ok && target != got.Target {
					t.Fatalf("two spellings of %q are mapped to %q and %q", id, target, got.Target)
				}
				sourceOf[got.Target], targetOf[id] = id, got.Target
			}
			if rewritten < 5000 {
				t.Fatalf("only %d references were rewritten, want 5000", rewritten)
			}
		})
	}
}

// FuzzImage holds the properties of one reference for any text at all.
func FuzzImage(f *testing.F) {
	for _, row := range corpus.References() {
		if len(row.Source) < 1000 {
			f.Add(row.Source)
		}
	}
	var all []*rewrite.Rules
	for _, c := range configs() {
		all = append(all, rules(f, c))
	}
	f.Fuzz(func(t *testing.T, source string) {
		for _, r := range all {
			got := r.Image(source)
			if got.Source != source {
				t.Fatalf("the source %q is reported as %q", source, got.Source)
			}
			if second := r.Image(got.Target); second.Target != got.Target {
				t.Fatalf("%q is mapped to %q, and that to %q", source, got.Target, second.Target)
			}
			if !got.Changed() {
				if got.Target != source {
					t.Fatalf("%q was not rewritten, but the target is %q", source, got.Target)
				}
				continue
			}
			check(t, r, source, got.Target)
		}
	})
}

// check proves one rewritten reference: below the registry, legal, printing as
// itself, with tag and digest of the source.
func check(t *testing.T, r *rewrite.Rules, source, target string) {
	from, err := reference.ParseNormalizedNamed(source)
	if err != nil {
		t.Fatalf("%q was rewritten to %q although it does not parse", source, target)
	}
	to, err := reference.ParseNormalizedNamed(target)
	if err != nil || to.String() != target || !strings.HasPrefix(target, r.Registry()+"/") || len(to.Name()) > 255 {
		t.Fatalf("%q was mapped to %q, which is no legal reference below the registry: %v", source, target, err)
	}
	if a, b := strings.TrimPrefix(from.String(), from.Name()), strings.TrimPrefix(target, to.Name()); a != b {
		t.Fatalf("%q was mapped to %q: tag and digest %q, then %q", source, target, a, b)
	}
}

// FuzzLoad: a configuration is refused with faults or yields rules that work.
func FuzzLoad(f *testing.F) {
	f.Add("registry: " + corpus.Registry)
	f.Add("registry: " + corpus.Registry + "\nrules: [{source: quay.io/acme, target: p}]\nkeep: [docker.io/acme]\nnamespaces: [a, b]\nenvVars: []\n")
	f.Add("rules: &a [*a]")
	f.Add("a: &a {b: *a}\nregistry: *a")
	f.Add("---\n---\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := rewrite.Load("f", []byte(text))
		if err != nil {
			if err.Error() == "" || r != nil {
				t.Fatal("an error without text, or with rules")
			}
			return
		}
		got := r.Image("quay.io/acme/widget:v7")
		if second := r.Image(got.Target); second.Target != got.Target {
			t.Fatalf("%q is mapped to %q, and that to %q under\n%s", got.Source, got.Target, second.Target, text)
		}
	})
}
