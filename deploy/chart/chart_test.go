// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/castai/privatelink-webhook/deploy"
)

func given() map[string]any { return map[string]any{"registry": registry} }

// TestTheProgramHasEveryFileOfTheChart compares names and bytes: go:embed leaves out
// files with a leading dot or underscore unless it is told otherwise.
func TestTheProgramHasEveryFileOfTheChart(t *testing.T) {
	read := func(tree fs.FS) map[string]string {
		all := map[string]string{}
		err := fs.WalkDir(tree, Name, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := fs.ReadFile(tree, name)
			all[name] = string(data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	want := read(os.DirFS("."))
	for _, name := range []string{"Chart.yaml", ".helmignore", "values.yaml", "values.schema.json", "README.md", "templates/_helpers.tpl", "templates/NOTES.txt"} {
		if want[Name+"/"+name] == "" {
			t.Errorf("the chart lacks %s", name)
		}
	}
	if diff := cmp.Diff(want, read(files)); diff != "" {
		t.Errorf("-tree +program\n%s", diff)
	}
	dir := filepath.Join(t.TempDir(), "new", Name)
	if err := Write(dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, read(os.DirFS(filepath.Dir(dir)))); diff != "" {
		t.Errorf("-tree +written\n%s", diff)
	}
	if err := Write(dir); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a folder with files is overwritten: %v", err)
	}
}

func TestTheArchiveIsReproducible(t *testing.T) {
	file := filepath.Join(t.TempDir(), "chart.tgz")
	if err := Write(file); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Archive()
	if err != nil || !bytes.Equal(written, again) {
		t.Errorf("two archives differ: %v", err)
	}
	if c := load(t); c.Metadata.Name != Name || len(c.Templates) < 10 || c.Schema == nil {
		t.Errorf("Helm reads %+v with %d templates", c.Metadata, len(c.Templates))
	}
}

// The version stands in one place, the image tag of the shipped Deployment.
func TestTheVersionIsThatOfTheBundle(t *testing.T) {
	m, err := ReadMetadata()
	if err != nil {
		t.Fatal(err)
	}
	o, err := Options("values.yaml", []byte("registry: "+registry))
	if err != nil {
		t.Fatal(err)
	}
	image, err := deploy.WebhookImage(o.Rules)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(image, ":"+m.AppVersion) || "v"+m.Version != m.AppVersion || !strings.Contains(readme, "--version "+m.Version) {
		t.Errorf("the bundle runs %s, the chart is %s with appVersion %s, or its README names another", image, m.Version, m.AppVersion)
	}
}

func TestLint(t *testing.T) {
	dir := filepath.Join(t.TempDir(), Name)
	if err := Write(dir); err != nil {
		t.Fatal(err)
	}
	result := lint.RunAll(dir, given(), "castai-privatelink")
	if len(result.Messages) == 0 {
		t.Error("lint has no message, not even that there is no icon: it did not run")
	}
	for _, m := range result.Messages {
		if m.Severity >= support.WarningSev {
			t.Error(m) // helm lint --strict fails
		}
	}
}

// The chart must render without a cluster, and leave certificates to the programs
// that own them. Hooks are pods with images, or objects that Helm does not track.
func TestTheTemplatesUseNothingOfTheCluster(t *testing.T) {
	banned := regexp.MustCompile(`helm\.sh/hook|\blookup\b|\bgenCA\b|\bgen[A-Z]\w*Cert\b|\brand[A-Z]|\{\{[^}]*\bnow\b|(?m:^\s*caBundle:)|\.APIVersions|checksum/`)
	for _, f := range load(t).Templates {
		if m := banned.Find(f.Data); m != nil {
			t.Errorf("%s has %s", f.Name, m)
		}
	}
	for name, object := range helmObjects(t, load(t), given(), release{}) {
		if _, ok := object["data"]; object["kind"] == "Secret" && ok || object["stringData"] != nil {
			t.Errorf("%s has data, which an upgrade would fight over with the webhook", name)
		}
	}
}

func TestUnknownValuesAreRefused(t *testing.T) {
	for want, text := range map[string]string{
		"replica": "replica: 3", "image": "image: {tags: v1}", "tolerations": "tolerations: [{keys: a}]", "namespaceSelector": "namespaceSelector: {matchLabel: {a: b}}",
		"rules": "rules: [{from: a, target: b}]", "podDisruptionBudget": "podDisruptionBudget: {minAvailable: 1}", "guard": "guard: warning", "engine": "engine: none",
		"maxUnavailable": "podDisruptionBudget: {maxUnavailable: 0}", "replicas": "replicas: 0", "certManager": "certManager: true", "podLabels": "podLabels: {app.kubernetes.io/name: x}",
		"affinity": "affinity: {nodeAffinities: {}}", "resources": "resources: {limit: {}}", "namespaces": "namespaces: [kube-system]",
		"commonLabels": "commonLabels: {app.kubernetes.io/part-of: x}", "podAnnotations": "podAnnotations: {prometheus.io/port: \"1\"}",
		"podMonitor": "monitoring: {podMonitor: {enabled: true}}", "labels": "monitoring: {labels: {app.kubernetes.io/name: x}}", "release": "monitoring: {labels: {release: x}}\ncommonLabels: {release: y}",
	} {
		_, ofHelm := helmTemplate(load(t), parse(t, "registry: "+registry+"\n"+text), release{})
		_, ofCommand := Options("my.yaml", []byte("registry: "+registry+"\n"+text))
		for by, err := range map[string]error{"Helm": ofHelm, "the command": ofCommand} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, %s: error %v", by, text, err)
			}
		}
	}
}

// helm --set makes a number of a tag of digits, and a float of a large one.
func TestTagsAreTexts(t *testing.T) {
	for path, values := range map[string]map[string]any{
		"/image/tag":      {"registry": registry, "image": map[string]any{"tag": float64(20261128)}},
		"/registry":       {"registry": 1.5},
		"/nodeSelector/a": {"registry": registry, "nodeSelector": map[string]any{"a": true}},
	} {
		_, err := helmTemplate(load(t), values, release{})
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "--set-string") {
			t.Errorf("%s: error %v", path, err)
		}
	}
}

func TestTheChartIsADependency(t *testing.T) {
	for _, extra := range []map[string]any{
		{}, {"global": map[string]any{"team": "x"}, "enabled": true},
		{"resources": map[string]any{"limits": nil}, "tolerations": nil, "image": map[string]any{"pullPolicy": nil}},
	} {
		parent := &v2.Chart{Metadata: &v2.Metadata{APIVersion: "v2", Name: "platform", Version: "1.0.0", Dependencies: []*v2.Dependency{{Name: Name, Version: ">0.0.0-0", Condition: Name + ".enabled"}}}}
		parent.AddDependency(load(t))
		values := given()
		maps.Copy(values, extra)
		have := helmObjects(t, parent, map[string]any{"global": map[string]any{"a": "b"}, Name: values}, release{name: "platform"})
		alone := given()
		maps.Copy(alone, extra)
		if diff := cmp.Diff(helmObjects(t, load(t), alone, release{}), have); diff != "" {
			t.Errorf("-alone +as a dependency\n%s", diff)
		}
	}
}

// helm upgrade --reuse-values puts the values of the last release in place of the
// chart's own, so that those which are new are missing.
func TestValuesThatAreMissingHaveTheirDefaults(t *testing.T) {
	want := helmObjects(t, load(t), given(), release{})
	remove := func(name string, remove func(map[string]any)) {
		for _, toNil := range []bool{false, true} {
			c := load(t)
			remove(c.Values)
			if toNil {
				c.Values[name] = nil
			}
			if diff := cmp.Diff(want, helmObjects(t, c, given(), release{})); diff != "" {
				t.Errorf("without %s: -want +have\n%s", name, diff)
			}
			if strings.Contains(name, ".") {
				return
			}
		}
	}
	for key, value := range load(t).Values {
		if key == "registry" {
			continue
		}
		remove(key, func(all map[string]any) { delete(all, key) })
		if slices.Contains(sections(), key) {
			for name := range value.(map[string]any) {
				remove(key+"."+name, func(all map[string]any) { delete(all[key].(map[string]any), name) })
			}
		}
	}
	c := load(t)
	c.Values = given()
	if diff := cmp.Diff(want, helmObjects(t, c, nil, release{})); diff != "" {
		t.Errorf("with the registry alone: -want +have\n%s", diff)
	}
}

func TestVersionsOfKubernetes(t *testing.T) {
	policy := given()
	policy["engine"] = "policy"
	for _, tc := range []struct {
		version string
		values  map[string]any
		want    string
	}{
		{"v1.33.1-eks-abc1234", given(), ""},
		{"v1.32.0", given(), ""},
		{"v1.29.9", given(), "kubeVersion"},
		{"v1.35.9-eks-abc1234", policy, "1.36"},
		{"v1.36.0-eks-abc1234", policy, ""},
	} {
		_, err := helmTemplate(load(t), maps.Clone(tc.values), release{kubeVersion: tc.version})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", tc.version, err, tc.want)
		}
	}
	// Without a cluster the capabilities lack most kinds.
	c := helmObjects(t, load(t), given(), release{kubeVersion: "v1.32.0"})
	if c["admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy <nil> "+deploy.GuardName] == nil {
		t.Error("the guard is missing")
	}
}

// Names do not depend on the release, and every namespaced object names its namespace.
func TestLongNamesAndVersionsWithADigest(t *testing.T) {
	c := load(t)
	c.Metadata.Version += "+2b1ba0a5d9a9"
	namespace := strings.Repeat("n", 63)
	for _, extra := range []string{"", "certManager: {enabled: true}", "hostNetwork: true", "engine: policy"} {
		values := parse(t, "registry: "+registry+"\n"+extra)
		long := helmObjects(t, c, values, release{name: strings.Repeat("r", 53), namespace: namespace})
		short := helmObjects(t, load(t), parse(t, "registry: "+registry+"\n"+extra), release{name: "r", namespace: namespace})
		if diff := cmp.Diff(short, long); diff != "" {
			t.Errorf("%s: the name of the release, or the version, changes objects:\n%s", extra, diff)
		}
		for name, object := range long {
			metadata := object["metadata"].(map[string]any)
			kind := object["kind"].(string)
			isCluster := strings.HasPrefix(kind, "Cluster") || strings.HasPrefix(kind, "Validating") || strings.HasPrefix(kind, "Mutating")
			if has := metadata["namespace"] == namespace; has == isCluster {
				t.Errorf("%s: namespace %v", name, metadata["namespace"])
			}
			for key, value := range metadata["labels"].(map[string]any) {
				if faults := validation.IsValidLabelValue(value.(string)); len(faults) > 0 {
					t.Errorf("%s: label %s: %v", name, key, faults)
				}
			}
		}
	}
}

func TestTheReleaseNamespaceIsNotRewritten(t *testing.T) {
	_, err := helmTemplate(load(t), given(), release{namespace: "castai-agent"})
	if err == nil || !strings.Contains(err.Error(), "castai-agent") || !strings.Contains(err.Error(), "another namespace") && !strings.Contains(err.Error(), "a namespace that the list does not have") {
		t.Errorf("error %v", err)
	}
	if _, err := helmTemplate(load(t), map[string]any{}, release{}); err == nil || !strings.Contains(err.Error(), "registry is missing") {
		t.Errorf("error %v", err)
	}
}

// The selectors of a Deployment cannot be changed: they have the same labels in every
// variant, whatever labels are added.
func TestSelectorsNeverChange(t *testing.T) {
	want := map[string]any{"app.kubernetes.io/name": deploy.Name}
	for _, extra := range []string{"", "commonLabels: {a: b}\npodLabels: {c: d}", "hostNetwork: true\ncertManager: {enabled: true}", "replicas: 1\nimage: {tag: v9}"} {
		selectors := 0
		for name, object := range helmObjects(t, load(t), parse(t, "registry: "+registry+"\n"+extra), release{name: "other"}) {
			spec, _ := object["spec"].(map[string]any)
			var have any
			switch object["kind"] {
			case "Deployment", "PodDisruptionBudget":
				have = spec["selector"].(map[string]any)["matchLabels"]
			case "NetworkPolicy":
				have = spec["podSelector"].(map[string]any)["matchLabels"]
			case "Service":
				have = spec["selector"]
			default:
				continue
			}
			selectors++
			if diff := cmp.Diff(any(want), have); diff != "" {
				t.Errorf("%s: %s\n%s", extra, name, diff)
			}
		}
		if selectors < 3 {
			t.Errorf("%s: only %d selectors", extra, selectors)
		}
	}
}

// A rule of Prometheus, or CEL, may have what begins an action of a template.
func TestConstantTextIsNotRunAsATemplate(t *testing.T) {
	const text = "{{ $labels.pod }} of {{ $value }}: {{`raw`}} }} {{/* no comment */}}"
	e := emitter{}
	e.object(0, map[string]any{"name": text, "lines": text + "\nlast {{", "list": []any{text}}, nil)
	c := load(t)
	c.Templates[0].Data = []byte(strings.Join(e.lines, "\n"))
	name := Name + "/" + c.Templates[0].Name
	files, err := helmTemplate(c, given(), release{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"name": text, "lines": text + "\nlast {{", "list": []any{text}}
	if diff := cmp.Diff(want, parse(t, files[name])); diff != "" {
		t.Error(diff)
	}
}
