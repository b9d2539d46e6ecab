// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestGeneratedManifests checks the properties of FuzzRewrite on texts that all
// are manifests, with notations and anchors mixed at random.
func TestGeneratedManifests(t *testing.T) {
	r := rules(t)
	for seed := range uint64(150) {
		g := generator{Rand: rand.New(rand.NewPCG(seed, 0))}
		text := g.stream()
		if _, err := decode([]byte(text)); err != nil {
			t.Fatalf("seed %d: the generator writes what kubectl does not read: %v\n%s", seed, err, text)
		}
		checkProperties(t, []byte(text), r)
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, text)
		}
	}
}

type generator struct {
	*rand.Rand
	anchors    int
	texts      []string // anchors of scalars, containers and lists so far
	containers []string
	lists      []string
}

func (g *generator) pick(of ...string) string { return of[g.IntN(len(of))] }

func (g *generator) anchor(names *[]string) string {
	g.anchors++
	name := fmt.Sprintf("a%d", g.anchors)
	*names = append(*names, name)
	return "&" + name + " "
}

func (g *generator) stream() string {
	var b strings.Builder
	b.WriteString(g.pick("", "\ufeff", "# größe\n", "--- # 🚢\n", "---\n---\n"))
	for i := range 1 + g.IntN(3) {
		if i > 0 {
			b.WriteString(g.pick("---\n", "--- \n# x\n", "...\n---\n"))
		}
		g.texts, g.containers, g.lists = nil, nil, nil // anchors end with their document
		fmt.Fprintf(&b, "metadata: {name: %s, labels: {x: %s}} %s\n", g.pick("a", "größe", "'🚢'"), g.flow(), g.pick("", "# größe"))
		switch g.IntN(6) {
		case 4:
			b.WriteString("apiVersion: example.com/v1\nkind: Service\nspec:\n  pools:\n  - on:\n" + g.podSpec("      "))
		case 5:
			b.WriteString("apiVersion: v1\nkind: List\nx: &merged {image: " + g.flow() + "}\nitems:\n- kind: Pod\n  spec:\n    containers:\n    - {image: " + g.flow() + ", <<: *merged}\n    - {<<: [{image: " + g.flow() + "}, *merged], name: x}\n    - {<<: {args: []}, image: x, <<: {image: " + g.flow() + "}}\n")
		case 0:
			b.WriteString("kind: Pod\nspec:\n" + g.podSpec("  "))
		case 1:
			b.WriteString("kind: Deployment\nspec:\n  template:\n    spec:\n" + g.podSpec("      "))
		case 2:
			b.WriteString("kind: List\nitems:\n- kind: Pod\n  spec:\n" + g.podSpec("    ") + "- kind: ConfigMap\n  spec:\n" + g.podSpec("    "))
		case 3:
			b.WriteString("kind: ConfigMap\nspec:\n" + g.podSpec("  "))
		}
	}
	return strings.ReplaceAll(b.String(), "\n", g.pick("\n", "\r\n"))
}

func (g *generator) podSpec(indent string) string {
	var b strings.Builder
	for _, list := range []string{"containers", "initContainers"} {
		if len(g.lists) > 0 && g.IntN(4) == 0 {
			fmt.Fprintf(&b, "%s%s: *%s\n", indent, list, g.pick(g.lists...))
			continue
		}
		head := ""
		if g.IntN(4) == 0 {
			// Usable after its end only: an alias inside of it would be endless.
			defer func(name string) { g.lists = append(g.lists, name) }(g.anchor(new([]string))[1:])
			head = fmt.Sprintf(" &a%d", g.anchors)
		}
		fmt.Fprintf(&b, "%s%s:%s %s\n", indent, list, head, g.pick("", "# list"))
		for range 1 + g.IntN(3) {
			b.WriteString(g.container(indent))
		}
	}
	return b.String()
}

func (g *generator) container(indent string) string {
	if len(g.containers) > 0 && g.IntN(5) == 0 {
		return indent + "- *" + g.pick(g.containers...) + "\n"
	}
	merge := ""
	if len(g.containers) > 0 && g.IntN(4) == 0 {
		merge = "<<: *" + g.pick(g.containers...)
	}
	anchor := ""
	var names []string
	if g.IntN(3) == 0 {
		anchor = g.anchor(&names)
	}
	defer func() { g.containers = append(g.containers, names...) }()
	// Aliases need their anchors before them: the texts are made in order.
	block := g.IntN(2) == 0
	fields := []func() string{
		func() string { return "name: " + g.pick("x", "'größe'", "🚢") },
		func() string { return "args: [" + g.flow() + "," + g.flow() + "]" },
		func() string {
			return fmt.Sprintf("env: [{name: %s, value: %s}]", g.pick("SCANNERS_IMAGE", "OTHER", "'SCANNERS_IMAGE'"), g.flow())
		},
		func() string {
			if block {
				return "image: " + g.block(indent+"  ")
			}
			return "image: " + g.flow()
		},
	}
	g.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	var texts []string
	for _, field := range fields[:1+g.IntN(len(fields))] {
		texts = append(texts, field())
	}
	if merge != "" {
		texts = slices.Insert(texts, g.IntN(len(texts)+1), merge)
	}
	if block {
		return indent + "- " + anchor + "\n" + indent + "  " + strings.Join(texts, "\n"+indent+"  ") + "\n"
	}
	return indent + "- " + anchor + "{" + strings.Join(texts, g.pick(", ", "  ,\t")) + g.pick("", " ") + "} " + g.pick("", "# end") + "\n"
}

// flow writes a text so that it can stand in flow style.
func (g *generator) flow() string {
	if len(g.texts) > 0 && g.IntN(4) == 0 {
		return "*" + g.pick(g.texts...) + " "
	}
	anchor := ""
	if g.IntN(4) == 0 {
		anchor = g.anchor(&g.texts)
	}
	ref := g.pick("busybox", "ghcr.io/castai/images/agent:v1", "a.io/b@sha256:"+strings.Repeat("0", 64), ecr+"/agent:v1", "localhost/x", "v1.2", "7", "UPPER")
	return anchor + g.pick("", "", "!!str ") + g.pick(ref, "'"+ref+"'", `"`+ref+`"`, `"\x`+fmt.Sprintf("%02x", ref[0])+ref[1:]+`"`)
}

// block writes a text so that it can stand in block style only.
func (g *generator) block(indent string) string {
	if g.IntN(3) == 0 {
		return g.flow() + " # comment"
	}
	ref := g.pick("busybox", "ghcr.io/castai/images/agent:v1")
	return g.pick(
		"\n"+indent+"  "+ref,
		"|-\n"+indent+"  "+ref,
		">- # comment\n"+indent+"  "+ref+"\n",
		"&r !!str\n\n"+indent+"  # comment\n"+indent+"  "+ref,
		"\"ghcr.io/\\\n"+indent+"   castai/images/x\"",
	)
}
