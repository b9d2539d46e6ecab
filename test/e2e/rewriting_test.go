// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestADryRunShowsTheRewrite(t *testing.T) {
	shipped(t)
	namespace(t, Namespace)
	t.Parallel()
	got := kubectl(t, nil, "run", "dry", "--namespace="+Namespace, "--image="+public, "--dry-run=server", "-o", "jsonpath={.spec.containers[0].image}")
	if got != target {
		t.Errorf("image %q, want %q", got, target)
	}
	if _, err := h.Client.CoreV1().Pods(Namespace).Get(testCtx, "dry", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("error %v, want that there is no such pod", err)
	}
}

// The API server refuses a change of the containers that are there already.
func TestOnlyNewEphemeralContainersAreRewritten(t *testing.T) {
	shipped(t)
	namespace(t, Namespace)
	t.Parallel()
	create(t, Namespace, pod("debugged", target))
	for _, name := range []string{"first", "second"} {
		kubectl(t, nil, "debug", "pod/debugged", "--namespace="+Namespace, "--image=ghcr.io/castai/images/kubectl:"+name,
			"--container="+name, "--target=main", "--attach=false", "--quiet")
	}
	p, err := h.Client.CoreV1().Pods(Namespace).Get(testCtx, "debugged", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range p.Spec.EphemeralContainers {
		got = append(got, c.Image)
	}
	if want := ecr + "/kubectl:first " + ecr + "/kubectl:second"; strings.Join(got, " ") != want {
		t.Errorf("images %q, want %q", got, want)
	}
}

func TestAnImageThatCannotBeMappedIsLeftWithAWarning(t *testing.T) {
	shipped(t)
	namespace(t, Namespace)
	t.Parallel()
	const image = "Registry.Example.COM/team/app:v1"
	p := pod("left", image)
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "other", Image: public})
	create(t, Namespace, p)
	p, err := h.Client.CoreV1().Pods(Namespace).Get(testCtx, "left", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Spec.Containers[0].Image + " " + p.Spec.Containers[1].Image; got != image+" "+target {
		t.Errorf("images %q, want %q", got, image+" "+target)
	}
	_, err = h.Kubectl(testCtx, nil, "run", "warned", "--namespace="+Namespace, "--image="+image, "--dry-run=server", "--warnings-as-errors")
	if err == nil || !strings.Contains(err.Error(), "privatelink: 1 not rewritten") {
		t.Errorf("kubectl: error %v, want a warning", err)
	}
}
