// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

func newBundle(t *testing.T, o deploy.Options) *Bundle {
	t.Helper()
	rules, err := rewrite.New(rewrite.Config{Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	o.Rules = rules
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPrint(t *testing.T) {
	for file, tc := range map[string]struct {
		o         deploy.Options
		namespace string
	}{
		"webhook.txt":      {deploy.Options{}, "castai-agent"},
		"policy.txt":       {deploy.Options{Engine: deploy.Policy, Guard: deploy.GuardDeny}, "castai-agent"},
		"no-guard.txt":     {deploy.Options{Guard: deploy.GuardOff}, "castai-agent"},
		"not-selected.txt": {deploy.Options{}, "default"},
	} {
		t.Run(file, func(t *testing.T) {
			b := newBundle(t, tc.o)
			reports, err := b.ExplainFiles(t.Context(), []string{"-"}, strings.NewReader(manifests), Namespace{Name: tc.namespace})
			if err != nil {
				t.Fatal(err)
			}
			for i := range reports { // costs depend on the version of the CEL libraries
				reports[i].Cost = min(1, reports[i].Cost)
				reports[i].Guard.Cost = min(1, reports[i].Guard.Cost)
			}
			checkPrinted(t, file, reports)
		})
	}
	t.Run("refused.txt", func(t *testing.T) {
		checkPrinted(t, "refused.txt", []Report{{
			Pod: Pod{Kind: "Pod", Namespace: "castai-agent", Name: "p"}, Selected: true, Error: "has-public-image: no such key", Refused: true,
			Patch: []byte("[]"), Guard: Guard{Verdict: "not matched"},
		}})
	})
}

func checkPrinted(t *testing.T, file string, reports []Report) {
	t.Helper()
	rules, err := rewrite.New(rewrite.Config{Registry: registry, Namespaces: []string{"castai-agent", "castai-omni"}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Print(&out, reports, rules); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", file)
	golden.Compare(t, path, out.Bytes())
}

func TestNewRefusesInvalidOptions(t *testing.T) {
	rules, err := rewrite.New(rewrite.Config{Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]deploy.Options{
		"there are only webhook and policy": {Engine: "x"},
		"there are only warn, deny and off": {Guard: "x"},
		"there are only Fail and Ignore":    {FailurePolicy: "fail"},
	} {
		o.Rules = rules
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestExplainFilesUsageErrors(t *testing.T) {
	b := newBundle(t, deploy.Options{})
	for text, want := range map[string]string{
		"kind: ConfigMap":                  "standard input: no pod and no workload in it",
		"":                                 "standard input: no pod and no workload in it",
		"kind: Pod\nspec: {containers: 3}": "standard input: document 1: Pod: json: cannot unmarshal number",
	} {
		_, err := b.ExplainFiles(t.Context(), []string{"-"}, strings.NewReader(text), Namespace{Name: "default"})
		if exitcode.Code(err) != exitcode.Usage || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
	missing := filepath.Join(t.TempDir(), "none.yaml")
	if _, err := b.ExplainFiles(t.Context(), []string{missing}, nil, Namespace{Name: "default"}); exitcode.Code(err) != exitcode.Usage || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestExplainFilesKeepsTheOrderOfTheFiles(t *testing.T) {
	var files []string
	for _, name := range []string{"b", "a"} {
		file := filepath.Join(t.TempDir(), name+".yaml")
		if err := os.WriteFile(file, []byte("{kind: Pod, metadata: {name: "+name+"}, spec: {containers: [{name: c, image: busybox}]}}"), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	reports, err := newBundle(t, deploy.Options{}).ExplainFiles(t.Context(), files, nil, Namespace{Name: "castai-agent"})
	if err != nil || len(reports) != 2 || reports[0].Name != "b" || reports[1].Name != "a" {
		t.Errorf("%+v, %v", reports, err)
	}
}
