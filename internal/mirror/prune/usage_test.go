// SPDX-License-Identifier: Apache-2.0

package prune

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestEveryImageOfAPodIsAdded(t *testing.T) {
	container := func(image string) []corev1.Container { return []corev1.Container{{Image: image}} }
	status := func(id string) []corev1.ContainerStatus { return []corev1.ContainerStatus{{ImageID: id}} }
	d := "@" + id("x").String()
	u := usage{}
	pod := corev1.Pod{
		Spec: corev1.PodSpec{
			InitContainers: container("r/init:v1"), Containers: container("r/main"),
			EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Image: "r/debug:v1" + d}}},
			Volumes:             []corev1.Volume{{}, {VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "r/volume" + d}}}},
		},
		Status: corev1.PodStatus{InitContainerStatuses: status("r/init" + d), ContainerStatuses: status("r/main" + d), EphemeralContainerStatuses: status("r/debug" + d)},
	}
	if err := u.addObject(&pod, rules(t, prefix)); err != nil {
		t.Fatal(err)
	}
	want := []string{"r/debug:v1", "r/debug" + d, "r/init:v1", "r/init" + d, "r/main:latest", "r/main" + d, "r/volume" + d}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(u))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestContains(t *testing.T) {
	u := usage{}
	u.add("r/a:v1")
	u.add("r/b@" + id("b").String())
	u.protect("r/c")
	for name, tc := range map[string]struct {
		repository string
		candidate  candidate
		want       bool
	}{
		"by one of its tags":         {"r/a", candidate{Digest: id("a"), Tags: []string{"v2", "v1"}}, true},
		"by its digest":              {"r/b", candidate{Digest: id("b")}, true},
		"by its repository":          {"r/c", candidate{Digest: id("c")}, true},
		"another tag":                {"r/a", candidate{Digest: id("a"), Tags: []string{"v2"}}, false},
		"another digest":             {"r/b", candidate{Digest: id("a")}, false},
		"another repository":         {"r/d", candidate{Digest: id("b"), Tags: []string{"v1"}}, false},
		"the repository as a prefix": {"r/c/d", candidate{Digest: id("c")}, false},
	} {
		if got := u.contains(tc.repository, tc.candidate); got != tc.want {
			t.Errorf("%s: contains() = %v, want %v", name, got, tc.want)
		}
	}
}

func TestIsBelow(t *testing.T) {
	for image, want := range map[string]bool{prefix + "/agent:v1": true, prefix + "-other/agent:v1": false, "quay.io/agent:v1": false} {
		if got := (usage{image: true}).isBelow(prefix); got != want {
			t.Errorf("%s: %v, want %v", image, got, want)
		}
	}
}
