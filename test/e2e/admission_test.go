// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

// plain is a namespace that gets the same workloads and no webhook.
const plain = "castai-plain"

// The bundle is there before the namespace, which comes with the first manifest.
// This test is in the first file, so that it need not wait for the namespaces
// to go.
func TestAnOnboardingRunsFromThePrivateRegistry(t *testing.T) {
	gone(t, Namespace, plain)
	shipped(t)
	before := troubles(t)
	var both errgroup.Group
	for _, namespace := range []string{Namespace, plain} {
		both.Go(func() error { return Onboard(testCtx, h, namespace, func(string) {}) })
	}
	if err := both.Wait(); err != nil {
		t.Fatal(err)
	}
	rewritten, untouched := pods(t, Namespace), pods(t, plain)
	if d := cmp.Diff(slices.Sorted(maps.Keys(untouched)), slices.Sorted(maps.Keys(rewritten))); d != "" {
		t.Fatalf("pods (-without +with the webhook):\n%s", d)
	}

	t.Run("every image is in a private ECR and is what the rules say", func(t *testing.T) {
		private := regexp.MustCompile(rewrite.ECRPattern)
		for name, p := range rewritten {
			sources := references(untouched[name])
			for field, got := range references(p) {
				source := sources[field]
				want := rules.Image(source).Target
				if strings.Contains(field, "/env/") {
					want = rules.EnvValue(source).Target
				}
				if got != want {
					t.Errorf("%s, %s: %q was rewritten to %q, want %q", name, field, source, got, want)
				}
				if !private.MatchString(got) && !(strings.Contains(field, "/env/") && !strings.Contains(got, "/")) {
					t.Errorf("%s, %s: %q is public", name, field, got)
				}
			}
		}
	})
	t.Run("the table of sources and targets is the known one", func(t *testing.T) {
		const file = "testdata/onboarding.tsv"
		var lines []string
		for name, p := range rewritten {
			sources := references(untouched[name])
			for field, got := range references(p) {
				lines = append(lines, strings.Join([]string{workload(name), field, sources[field], got}, "\t")+"\n")
			}
		}
		slices.Sort(lines)
		got := strings.Join(slices.Compact(lines), "")
		if golden.Update() {
			needs(t, imageVolumes)
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !hasFeature(t, imageVolumes) {
			want = regexp.MustCompile(`(?m)^\S+\tvolumes/.*\n`).ReplaceAll(want, nil)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s (-file +cluster; -update updates it):\n%s", file, d)
		}
	})
	t.Run("nothing else differs from a namespace without the webhook", func(t *testing.T) {
		stored := hasFeature(t, imageVolumes)
		for name, p := range rewritten {
			want := untouched[name]
			originals := map[string]string{}
			sources, targets := references(want), references(p)
			for field, source := range sources {
				if targets[field] != source && !strings.HasPrefix(field, "ephemeralContainers/") {
					originals[field] = source
				}
			}
			replace(want, targets)
			if d := cmp.Diff(want["spec"], p["spec"]); d != "" {
				t.Errorf("spec of %s (-without +with the webhook):\n%s", name, d)
			}
			metadata := p["metadata"].(map[string]any)
			annotations, _ := metadata["annotations"].(map[string]any)
			recorded := record(t, annotations)
			if !stored {
				maps.DeleteFunc(recorded, func(field, _ string) bool { return strings.HasPrefix(field, "volumes/") })
			}
			if d := cmp.Diff(originals, recorded); d != "" {
				t.Errorf("annotation %s of %s (-want +have):\n%s", podspec.OriginalImages, name, d)
			}
			if delete(annotations, podspec.OriginalImages); len(annotations) == 0 {
				delete(metadata, "annotations")
			}
			if d := cmp.Diff(want["metadata"], p["metadata"]); d != "" {
				t.Errorf("metadata of %s (-without +with the webhook):\n%s", name, d)
			}
		}
	})
	t.Run("fields that many a webhook's types do not know survive", func(t *testing.T) {
		spec := rewritten["castai-new-fields"]["spec"].(map[string]any)
		container := spec["containers"].([]any)[0].(map[string]any)
		for name, field := range map[string]struct {
			value any
			since feature
		}{
			"hostnameOverride":   {spec["hostnameOverride"], hostnameOverride},
			"resources":          {spec["resources"], podLevelResources},
			"restartPolicyRules": {container["restartPolicyRules"], restartRules},
		} {
			t.Run(name, func(t *testing.T) {
				needs(t, field.since)
				if field.value == nil {
					t.Error("the field was dropped")
				}
			})
		}
	})
	t.Run("nothing panicked, and the API server trusted every certificate", func(t *testing.T) {
		if d := cmp.Diff(before, troubles(t)); d != "" {
			t.Errorf("metrics (-before +after):\n%s", d)
		}
	})
	t.Run("another namespace is not touched", func(t *testing.T) {
		for name, p := range pods(t, plain) {
			annotations, _ := p["metadata"].(map[string]any)["annotations"].(map[string]any)
			if annotations[podspec.OriginalImages] != nil {
				t.Errorf("%s has the annotation", name)
			}
		}
		if got, err := try(testCtx, plain, public); got != public || err != nil {
			t.Errorf("image %q (%v), want %q", got, err, public)
		}
	})
}

// troubles are the metrics of the webhook's pods that should never rise.
func troubles(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, p := range h.Kubelet.Pods() {
		for _, name := range []string{"privatelink_panics_total", "privatelink_tls_distrusted_total"} {
			out[p.Name+" "+name] = metric(t, p.Address, name)
		}
	}
	return out
}

// gone deletes namespaces and waits until they are.
func gone(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := h.Client.CoreV1().Namespaces().Delete(testCtx, n, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	for _, n := range names {
		eventually(t, 60*time.Second, func() error {
			_, err := h.Client.CoreV1().Namespaces().Get(testCtx, n, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("namespace %s still exists (%v)", n, err)
		})
	}
}
