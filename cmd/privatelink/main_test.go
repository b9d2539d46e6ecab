// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

const ecr = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"

// call runs the command in this process.
func call(t *testing.T, env map[string]string, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), "privatelink", args, func(k string) string { return env[k] }, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestImages(t *testing.T) {
	config := write(t, "privatelink.yaml", "registry: "+ecr+"\nkeep: [quay.io]\n")
	for name, tc := range map[string]struct {
		env    map[string]string
		args   []string
		code   int
		stdout string
		stderr string // part of it
	}{
		"an image and its target, with a tab between": {
			args: []string{"--registry", ecr, "us-docker.pkg.dev/castai-hub/library/agent:v0.161.1"}, stdout: "us-docker.pkg.dev/castai-hub/library/agent:v0.161.1\t" + ecr + "/agent:v0.161.1\n",
		},
		"an image that is left has itself as its target": {
			args: []string{"--config", config, "quay.io/a:1", "nginx"}, stdout: "quay.io/a:1\tquay.io/a:1\nnginx\t" + ecr + "/docker.io/library/nginx\n",
		},
		"the rule that decided": {
			args: []string{"--config", config, "--explain", "quay.io/a:1"}, stdout: "quay.io/a:1\tquay.io/a:1\tkeep quay.io\n",
		},
		"the registry from the environment": {
			env: map[string]string{"PRIVATELINK_REGISTRY": ecr}, args: []string{"ghcr.io/castai/images/a"}, stdout: "ghcr.io/castai/images/a\t" + ecr + "/a\n",
		},
		"an image that cannot be parsed is printed unchanged and reported, with code 3": {
			args: []string{"--registry", ecr, "Not An Image", "nginx"}, code: 3,
			stdout: "Not An Image\tNot An Image\nnginx\t" + ecr + "/docker.io/library/nginx\n", stderr: `"Not An Image": not rewritten: not an image reference`,
		},
		"a bad registry":                    {args: []string{"--registry", "https://x", "nginx"}, code: 2, stderr: "leave out everything up to ://"},
		"two registries":                    {args: []string{"--registry", "registry.example.com/x", "--config", config, "nginx"}, code: 2, stderr: "differ"},
		"a configuration with faults":       {args: []string{"--config", write(t, "bad.yaml", "registri: x\n"), "nginx"}, code: 2, stderr: "bad.yaml:1: registri: unknown key"},
		"a configuration that is not there": {args: []string{"--config", "/does/not/exist", "nginx"}, code: 2, stderr: "no such file"},
		"no image":                          {args: []string{"--registry", ecr}, code: 2, stderr: "name at least one image"},
		"images and manifests":              {args: []string{"--registry", ecr, "-f", "-", "nginx"}, code: 2, stderr: "but not both"},
		"an unknown flag":                   {args: []string{"--registri", ecr, "nginx"}, code: 2, stderr: "unknown flag"},
		"an unknown output":                 {args: []string{"--registry", ecr, "-o", "xml", "nginx"}, code: 2, stderr: "use json or yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, tc.env, "", append([]string{"rewrite"}, tc.args...)...)
			if code != tc.code || stdout != tc.stdout || !strings.Contains(stderr, tc.stderr) || (tc.stderr == "") != (stderr == "") {
				t.Errorf("code %d, want %d\nstdout %q\n  want %q\nstderr %q\n  want %q", code, tc.code, stdout, tc.stdout, stderr, tc.stderr)
			}
		})
	}
}

func TestImagesAsJSON(t *testing.T) {
	code, stdout, _ := call(t, nil, "", "rewrite", "--registry", ecr, "-o", "json", "nginx:1", "X")
	var got []rewrite.Result
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 3 || len(got) != 2 {
		t.Fatalf("code %d, %v, %s", code, err, stdout)
	}
	if got[0].Target != ecr+"/docker.io/library/nginx:1" || got[1].Reason != rewrite.Unparsable || got[1].Target != "X" {
		t.Errorf("%+v", got)
	}
}

const pod = `apiVersion: v1
kind: Pod
metadata: {name: p} # kept
spec:
  containers:
  - name: a
    image: "ghcr.io/castai/images/agent:v1" # the agent
`

func TestManifests(t *testing.T) {
	rewritten := strings.Replace(pod, "ghcr.io/castai/images", ecr, 1)
	for name, tc := range map[string]struct {
		stdin  string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		"from standard input, the image lines alone change": {stdin: pod, args: []string{"-f", "-"}, stdout: rewritten},
		"from a file":                           {args: []string{"-f", write(t, "pod.yaml", pod)}, stdout: rewritten},
		"with what was done, on standard error": {stdin: pod, args: []string{"-f", "-", "--explain"}, stdout: rewritten, stderr: "alias ghcr.io/castai/images"},
		"an image that cannot be mapped is named, the rest is done": {
			stdin: pod + "  - {name: b, image: 'X Y'}\n", args: []string{"-f", "-"}, code: 3,
			stdout: rewritten + "  - {name: b, image: 'X Y'}\n", stderr: `standard input:8: Pod p: "X Y": not rewritten: not an image reference`,
		},
		"text that is no manifest gives nothing": {stdin: "a: [", args: []string{"-f", "-"}, code: 1, stderr: "standard input"},
		"a file that is not there":               {args: []string{"-f", "/does/not/exist"}, code: 1, stderr: "/does/not/exist"},
		"two files, as one text":                 {args: []string{"-f", write(t, "pod.yaml", pod), "-f", write(t, "pod.yaml", pod)}, stdout: rewritten + "---\n" + rewritten},
		"a file and standard input":              {stdin: pod, args: []string{"-f", "-", "-f", write(t, "pod.yaml", pod)}, stdout: rewritten + "---\n" + rewritten},
		"a folder":                               {args: []string{"-f", filepath.Dir(write(t, "pod.yaml", pod))}, stdout: rewritten},
		"the second of two is not readable":      {stdin: "a: [", args: []string{"-f", write(t, "pod.yaml", pod), "-f", "-"}, code: 1, stderr: "standard input:1: not YAML"},
		"nothing on standard input":              {stdin: "\n", args: []string{"-f", "-"}, code: 1, stderr: "standard input is empty: check the command that writes it"},
		"standard input twice":                   {stdin: pod, args: []string{"-f", "-", "-f", "-"}, code: 2, stderr: "standard input can be read once"},
		"a template":                             {stdin: "kind: Pod\nspec: {containers: [{image: '{{ .image }}'}]}\n", args: []string{"-f", "-"}, code: 3, stdout: "kind: Pod\nspec: {containers: [{image: '{{ .image }}'}]}\n", stderr: "render it first"},
		"no workload, as a list":                 {stdin: "kind: ConfigMap\n", args: []string{"-f", "-", "-o", "json"}, stdout: "[]\n", stderr: "standard input: no pod and no object with a pod template in it"},
		"another value that looks like an image": {
			stdin: "kind: ConfigMap\ndata: {x: 'image: quay.io/acme/x:1'}\n", args: []string{"-f", "-"}, stdout: "kind: ConfigMap\ndata: {x: 'image: quay.io/acme/x:1'}\n", stderr: "1 other value looks like a public image: ConfigMap /data/x quay.io/acme/x:1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, nil, tc.stdin, append([]string{"rewrite", "--registry", ecr}, tc.args...)...)
			if code != tc.code || stdout != tc.stdout || !strings.Contains(stderr, tc.stderr) || (tc.stderr == "") != (stderr == "") {
				t.Errorf("code %d, want %d\nstdout %q\n  want %q\nstderr %q\n  want %q", code, tc.code, stdout, tc.stdout, stderr, tc.stderr)
			}
		})
	}
}

// manyPrefixes is a list of more prefixes than an expression can have.
func manyPrefixes() string {
	var out strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&out, "- quay.io/%s%d\n", strings.Repeat("a", 50), i)
	}
	return out.String()
}

func TestInstall(t *testing.T) {
	config := write(t, "privatelink.yaml", "registry: "+ecr+"\nnamespaces: [castai-agent, castai-omni]\nkeep: [quay.io/acme]\n")
	for name, tc := range map[string]struct {
		args      []string
		code      int
		want, not []string
		stderr    string
	}{
		"by registry": {args: []string{"--registry", ecr}, want: []string{"kind: MutatingWebhookConfiguration", "image: " + ecr + "/privatelink-webhook:v", "failurePolicy: Fail"}, not: []string{"REGISTRY", "cert-manager.io"}},
		"by configuration: namespaces and keeps reach the conditions": {
			args: []string{"--config", config}, want: []string{"- castai-omni", `[{"quay.io/acme":""}].exists(sources,`, "keep: [quay.io/acme]"},
		},
		"cert-manager: no rights at all": {
			args: []string{"--registry", ecr, "--overlay", "cert-manager"}, want: []string{"cert-manager.io/inject-ca-from"}, not: []string{"ClusterRole", "kind: Secret\n", "automountServiceAccountToken: true"},
		},
		"host network":                         {args: []string{"--registry", ecr, "--overlay", "host-network"}, want: []string{"hostNetwork: true", "--listen=:19443"}, not: []string{"NetworkPolicy"}},
		"both overlays":                        {args: []string{"--registry", ecr, "--overlay", "host-network,cert-manager"}, want: []string{"hostNetwork: true", "inject-ca-from"}},
		"another image, policy, count":         {args: []string{"--registry", ecr, "--image", "registry.example.com/w:1", "--failure-policy", "Ignore", "--replicas", "3"}, want: []string{"image: registry.example.com/w:1", "failurePolicy: Ignore", "replicas: 3"}, not: []string{"failurePolicy: Fail\n  matchConditions:\n  - expression: |-"}},
		"the policy engine: nothing that runs": {args: []string{"--registry", ecr, "--engine", "policy"}, want: []string{"kind: MutatingAdmissionPolicy\n", "kind: ValidatingAdmissionPolicy\n", "- Warn", "failurePolicy: Ignore"}, not: []string{"kind: Deployment", "kind: Namespace", "kind: MutatingWebhookConfiguration", "REGISTRY"}},
		"the policy engine by configuration":   {args: []string{"--config", config, "--engine", "policy", "--failure-policy", "Fail"}, want: []string{"- castai-omni", `'{"quay.io/acme":""}'`, "failurePolicy: Fail"}},
		"a guard that denies":                  {args: []string{"--registry", ecr, "--guard", "deny"}, want: []string{"- Deny\n  - Audit"}, not: []string{"- Warn"}},
		"no guard":                             {args: []string{"--registry", ecr, "--guard", "off"}, not: []string{"privatelink-guard"}},
		"an unknown engine":                    {args: []string{"--registry", ecr, "--engine", "x"}, code: 2, stderr: "use webhook or policy"},
		"an unknown guard":                     {args: []string{"--registry", ecr, "--guard", "x"}, code: 2, stderr: "use warn, deny or off"},
		"an overlay of the webhook's":          {args: []string{"--registry", ecr, "--engine", "policy", "--overlay", "host-network"}, code: 2, stderr: "engine policy has no pods"},
		"an unknown overlay":                   {args: []string{"--registry", ecr, "--overlay", "x"}, code: 2, stderr: "there are only cert-manager, host-network, monitoring"},
		"an image with white space":            {args: []string{"--registry", ecr, "--image", ecr + "/w:v1 "}, code: 2, stderr: "invalid reference format: give it as REPOSITORY:TAG"},
		"an image with a scheme":               {args: []string{"--registry", ecr, "--image", "https://" + ecr + "/w:v1"}, code: 2, stderr: "without a scheme"},
		"an empty image":                       {args: []string{"--registry", ecr, "--image", ""}, code: 2, stderr: "--image: is empty"},
		"an image by digest":                   {args: []string{"--registry", ecr, "--image", ecr + "/w@sha256:" + strings.Repeat("ab", 32)}, want: []string{"image: " + ecr + "/w@sha256:abab"}},
		"no replicas":                          {args: []string{"--registry", ecr, "--replicas", "0"}, code: 2, stderr: "give a number from 1 to 100"},
		"too many replicas":                    {args: []string{"--registry", ecr, "--replicas", "1000"}, code: 2, stderr: "give a number from 1 to 100"},
		"too many rules":                       {args: []string{"--config", write(t, "many.yaml", "registry: "+ecr+"\nkeep:\n"+manyPrefixes())}, code: 2, stderr: "the API server accepts 100000"},
		"an unknown policy":                    {args: []string{"--registry", ecr, "--failure-policy", "fail"}, code: 2, stderr: "use Fail or Ignore"},
		"no registry":                          {code: 2, stderr: "give --registry"},
		"an argument too many":                 {args: []string{"x"}, code: 2, stderr: "--help"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, nil, "", append([]string{"install"}, tc.args...)...)
			if code != tc.code || !strings.Contains(stderr, tc.stderr) || code != 0 && stdout != "" {
				t.Fatalf("code %d, want %d; stderr %q, stdout %q", code, tc.code, stderr, stdout)
			}
			for _, h := range tc.want {
				if !strings.Contains(stdout, h) {
					t.Errorf("lacks %q", h)
				}
			}
			for _, n := range tc.not {
				if strings.Contains(stdout, n) {
					t.Errorf("has %q", n)
				}
			}
		})
	}
}

func TestExplainCommand(t *testing.T) {
	const agent = "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: castai-agent}, spec: {containers: [{name: c, image: %}]}}"
	public, left := strings.Replace(agent, "%", "busybox", 1), strings.Replace(agent, "%", "Widget", 1)
	for name, tc := range map[string]struct {
		stdin  string
		args   []string
		code   int
		stdout []string
		stderr string
	}{
		"a pod that is rewritten":        {public, []string{"-"}, 0, []string{"busybox -> " + ecr + "/docker.io/library/busybox (default: source host and path)", "condition     has-public-image: true", "guard         passes"}, ""},
		"the same by the policy":         {public, []string{"--engine", "policy", "-"}, 0, []string{"busybox -> " + ecr + "/docker.io/library/busybox", "not-a-static-pod: true"}, ""},
		"one that stays public":          {left, []string{"-"}, 3, []string{"Widget (not rewritten: not an image reference)", `warns: privatelink: 1 public, first "Widget"`}, ""},
		"for programs":                   {left, []string{"-o", "json", "--guard", "deny", "-"}, 3, []string{`"verdict": "denies"`, `"outcome": "unmapped"`, `"selected": true`}, ""},
		"a namespace that is not listed": {strings.Replace(public, ", namespace: castai-agent", "", 1), []string{"-"}, 3, []string{"default is not selected; selected are castai-agent; the manifest names none", "use -n NAMESPACE", "guard         not matched"}, ""},
		"the namespace by a flag":        {strings.Replace(public, ", namespace: castai-agent", "", 1), []string{"-n", "castai-agent", "-"}, 0, []string{"castai-agent is selected"}, ""},
		"fields in another case":         {strings.Replace(public, "image:", "Image:", 1), []string{"-"}, 3, []string{`unknown field "spec.containers[0].Image": kubectl refuses it`}, ""},
		"a file by a flag":               {public, []string{"-f", "-"}, 0, []string{"busybox -> "}, ""},
		"other containers, and a pod": {"{apiVersion: acme.example/v1, kind: Own, spec: {containers: [{name: c, image: {name: x}}]}}\n---\n" + public, []string{"-"}, 1,
			[]string{"Own default/\n  error  the containers are not those of a pod: ", "busybox -> "}, "Own default/, document 1: the containers are not those of a pod"},
		"no file":           {"", nil, 2, nil, "--help"},
		"an unknown engine": {public, []string{"--engine", "x", "-"}, 2, nil, "there are only webhook and policy"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, nil, tc.stdin, append([]string{"explain", "--registry", ecr}, tc.args...)...)
			if code != tc.code || !strings.Contains(stderr, tc.stderr) {
				t.Errorf("code %d, want %d; stderr %q", code, tc.code, stderr)
			}
			for _, want := range tc.stdout {
				if !strings.Contains(stdout, want) {
					t.Errorf("lacks %q:\n%s", want, stdout)
				}
			}
		})
	}
}

func TestEveryCommandHasHelpAndExamplesAndCompletion(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"rewrite", "--help"}, {"install", "--help"}, {"certs", "reset", "--help"}} {
		if code, stdout, stderr := call(t, nil, "", args...); code != 0 || stdout == "" || stderr != "" {
			t.Errorf("%v: code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
	for _, c := range newRoot(os.Getenv).Commands() {
		if c.HasSubCommands() || c.Hidden || c.Name() == "version" {
			continue
		}
		if c.Example == "" || c.Long == "" {
			t.Errorf("%s has no example or description", c.Name())
		}
	}
}

func TestResetWithoutAClusterSaysWhatToDo(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	code, _, stderr := call(t, nil, "", "certs", "reset", "--kubeconfig", missing)
	if code != 2 || !strings.Contains(stderr, "--kubeconfig") {
		t.Errorf("code %d, stderr %q", code, stderr)
	}
}
