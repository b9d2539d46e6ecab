// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Generated returns n pods in JSON, which the seed determines. All are valid for the
// API server: names are unique within a pod, and images have no leading or trailing
// white space. Their references are those of References, and random combinations of
// hosts, paths, tags and digests.
func Generated(seed uint64, n int) [][]byte {
	g := generator{Rand: rand.New(rand.NewPCG(seed, 6))}
	for _, r := range References() {
		if r.Source != "" && len(r.Source) < 2000 && strings.TrimSpace(r.Source) == r.Source {
			g.known = append(g.known, r.Source)
		}
	}
	out := make([][]byte, n)
	for i := range out {
		pod, err := json.Marshal(g.pod(i))
		if err != nil {
			panic(err) // maps of strings can be marshaled
		}
		out[i] = pod
	}
	return out
}

type generator struct {
	*rand.Rand
	known []string
}

func (g *generator) choose(from ...string) string { return from[g.IntN(len(from))] }
func (g *generator) chance(percent int) bool      { return g.IntN(100) < percent }

func (g *generator) pod(i int) map[string]any {
	spec := map[string]any{"containers": g.containers("c", 1+g.IntN(3))}
	if g.chance(40) {
		spec["initContainers"] = g.containers("i", g.IntN(3))
	}
	if g.chance(30) {
		var volumes []any
		for v := range g.IntN(3) {
			volume := map[string]any{"name": fmt.Sprint("v-", v), "emptyDir": map[string]any{}}
			if g.chance(60) {
				delete(volume, "emptyDir")
				volume["image"] = map[string]any{"reference": g.Reference(), "pullPolicy": "IfNotPresent"}
			}
			volumes = append(volumes, volume)
		}
		spec["volumes"] = volumes
	}
	metadata := map[string]any{"name": fmt.Sprint("generated-", i)}
	if g.chance(30) {
		metadata["annotations"] = map[string]any{"some/annotation": "x"}
	}
	return map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
}

func (g *generator) containers(prefix string, n int) []any {
	out := []any{}
	for i := range n {
		c := map[string]any{"name": fmt.Sprint(prefix, "-", i), "image": g.Reference()}
		if g.chance(40) {
			c["env"] = g.env()
		}
		out = append(out, c)
	}
	return out
}

// env returns variables that the rules list, with duplicates, and other variables,
// some of which have no value.
func (g *generator) env() []any {
	var out []any
	for range g.IntN(5) {
		e := map[string]any{"name": g.choose("JMX_EXPORTER_INIT_IMAGE", "SCANNERS_IMAGE", "OTHER_IMAGE", "scanners_image", "MODE")}
		switch g.IntN(6) {
		case 0:
			e["valueFrom"] = map[string]any{"fieldRef": map[string]any{"fieldPath": "metadata.name"}}
		case 1:
			e["value"] = g.choose("", "v1.2.3", "latest", "https://example.com/x", "/a/b", ".x/y", "a:b", "quay.io", " quay.io/a/b:1 ")
		default:
			e["value"] = g.Reference()
		}
		out = append(out, e)
	}
	return out
}

// Reference returns a value for an image field.
func (g *generator) Reference() string {
	if g.chance(35) {
		return g.known[g.IntN(len(g.known))]
	}
	registry := Registry
	if g.chance(50) {
		registry = g.choose("registry.example.com:5000/castai", "registry.example.com/castai", "localhost:5000/castai", "a.io", "docker.io/acme", strings.Split(Registry, "/")[0], "ghcr.io/acme")
	}
	text := g.choose("", "", "", "", registry+"/", registry+"/", registry) +
		g.choose("", "docker.io/", "index.docker.io/", "registry-1.docker.io/", "quay.io/", "registry.k8s.io/", "registry.k8s.io:443/", "registry.example.com/",
			"registry.example.com:5000/", "us-docker.pkg.dev/castai-hub/library/", "us-east4-docker.pkg.dev/castai-hub/library/", "ghcr.io/castai/images/", "ghcr.io/castai/",
			"ghcr.io/", "localhost/", "localhost:5000/", "127.0.0.1:5000/", "127.0.0.1.example.com/", "[::1]:5000/", "[2001:db8::7]/", "602401143452.dkr.ecr.us-west-2.amazonaws.com/",
			"602401143452.dkr.ecr.us-west-2.amazonaws.com.example.net/", "my_reg.example.com/", "Ghcr.IO/", "REG/", "reg_5000/", "a.io/", "xn--a.example/", "a-.example/") +
		g.path() + g.choose("", "", ":v1", ":V1_x.y-Z", ":"+strings.Repeat("t", 128), ":"+strings.Repeat("t", 129), ":", ":-x", ":5000/x") +
		g.choose("", "", "", "@"+Digest, "@sha512:"+strings.Repeat("a", 128), "@sha384:"+strings.Repeat("b", 96), "@sha384:"+strings.Repeat("b", 95), "@md5:"+strings.Repeat("c", 32), "@")
	if g.chance(5) { // insert a character
		at := g.IntN(len(text) + 1)
		text = text[:at] + g.choose("/", ":", "@", ".", "_", "-", "A", "x", "é", "\\", "\"", "$") + text[at:]
	}
	if text = strings.TrimSpace(text); text == "" {
		return "x"
	}
	return text
}

func (g *generator) path() string {
	part := func() string {
		if g.chance(3) {
			return strings.Repeat("l", g.number(120, 200, 255)+g.IntN(3))
		}
		return g.choose("acme", "kept", "x", "library", "castai", "p", "q", "r", "agent", "prom", "deep", "hub", "a.b", "a_1", "a__b", "a--b", "reg_5000", "localhost", "quay.io", "docker.io",
			"ghcr.io", "images", "w", "a._b", "-a", "b-", "a..b", "a___b", "", "B", "images.example", "x_")
	}
	parts := []string{part()}
	for g.chance(55) && len(parts) < 6 {
		parts = append(parts, part())
	}
	return strings.Join(parts, "/")
}

func (g *generator) number(from ...int) int { return from[g.IntN(len(from))] }
