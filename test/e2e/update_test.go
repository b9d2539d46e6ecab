// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/podspec"
)

// manifest is a bare pod with a public image in every field that an update of a pod may
// hold: containers, which it may change, and an image volume and a variable, which it
// may not.
const manifest = `
apiVersion: v1
kind: Pod
metadata: {name: bare}
spec:
  initContainers:
  - {name: init, image: "quay.io/acme/init:1"}
  containers:
  - name: main
    image: us-docker.pkg.dev/castai-hub/library/agent:v0.161.1
    env: [{name: SCANNERS_IMAGE, value: "ghcr.io/castai/kvisor/kvisor-scanners:1"}]
  volumes:
  - {name: data, image: {reference: "quay.io/acme/data:1"}}
`

// Each engine rewrites in a namespace of its own. In both there is a pod that is older
// than the engine.
func TestUpdatesOfPods(t *testing.T) {
	shipped(t)
	needs(t, imageVolumes)
	t.Run("webhook", func(t *testing.T) {
		namespace(t, Namespace)
		kubectl(t, nil, "delete", "mutatingwebhookconfiguration", deploy.ConfigurationName)
		create(t, Namespace, pod("old", public))
		kubectl(t, nil, "apply", "-k", tree(t))
		eventually(t, 10*time.Second, rewritten)
		updatesOfPods(t, Namespace)
	})
	t.Run("policy", func(t *testing.T) {
		needs(t, mutatingPolicies)
		namespace(t, policyNamespace)
		create(t, policyNamespace, pod("old", public))
		policyInstalled(t)
		updatesOfPods(t, policyNamespace)
	})
}

func updatesOfPods(t *testing.T, namespace string) {
	in := func(args ...string) []string { return append([]string{"--namespace=" + namespace}, args...) }
	jsonpath := func(path string) string {
		return kubectl(t, nil, in("get", "pod", "bare", "-o", "jsonpath="+path)...)
	}
	stored := func() string {
		return jsonpath("{.spec.initContainers[0].image} {.spec.containers[0].image} {.spec.containers[0].env[0].value} {.spec.volumes[0].image.reference}")
	}
	const want = ecr + "/quay.io/acme/init:1 " + target + " " + ecr + "/ghcr.io/castai/kvisor/kvisor-scanners:1 " + ecr + "/quay.io/acme/data:1"

	t.Run("a manifest that is applied twice changes nothing", func(t *testing.T) {
		kubectl(t, []byte(manifest), in("apply", "-f", "-")...)
		t.Cleanup(func() { kubectl(t, nil, in("delete", "pod", "bare", "--now", "--ignore-not-found")...) })
		if got := stored(); got != want {
			t.Fatalf("created with %s, want %s", got, want)
		}
		spec, originals := jsonpath("{.spec}"), jsonpath("{.metadata.annotations."+strings.ReplaceAll(podspec.OriginalImages, ".", "\\.")+"}")
		for range 2 {
			kubectl(t, []byte(manifest), in("apply", "-f", "-")...)
			if got := jsonpath("{.spec}"); got != spec {
				t.Errorf("the spec is now %s, was %s", got, spec)
			}
			if got := jsonpath("{.metadata.annotations." + strings.ReplaceAll(podspec.OriginalImages, ".", "\\.") + "}"); got != originals {
				t.Errorf("the annotation is now %s, was %s", got, originals)
			}
		}
		if out := kubectl(t, []byte(manifest), in("apply", "--server-side", "--force-conflicts", "-f", "-")...); stored() != want {
			t.Errorf("after a server-side apply, %s: %s", out, stored())
		}
	})
	t.Run("kubectl set image is rewritten", func(t *testing.T) {
		kubectl(t, []byte(manifest), in("apply", "-f", "-")...)
		kubectl(t, nil, in("set", "image", "pod/bare", "main=quay.io/acme/main:2")...)
		if got := jsonpath("{.spec.containers[0].image}"); got != ecr+"/quay.io/acme/main:2" {
			t.Errorf("the image is %s", got)
		}
		kubectl(t, nil, in("set", "image", "pod/bare", "main="+target)...)
		if got := jsonpath("{.spec.containers[0].image}"); got != target {
			t.Errorf("a private image became %s", got)
		}
	})
	t.Run("a pod of the time before is not touched", func(t *testing.T) {
		for _, args := range [][]string{
			{"label", "pod", "old", "team=x"}, {"annotate", "pod", "old", "note=y"}, {"label", "pod", "old", "team-"},
		} {
			kubectl(t, nil, in(args...)...)
		}
		p, err := h.Client.CoreV1().Pods(namespace).Get(testCtx, "old", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Spec.Containers[0].Image; got != public || p.Annotations[podspec.OriginalImages] != "" {
			t.Errorf("the image is %s, annotations %v", got, p.Annotations)
		}
		// Another image is a change by the user, and goes to the private registry.
		if _, err := h.Client.CoreV1().Pods(namespace).Patch(testCtx, "old", types.StrategicMergePatchType, []byte(`{"spec":{"containers":[{"name":"main","image":"quay.io/acme/main:3"}]}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := kubectl(t, nil, in("get", "pod", "old", "-o", "jsonpath={.spec.containers[0].image}")...); got != ecr+"/quay.io/acme/main:3" {
			t.Errorf("after an update of its image it is %s", got)
		}
	})
}
