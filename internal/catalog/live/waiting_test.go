// SPDX-License-Identifier: Apache-2.0

package live

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/castai/privatelink-webhook/internal/podspec"
)

func status(name, reason string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}
}

func TestImagesThatPodsWaitFor(t *testing.T) {
	pod := func(name string, statuses ...corev1.ContainerStatus) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: meta(name), Status: corev1.PodStatus{ContainerStatuses: statuses}, Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Name: "a", Image: ecr + "/agent:v1", Env: []corev1.EnvVar{{Name: "SCANNERS_IMAGE", Value: "quay.io/acme/scanner:1"}}}, {Name: "b", Image: ecr + "/quay.io/acme/b:1"},
		}}}
	}
	elsewhere := pod("elsewhere", status("a", "ImagePullBackOff"))
	elsewhere.Namespace = "default"
	initializing := pod("initializing")
	initializing.Spec.InitContainers = []corev1.Container{{Name: "i", Image: "docker.io/library/busybox:1"}}
	initializing.Status.InitContainerStatuses = []corev1.ContainerStatus{status("i", "ImagePullBackOff")}
	client := fake.NewClientset(
		pod("alias", status("a", "ImagePullBackOff"), status("b", "ContainerCreating")), pod("default-layout", status("b", "ImagePullBackOff")),
		pod("runs"), pod("crashes", status("a", "CrashLoopBackOff")), elsewhere, initializing)
	list := newList(t)
	pods, err := Waiting(t.Context(), client, list)
	if err != nil || pods != 3 {
		t.Fatal(pods, err)
	}
	want := map[string]string{
		"us-docker.pkg.dev/castai-hub/library/agent:v1": "pod castai-agent Pod alias",
		"quay.io/acme/b:1":            "pod castai-agent Pod default-layout",
		"docker.io/library/busybox:1": "pod castai-agent Pod initializing",
	}
	if d := cmp.Diff(want, origins(list)); d != "" {
		t.Error(d)
	}
}

func TestTheAnnotationNamesWhatAPodWaitsFor(t *testing.T) {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "p", Annotations: map[string]string{podspec.OriginalImages: `{"containers/b":"ghcr.io/castai/images/b:1"}`}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: ecr + "/a:1"}, {Name: "b", Image: ecr + "/b:1"}}},
		Status:     corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{status("b", "ErrImagePull")}},
	}
	list := newList(t)
	if _, err := Waiting(t.Context(), fake.NewClientset(p), list); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"ghcr.io/castai/images/b:1": "pod castai-agent Pod p"}, origins(list)); d != "" {
		t.Error(d)
	}
}

func TestReleasesAreReadWithTheirValues(t *testing.T) {
	secret := func(version, status, content string) *corev1.Secret {
		m := meta("sh.helm.release.v1.agent.v" + version)
		m.Labels = map[string]string{"owner": "helm", "name": "agent", "status": status, "version": version}
		return &corev1.Secret{ObjectMeta: m, Type: releaseType, Data: map[string][]byte{"release": pack([]byte(content))}}
	}
	of := func(version string) string {
		text, err := json.Marshal(map[string]any{"config": map[string]any{"a": version}, "chart": map[string]any{"metadata": map[string]any{"name": "castai-agent", "version": version}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	rules := newList(t).Rules()
	got, err := Releases(t.Context(), fake.NewClientset(secret("1", "deployed", of("1.0.0")), secret("2", "failed", of("2.0.0"))), rules)
	want := []Release{{Namespace: ns, Name: "agent", Chart: "castai-agent", Version: "1.0.0", Values: map[string]any{"a": "1.0.0"}}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(d, err)
	}
	if got, err := Releases(t.Context(), fake.NewClientset(secret("1", "pending-install", of("1.0.0"))), rules); err != nil || len(got) != 1 {
		t.Error(got, err)
	}
	if _, err := Releases(t.Context(), fake.NewClientset(secret("1", "deployed", `{}`)), rules); err == nil {
		t.Error("a release without a chart passed")
	}
}
