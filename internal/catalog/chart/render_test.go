// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var imageLine = regexp.MustCompile(`(?m)image: "?([^"}\s]+)`)

// images gives one line for each image of a chart: template, hook, image.
func images(r Rendered) []string {
	var all []string
	for _, m := range r.Manifests {
		for _, found := range imageLine.FindAllSubmatch(m.Text, -1) {
			all = append(all, strings.TrimSpace(m.Name+" "+m.Hook)+" "+string(found[1]))
		}
	}
	return all
}

func TestRender(t *testing.T) {
	const gar = "us-docker.pkg.dev/castai-hub/library/agent"
	all := []string{
		"agent/charts/metrics/templates/daemonset.yaml quay.io/metrics/exporter:0.3.1",
		"agent/templates/crd-upgrade.yaml pre-install,pre-upgrade docker.io/rancher/kubectl:v1.35.6",
		"agent/templates/cronjob.yaml docker.io/library/busybox:1.37.0",
		"agent/templates/deployment.yaml " + gar + ":v1.2.0",
		"agent/templates/tests/ping.yaml test docker.io/library/busybox:1.37.0",
	}
	with := func(change func(a []string)) []string {
		a := append([]string(nil), all...)
		change(a)
		return a
	}
	for name, tc := range map[string]struct {
		o    Options
		want []string
	}{
		"hooks, tests and subcharts are included, and lookup finds nothing": {Options{}, all},
		"a subchart that is switched off is not rendered":                   {Options{Set: []string{"metrics.enabled=false"}}, all[1:]},
		"a subchart is rendered once for each alias that is switched on": {
			Options{Set: []string{"gpu.enabled=true,gpu.image=nvcr.io/gpu:1"}},
			append([]string{"agent/charts/gpu/templates/daemonset.yaml nvcr.io/gpu:1"}, all...),
		},
		"global.registry stands before a repository that keeps its host": {
			Options{Set: []string{"global.registry=mirror.example/castai/"}},
			with(func(a []string) { a[3] = "agent/templates/deployment.yaml mirror.example/castai/" + gar + ":v1.2.0" }),
		},
		"later files of values win, and set wins over files": {
			Options{Values: []string{"testdata/values/first.yaml", "testdata/values/second.yaml"}, Set: []string{"busybox=busybox:2"}},
			with(func(a []string) {
				a[2] = "agent/templates/cronjob.yaml busybox:2"
				a[3] = "agent/templates/deployment.yaml ghcr.io/castai/images/agent:v10"
				a[4] = "agent/templates/tests/ping.yaml test busybox:2"
			}),
		},
		"API versions enable templates that require them": {
			Options{APIVersions: []string{"monitoring.coreos.com/v1"}},
			[]string{all[0], all[1], all[2], all[3], "agent/templates/lookup.yaml quay.io/prometheus/prometheus:v3.0.0", all[4]},
		},
		"a version of EKS is compared without its suffix": {Options{KubeVersion: "v1.28.9-eks-0123456"}, all},
	} {
		t.Run(name, func(t *testing.T) {
			tc.o.Chart = "testdata/agent"
			got, err := Render(t.Context(), tc.o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, images(got)); diff != "" {
				t.Errorf("images (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatElseIsRendered(t *testing.T) {
	got, err := Render(t.Context(), Options{Chart: "testdata/agent", Version: "1.x"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "agent" || got.Version != "1.2.0" {
		t.Errorf("rendered %s %s, want agent 1.2.0", got.Name, got.Version)
	}
	if diff := cmp.Diff([]Off{{Path: "gpu", Set: []string{"gpu.enabled=true"}}}, got.Off); diff != "" {
		t.Errorf("subcharts that are off (-want +got):\n%s", diff)
	}
	if first := got.Manifests[0]; first.Name != "agent/crds/things.yaml" || !strings.Contains(string(first.Text), "things.cast.ai") {
		t.Errorf("the CRDs do not come first, but %s", first.Name)
	}
	var text strings.Builder
	for _, m := range got.Manifests {
		text.Write(m.Text)
		if strings.HasSuffix(m.Name, "NOTES.txt") {
			t.Error("the notes are among the manifests")
		}
	}
	for _, want := range []string{"kind: ServiceAccount", "namespace: castai-agent", "name: agent\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
}

func TestASubchartThatIsOffNeedsNoDependencies(t *testing.T) {
	got, err := Render(t.Context(), Options{Chart: "testdata/halfdone", Set: []string{"tags.node=false"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Manifests) != 0 || len(got.Off) != 1 {
		t.Errorf("rendered %d manifests, and off are %v", len(got.Manifests), got.Off)
	}
}

func TestReleaseAndNamespaceCanBeNamed(t *testing.T) {
	got, err := Render(t.Context(), Options{Chart: "testdata/agent", Release: "mine", Namespace: "omni"})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got.Manifests {
		if m.Name == "agent/templates/deployment.yaml" && strings.Contains(string(m.Text), "Deployment") {
			if !strings.Contains(string(m.Text), "name: mine\n  namespace: omni") {
				t.Errorf("release and namespace are missing in\n%s", m.Text)
			}
			return
		}
	}
	t.Error("there is no deployment")
}

func TestErrorsNameTheValue(t *testing.T) {
	for name, tc := range map[string]struct {
		set  string
		want []string
	}{
		"a value that is required": {
			"fault=required",
			[]string{"chart demanding 1.0.0: demanding/templates/config.yaml:8: the provider must be set", "--chart-set castai.provider=… or --values"},
		},
		"a value that a helper requires, with the helper's line": {
			"fault=helper",
			[]string{"demanding/templates/_helpers.tpl:2: an API key is needed", "--chart-set castai.apiKey=…"},
		},
		"a value that is piped to required": {
			"fault=piped",
			[]string{"_helpers.tpl:5: a cluster is needed", "--chart-set castai.clusterID=…"},
		},
		"a value below one that is not there": {
			"fault=nothing",
			[]string{"_helpers.tpl:8: nil pointer evaluating interface {}.main", "--chart-set database.main.host=…"},
		},
		"the message of the function fail": {
			"fault=fail",
			[]string{"config.yaml:16: mode must be one of: a, b", "--chart-set mode=…"},
		},
		"a value in a template within a value": {
			"fault=tpl",
			[]string{": deep", "--chart-set castai.deep=…"},
		},
		"an expression that is relative to another value": {
			"fault=with,castai.other=x",
			[]string{"config.yaml:20: nil pointer evaluating interface {}.name: see <.region.name> there", "--chart-set KEY=…"},
		},
		"a requirement on a line without a value is not repeated": {
			"fault=elsewhere",
			[]string{"config.yaml:22: no mode fits: change the values with --chart-set KEY=…"},
		},
		"a value of a subchart, by its name in the chart": {
			"part.on=true",
			[]string{"demanding/charts/part/templates/part.yaml:5: part needs a name", "--chart-set part.metadata.name=…"},
		},
		"a global value of a subchart, without the subchart's name": {
			"part.on=true,part.metadata.name=x",
			[]string{"part.yaml:6: all need a region", "--chart-set global.region=…"},
		},
		"the template whose text is no YAML": {
			"fault=yaml",
			[]string{"demanding/templates/config.yaml", "YAML", "a value that is missing"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Render(t.Context(), Options{Chart: "testdata/demanding", Set: []string{tc.set}})
			wantError(t, err, tc.want...)
		})
	}
}

func TestChartsThatCannotBeInstalled(t *testing.T) {
	for name, tc := range map[string]struct {
		o    Options
		want []string
	}{
		"values that the schema refuses are all named": {
			Options{Chart: "testdata/schema", Set: []string{"replicas=many"}},
			[]string{"chart schema 1.0.0: values.schema.json", "at '/castai': missing property 'clusterID'", "at '/replicas': got string, want integer", "--chart-set"},
		},
		"a library has nothing to install":  {Options{Chart: "testdata/library"}, []string{"chart library 1.0.0: it is a library"}},
		"dependencies must be in charts/":   {Options{Chart: "testdata/undone"}, []string{"undone/charts lacks agent, kvisor", "helm dependency build"}},
		"so must those of a subchart":       {Options{Chart: "testdata/halfdone"}, []string{"halfdone/charts/part/charts lacks kvisor", "helm dependency build"}},
		"a chart can require a version":     {Options{Chart: "testdata/agent", KubeVersion: "1.20"}, []string{"wants Kubernetes >=1.28.0-0, not v1.20", "--kube-version"}},
		"a version of Kubernetes has a dot": {Options{Chart: "testdata/agent", KubeVersion: "new"}, []string{`version "new" of Kubernetes`, "1.37"}},
		"no chart":                          {Options{}, []string{"no chart is named"}},
		"a file of values that is not there": {
			Options{Chart: "testdata/agent", Values: []string{"testdata/values/none.yaml"}}, []string{"testdata/values/none.yaml", "no such file"},
		},
		"a file of values that is no YAML": {
			Options{Chart: "testdata/agent", Values: []string{"testdata/agent/templates/_image.tpl"}}, []string{"_image.tpl"},
		},
		"a set without a value":      {Options{Chart: "testdata/agent", Set: []string{"image"}}, []string{"values of the chart", "image"}},
		"a release's name is a name": {Options{Chart: "testdata/agent", Release: "Not A Name"}, []string{`release "Not A Name"`}},
		"a folder of another version": {
			Options{Chart: "testdata/agent", Version: "2.0.0"}, []string{"chart testdata/agent is version 1.2.0, not 2.0.0"},
		},
		"a path that is not there":   {Options{Chart: "testdata/none"}, []string{`"testdata/none": no such folder or archive`, "helm repo add"}},
		"a file that is no archive":  {Options{Chart: "testdata/agent/values.yaml"}, []string{"chart testdata/agent/values.yaml: it is no gzip archive", "helm package"}},
		"a registry as repository":   {Options{Chart: "agent", Repo: "oci://r.example/charts/"}, []string{"name the chart oci://r.example/charts/agent"}},
		"a path within a repository": {Options{Chart: "./agent", Repo: "https://r.example"}, []string{`"./agent"`, "as the repository does"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Render(t.Context(), tc.o)
			wantError(t, err, tc.want...)
		})
	}
}

func wantError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not say %q:\n%v", w, err)
		}
	}
}
