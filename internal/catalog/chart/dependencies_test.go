// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// folder writes the files of a chart, by their paths in it.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// metadata is the Chart.yaml of a chart, with more lines.
func metadata(name, version string, more ...string) string {
	return "apiVersion: v2\nname: " + name + "\nversion: " + version + "\n" + strings.Join(more, "\n") + "\n"
}

func pod(image string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: c, image: \"" + image + "\"}]}\n"
}

// levels are the files of a chart whose components are in a subchart of it.
func levels() map[string]string {
	return map[string]string{
		"Chart.yaml":                                           metadata("top", "1.0.0", "dependencies: [{name: parts, version: 1.x, condition: parts.enabled}]"),
		"values.yaml":                                          "tags: {full: false, small: false}\n",
		"charts/parts/Chart.yaml":                              metadata("parts", "1.2.0", "dependencies:", "- {name: agent, version: '*', tags: [full, small], condition: 'agent.enabled,global.agent'}", "- {name: agent, alias: second, version: '*', condition: second.used}", "- {name: always, version: '*'}", "- {name: live, version: '*', tags: [full]}"),
		"charts/parts/values.yaml":                             "second: {used: false}\n",
		"charts/parts/charts/agent/Chart.yaml":                 metadata("agent", "3.0.0"),
		"charts/parts/charts/agent/templates/pod.yaml":         pod("quay.io/acme/agent:3"),
		"charts/parts/charts/always/Chart.yaml":                metadata("always", "1.0.0"),
		"charts/parts/charts/always/templates/pod.yaml":        "{{ if .Values.global.always }}\n" + pod("quay.io/acme/always:1") + "{{ end }}",
		"charts/parts/charts/always/values.yaml":               "global: {always: false}\n",
		"charts/parts/charts/live/Chart.yaml":                  metadata("live", "2.0.0", "dependencies: [{name: cni, version: '*', condition: cni.enabled}]"),
		"charts/parts/charts/live/values.yaml":                 "cni: {enabled: false}\n",
		"charts/parts/charts/live/templates/pod.yaml":          pod("quay.io/acme/live:2"),
		"charts/parts/charts/live/charts/cni/Chart.yaml":       metadata("cni", "1.0.0"),
		"charts/parts/charts/live/charts/cni/templates/p.yaml": pod("quay.io/acme/cni:1"),
	}
}

func TestComponentsThatAreOffAreNamedThroughAllLevels(t *testing.T) {
	top := folder(t, levels())
	const (
		agent, second = "parts/agent is off: set tags.full=true or tags.small=true or parts.agent.enabled=true or parts.global.agent=true", "parts/second is off: set parts.second.used=true"
		live, cni     = "parts/live is off: set tags.full=true", "parts/live/cni is off: set parts.live.cni.enabled=true"
	)
	for name, tc := range map[string]struct {
		set         []string
		off, images []string
		remedy      string // part of it
	}{
		"all by tags":                     {nil, []string{agent, second, live}, nil, "for instance with --chart-set tags.full=true"},
		"the subchart itself":             {[]string{"parts.enabled=false"}, []string{"parts is off: set parts.enabled=true"}, nil, "--chart-set parts.enabled=true"},
		"a tag":                           {[]string{"tags.full=true"}, []string{second, cni}, []string{"quay.io/acme/agent:3", "quay.io/acme/live:2"}, ""},
		"a condition decides over a tag":  {[]string{"tags.full=true,parts.agent.enabled=false"}, []string{"parts/agent is off: set parts.agent.enabled=true", second, cni}, []string{"quay.io/acme/live:2"}, ""},
		"each by the value that is named": {[]string{"parts.agent.enabled=true,parts.second.used=true"}, []string{live}, []string{"quay.io/acme/agent:3", "quay.io/acme/agent:3"}, ""},
		"the last level":                  {[]string{"tags.full=true,parts.live.cni.enabled=true"}, []string{second}, []string{"quay.io/acme/agent:3", "quay.io/acme/cni:1", "quay.io/acme/live:2"}, ""},
		"a value that is no boolean":      {[]string{"parts.agent.enabled=yes"}, []string{agent, second, live}, nil, "tags.full=true"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Render(t.Context(), Options{Chart: top, Set: tc.set})
			if err != nil {
				t.Fatal(err)
			}
			var off, found []string
			for _, o := range got.Off {
				off = append(off, o.String())
			}
			for _, line := range images(got) {
				found = append(found, line[strings.LastIndexByte(line, ' ')+1:])
			}
			if d := cmp.Diff(tc.off, off); d != "" {
				t.Errorf("off (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tc.images, found); d != "" {
				t.Errorf("images (-want +got):\n%s", d)
			}
			if tc.remedy != "" && !strings.HasSuffix(got.Remedy(), tc.remedy) {
				t.Errorf("remedy %q, want %q", got.Remedy(), tc.remedy)
			}
		})
	}
}

func TestTheRemedyWithoutSubchartsNamesNoValue(t *testing.T) {
	if got := (Rendered{}).Remedy(); !strings.Contains(got, "--chart-set KEY=VALUE") {
		t.Error(got)
	}
}

func TestADependencyInAnotherVersionIsRenderedWithAWarning(t *testing.T) {
	for name, tc := range map[string]struct{ dependency, under string }{
		"under its name":          {"{name: part, version: ^1.0.0}", "part"},
		"not under its alias":     {"{name: part, alias: other, version: ^1.0.0}", "part"},
		"with a version too many": {"{name: part, version: 2.1.x}", "part"},
	} {
		t.Run(name, func(t *testing.T) {
			top := folder(t, map[string]string{
				"Chart.yaml":                     metadata("top", "1.0.0", "dependencies: ["+tc.dependency+"]"),
				"charts/part/Chart.yaml":         metadata("part", "2.0.0"),
				"charts/part/templates/pod.yaml": pod("quay.io/acme/part:2"),
			})
			got, err := Render(t.Context(), Options{Chart: top})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]string{"top/charts/" + tc.under + "/templates/pod.yaml quay.io/acme/part:2"}, images(got)); d != "" {
				t.Errorf("images (-want +got):\n%s", d)
			}
			if len(got.Off) > 0 || len(got.Warnings) != 1 || !strings.HasPrefix(got.Warnings[0], "top/charts has part 2.0.0 and Chart.yaml requests ") {
				t.Errorf("off %v, warnings %q", got.Off, got.Warnings)
			}
		})
	}
}

// https://github.com/helm/helm/issues/9052 and 3734: a condition below an alias is
// named by the alias, which is also where Helm reads it. The dependencies are in
// requirements.yaml, as charts of version v1 have them.
func TestComponentsBelowAliasesAreNamedByThem(t *testing.T) {
	top := folder(t, map[string]string{
		"Chart.yaml":                                "apiVersion: v1\nname: top\nversion: 1.0.0\n",
		"requirements.yaml":                         "dependencies: [{name: foo, version: '*', alias: one}, {name: foo, version: '*', alias: two}]",
		"charts/foo/Chart.yaml":                     "apiVersion: v1\nname: foo\nversion: 1.0.0\n",
		"charts/foo/requirements.yaml":              "dependencies: [{name: part, version: '*', condition: part.enabled}]",
		"charts/foo/charts/part/Chart.yaml":         "apiVersion: v1\nname: part\nversion: 1.0.0\n",
		"charts/foo/charts/part/templates/pod.yaml": pod("quay.io/acme/part:1"),
	})
	got, err := Render(t.Context(), Options{Chart: top, Set: []string{"two.part.enabled=false"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Off) != 1 || got.Off[0].String() != "two/part is off: set two.part.enabled=true" {
		t.Errorf("off %v", got.Off)
	}
	if d := cmp.Diff([]string{"top/charts/one/charts/part/templates/pod.yaml quay.io/acme/part:1"}, images(got)); d != "" {
		t.Errorf("images (-want +got):\n%s", d)
	}
}
