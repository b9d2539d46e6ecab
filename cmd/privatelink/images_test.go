// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheListOfImages(t *testing.T) {
	const agent = "us-docker.pkg.dev/castai-hub/library/agent:v0.161.1"
	file := write(t, "pod.yaml", pod)
	unmapped := write(t, "unmapped.yaml", pod+"  - {name: b, image: 'X Y'}\n")
	for name, tc := range map[string]struct {
		env       map[string]string
		stdin     string
		args      []string
		code      int
		want, not []string
		stderr    string
	}{
		"a table, with the registry above it": {
			args: []string{"--set", "phase1"}, want: []string{"# .../ is " + ecr + "/\nSOURCE ", agent + " ", " .../agent:v0.161.1 ", " catalog castai-agent (phase1,"},
		},
		"the webhook's own image belongs to every list": {
			args: []string{"-f", file}, want: []string{"\nprivatelink.cast.ai/privatelink-webhook:v", " .../privatelink-webhook:v", " the webhook itself, which a released privatelink carries"},
		},
		"the webhook's own image from a registry": {
			args: []string{"-f", file, "--webhook-image", "quay.io/acme/webhook:approved", "-o", "sources"}, want: []string{"quay.io/acme/webhook:approved\n"}, not: []string{"privatelink-webhook"},
		},
		"the webhook's own image excluded": {args: []string{"-f", file, "--no-webhook-image"}, want: []string{"agent:v1"}, not: []string{"webhook"}},
		"sets as a list, from the environment": {
			env: map[string]string{"PRIVATELINK_SET": "phase1,phase2"}, want: []string{agent, "kvisor-scanners:", "cluster-controller:"}, args: []string{}, stderr: "castai-live's images are not in the catalog",
		},
		"an image without a known tag says how to get one, and a derived one says from what": {args: []string{"--set", "umbrella"}, want: []string{"derived from kvisor-controller:", "ghcr.io/castai/live/kubectl  ", "no tag is known: see the chart"}, stderr: "use --chart castai-live or --cluster"},
		"manifests from a file":                               {args: []string{"-f", file}, want: []string{"ghcr.io/castai/images/agent:v1  ", "  .../agent:v1  "}},
		"manifests from standard input, in addition to a set": {stdin: pod, args: []string{"-f", "-", "--set", "phase1"}, want: []string{"agent:v1 ", "standard input:7 Pod p", agent}},
		"sources for scripts": {
			args: []string{"-f", file, "-o", "sources"}, want: []string{"ghcr.io/castai/images/agent:v1\n"}, not: []string{"privatelink-webhook", "SOURCE"}, stderr: "not listed: a released privatelink carries it, and no registry has it",
		},
		"sources leave out what has no tag, and say so": {
			args: []string{"--set", "umbrella", "-o", "sources"}, not: []string{"live/kubectl", "WHY"}, stderr: "ghcr.io/castai/live/kubectl: not listed: no tag is known",
		},
		"an image that cannot be mapped is listed and reported, with code 3": {
			args: []string{"-f", unmapped}, code: 3, want: []string{"X Y  ", "not rewritten: not an image reference", "agent:v1"}, stderr: `"X Y": not rewritten: not an image reference (` + unmapped + ":8 Pod p)",
		},
		"a manifest without images":   {stdin: "kind: ConfigMap\n", args: []string{"-f", "-"}, code: 1, not: []string{"privatelink-webhook"}, stderr: "standard input names no image"},
		"no source":                   {code: 2, stderr: "one or more of --set NAME (phase1, "},
		"an unknown set":              {args: []string{"--set", "phase3"}, code: 2, stderr: "there are only phase1, "},
		"an unknown output":           {args: []string{"--set", "phase1", "-o", "xml"}, code: 2, stderr: "use json, yaml, sources or lock"},
		"a cluster that is not there": {args: []string{"--cluster", "--kubeconfig", filepath.Join(t.TempDir(), "none")}, code: 2, stderr: "see --kubeconfig and --context"},
		"an argument":                 {args: []string{"nginx"}, code: 2, stderr: "--help"},
		"no registry is asked for, even without source": {env: map[string]string{"PRIVATELINK_REGISTRY": "https://x"}, code: 2, stderr: "leave out everything up to ://"},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{"PRIVATELINK_REGISTRY": ecr}
			maps.Copy(env, tc.env)
			code, stdout, stderr := call(t, env, tc.stdin, append([]string{"images"}, tc.args...)...)
			if code != tc.code || !strings.Contains(stderr, tc.stderr) || (tc.stderr == "") != (stderr == "") {
				t.Errorf("code %d, want %d; stderr %q, want %q", code, tc.code, stderr, tc.stderr)
			}
			for _, h := range tc.want {
				if !strings.Contains(stdout, h) {
					t.Errorf("lacks %q:\n%s", h, stdout)
				}
			}
			for _, n := range tc.not {
				if strings.Contains(stdout, n) {
					t.Errorf("has %q:\n%s", n, stdout)
				}
			}
		})
	}
}

func TestTheListOfImagesAsJSON(t *testing.T) {
	code, stdout, stderr := call(t, nil, pod, "images", "--registry", ecr, "-f", "-", "-o", "json")
	var got []map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || stderr != "" || len(got) != 2 {
		t.Fatalf("code %d, %v, %s%s", code, err, stdout, stderr)
	}
	for _, field := range []string{"source", "target", "outcome", "rule", "copy", "derived", "origins"} {
		if _, ok := got[0][field]; !ok {
			t.Errorf("lacks %s", field)
		}
	}
	if got[0]["target"] != ecr+"/agent:v1" || got[0]["copy"] != true || got[0]["carried"] != nil || got[1]["copy"] != true || got[1]["carried"] != true {
		t.Errorf("%v", got)
	}
}

func TestImagesOfAChart(t *testing.T) {
	chart := filepath.Join("..", "..", "internal", "catalog", "chart", "testdata", "agent")
	code, stdout, stderr := call(t, nil, "", "images", "--registry", ecr, "--chart", chart, "-o", "json")
	if code != 0 || !strings.Contains(stdout, `"from": "chart"`) {
		t.Errorf("code %d, %s%s", code, stdout, stderr)
	}
	for _, tc := range []struct{ chart, want string }{{"undone", "dependency build"}, {"nothing-here", "nothing-here"}, {"demanding --chart-set fault=required", "--chart-set castai.provider=…"}} {
		args := strings.Fields(filepath.Join("..", "..", "internal", "catalog", "chart", "testdata", tc.chart))
		code, _, stderr := call(t, nil, "", append([]string{"images", "--registry", ecr, "--chart"}, args...)...)
		if code != 1 || !strings.Contains(stderr, tc.want) {
			t.Errorf("%s: code %d, %s", tc.chart, code, stderr)
		}
	}
}

// The chart's pod has the versions in its image.
func TestImagesOfAChartForACluster(t *testing.T) {
	chart := t.TempDir()
	for name, text := range map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: agent\nversion: 1.0.0\nkubeVersion: '<1.35.0'\n",
		"templates/pod.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: c, image: \"quay.io/acme/agent:{{ .Capabilities.KubeVersion.Minor }}" +
			"{{ if .Capabilities.APIVersions.Has \"monitoring.coreos.com/v1\" }}-monitored{{ end }}\"}]}\n",
	} {
		if err := os.MkdirAll(filepath.Join(chart, "templates"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(chart, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, stdout, stderr := call(t, nil, "", "images", "--registry", ecr, "--chart", chart, "--kube-version", "v1.33.1-eks-abc", "--api-versions", "monitoring.coreos.com/v1")
	if code != 0 || !strings.Contains(stdout, "quay.io/acme/agent:33-monitored ") {
		t.Errorf("code %d, %s%s", code, stdout, stderr)
	}
	code, _, stderr = call(t, nil, "", "images", "--registry", ecr, "--chart", chart)
	if code != 1 || !strings.Contains(stderr, "with --kube-version") {
		t.Errorf("code %d, %s", code, stderr)
	}
}

// A chart whose components are off is no reason to be content, whatever the command.
func TestAChartWithoutImagesFailsEveryCommand(t *testing.T) {
	testdata := filepath.Join("..", "..", "internal", "catalog", "chart", "testdata")
	off := []string{"--chart", filepath.Join(testdata, "agent"), "--chart", filepath.Join(testdata, "halfdone"), "--chart-set", "tags.node=false"}
	for name, args := range map[string][]string{
		"images":           {"images"},
		"images -o lock":   {"images", "-o", "lock"},
		"mirror":           {"mirror"},
		"mirror --dry-run": {"mirror", "--dry-run"},
		"check":            {"check"},
		"export":           {"export", "--to", filepath.Join(t.TempDir(), "x.tar")},
	} {
		args = append(args, "--registry", ecr)
		if name != "images" && name != "images -o lock" {
			args = append(args, "--lock", filepath.Join(t.TempDir(), "lock.yaml"))
		}
		code, stdout, stderr := call(t, nil, "", append(args, off...)...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, "part is off: set tags.node=true") || !strings.Contains(stderr, "renders no image: switch its components on, for instance with --chart-set tags.node=true") {
			t.Errorf("%s: code %d, stdout %q, stderr %q", name, code, stdout, stderr)
		}
	}
}

func TestImagesOfSeveralCharts(t *testing.T) {
	testdata := filepath.Join("..", "..", "internal", "catalog", "chart", "testdata")
	code, stdout, stderr := call(t, nil, "", "images", "--registry", ecr, "-o", "sources", "--chart", filepath.Join(testdata, "agent"), "--chart", filepath.Join(testdata, "schema"),
		"--chart-set", "castai.clusterID=x")
	if code != 0 || !strings.Contains(stdout, "library/agent:v1.2.0\n") || !strings.Contains(stdout, "library/busybox:1\n") {
		t.Errorf("code %d, %s%s", code, stdout, stderr)
	}
	for _, args := range [][]string{{"--chart", "a@1", "--version", "2"}, {"--chart", "a", "--chart", "b", "--version", "2"}} {
		if code, _, stderr := call(t, nil, "", append([]string{"check", "--registry", ecr}, args...)...); code != 2 || !strings.Contains(stderr, "--version 2") {
			t.Errorf("%v: code %d, %s", args, code, stderr)
		}
	}
}
