// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/podspec"
)

const (
	oldImage  = "quay.io/acme/old:1"
	nextImage = "quay.io/acme/main:2"

	// settleTime is longer than the kubelet takes to restart a container whose image
	// was changed.
	settleTime = 5 * time.Second

	updatedPod = `
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: ` + agentNamespace + `}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: init, image: "quay.io/acme/init:1"}
  containers:
  - name: main
    image: quay.io/acme/main:1
    env: [{name: SCANNERS_IMAGE, value: "ghcr.io/castai/kvisor/kvisor-scanners:1"}]
    volumeMounts: [{name: data, mountPath: /data, readOnly: true}]
  volumes:
  - {name: data, image: {reference: "quay.io/acme/data:1"}}
`
)

// updateBarePods updates pods that no controller owns: one that was made by the
// bundle's rules, and one that is older than the engine, whose image the node cannot
// pull. The kubelet restarts a container as soon as the image in its pod is another one.
func updateBarePods(options ...string) func(*testing.T) {
	return func(t *testing.T) {
		if err := n.Publish(testCtx, updatedPod, "kind: Pod\nspec: {containers: [{image: "+nextImage+"}]}"); err != nil {
			t.Fatal(err)
		}
		manifests := privatelink(t, append([]string{"install", "--registry", Registry}, options...)...)
		old := createWithoutEngine(t, manifests)

		kubectl(t, updatedPod, "apply", "-f", "-")
		bare := running(t, "bare", n.Rules.Image("quay.io/acme/main:1").Target, 0)
		t.Cleanup(func() { kubectl(t, "", "delete", "pod", "bare", "old", "--namespace", agentNamespace, "--now") })
		kubectl(t, updatedPod, "apply", "-f", "-")
		kubectl(t, updatedPod, "apply", "-f", "-")
		for _, change := range [][]string{{"label", "team=x"}, {"annotate", "note=y"}, {"label", "team-"}} {
			for _, name := range []string{"bare", "old"} {
				kubectl(t, "", change[0], "pod", name, change[1], "--namespace", agentNamespace)
			}
		}
		time.Sleep(settleTime)
		for _, before := range []containerState{bare, old} {
			if after := stateOf(t, before.pod); after != before {
				t.Errorf("after updates that set no image: %+v, was %+v", after, before)
			}
		}
		if p := get(t, "old"); p.Annotations[podspec.OriginalImages] != "" {
			t.Errorf("the pod that is older than the engine has the annotations %v", p.Annotations)
		}

		kubectl(t, "", "set", "image", "pod/bare", "main="+nextImage, "--namespace", agentNamespace)
		target := n.Rules.Image(nextImage).Target
		if after := running(t, "bare", target, 1); after.id == bare.id {
			t.Errorf("after `kubectl set image`: %+v, was %+v", after, bare)
		}
		if !pulled(n.ECR.Log(), target) {
			t.Errorf("the registry was never asked for %s", target)
		}
	}
}

// createWithoutEngine removes the object that makes the API server rewrite, creates the
// pod "old", and installs the manifests again.
func createWithoutEngine(t *testing.T, manifests string) containerState {
	t.Helper()
	p := pod("old", oldImage)
	p.Spec.SchedulerName = ""
	rewrites := func(want bool) {
		t.Helper()
		eventually(t, 60*time.Second, func(ctx context.Context) error { // the API server reads policies for itself, and a new CA is published
			dry, err := n.Client.CoreV1().Pods(agentNamespace).Create(ctx, pod("dry-run", oldImage), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if err == nil && private(dry.Spec.Containers[0].Image) != want {
				err = fmt.Errorf("a pod gets %s", dry.Spec.Containers[0].Image)
			}
			return err
		})
	}
	kubectl(t, "", "delete", "mutatingwebhookconfigurations,mutatingadmissionpolicybindings", "--all")
	rewrites(false)
	if _, err := n.Client.CoreV1().Pods(agentNamespace).Create(testCtx, p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	kubectl(t, manifests, "apply", "-f", "-")
	rewrites(true)
	eventually(t, 60*time.Second, func(context.Context) error {
		if p := get(t, "old"); !stuck(*p) {
			return fmt.Errorf("it is not stuck: %+v", p.Status)
		}
		return nil
	})
	return stateOf(t, "old")
}

// containerState is what changes when a container is restarted.
type containerState struct {
	pod, image, id string
	restarts       int32
}

// running waits until the container of a pod has the image, was restarted so often and
// runs.
func running(t *testing.T, name, image string, restarts int32) (s containerState) {
	t.Helper()
	eventually(t, 60*time.Second, func(context.Context) error {
		p := get(t, name)
		if len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].State.Running == nil {
			return fmt.Errorf("%s does not run: %+v", name, p.Status)
		}
		if s = stateOf(t, name); s.image != image || s.restarts != restarts {
			return fmt.Errorf("%+v, want %s and %d restarts", s, image, restarts)
		}
		return nil
	})
	return s
}

func stateOf(t *testing.T, name string) containerState {
	t.Helper()
	p := get(t, name)
	c := p.Status.ContainerStatuses[0]
	return containerState{pod: name, image: p.Spec.Containers[0].Image, id: c.ContainerID, restarts: c.RestartCount}
}

func get(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	p, err := n.Client.CoreV1().Pods(agentNamespace).Get(testCtx, name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
