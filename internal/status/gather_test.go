// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// deployment mounts a Secret and the ConfigMaps.
func deployment(configMaps ...string) *appsv1.Deployment {
	volumes := []corev1.Volume{{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}}}
	for _, name := range configMaps {
		source := corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}
		volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{ConfigMap: &source}})
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: deploy.Namespace, Name: deploy.Name},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "w"}}, Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Volumes: volumes}}},
	}
}

func configMap(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: deploy.Namespace, Name: name}, Data: data}
}

func TestTheConfigMapIsFoundByItsKey(t *testing.T) {
	const hash = "44f0bbe888ba" // of the text, as sha256sum prints it
	config := configMap("config", map[string]string{deploy.ConfigKey: "registry: x\n"})
	for name, tc := range map[string]struct {
		objects    []runtime.Object
		hash, fail string
	}{
		"next to others":    {[]runtime.Object{deployment("other", "config"), configMap("other", nil), config}, hash, ""},
		"without the key":   {[]runtime.Object{deployment("other"), configMap("other", nil)}, "", "mounts none with the key " + deploy.ConfigKey},
		"no ConfigMap":      {[]runtime.Object{deployment()}, "", "mounts none with the key " + deploy.ConfigKey},
		"it does not exist": {[]runtime.Object{deployment("config")}, "", `configmaps "config" not found`},
	} {
		t.Run(name, func(t *testing.T) {
			var s Status
			if err := s.gatherReplicas(t.Context(), fake.NewClientset(tc.objects...)); err != nil {
				t.Fatal(err)
			}
			if s.Wanted != 1 || s.ConfigHash != tc.hash || !strings.Contains(s.ConfigError, tc.fail) || (tc.fail == "") != (s.ConfigError == "") {
				t.Errorf("%+v, want hash %q, error %q", s, tc.hash, tc.fail)
			}
		})
	}
}

func TestReplicasThatCannotBeListedAreAnError(t *testing.T) {
	forbidden := fake.NewClientset(deployment())
	forbidden.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil)
	})
	for want, client := range map[string]*fake.Clientset{
		"get the webhook's Deployment: ": fake.NewClientset(),
		"list the webhook's pods: ":      forbidden,
	} {
		if err := new(Status).gatherReplicas(t.Context(), client); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestTheRegistryIsComparedWithTheLock(t *testing.T) {
	digest := func(digit string) string { return "sha256:" + strings.Repeat(digit, 64) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/v2/"):
			return
		case strings.Contains(r.URL.Path, "/missing/"):
			http.NotFound(w, r)
		case strings.Contains(r.URL.Path, "/failed/"):
			http.Error(w, "", http.StatusBadRequest)
		default:
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.Header().Set("Content-Length", "1")
			w.Header().Set("Docker-Content-Digest", digest("1"))
		}
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	write := func(names ...string) (file string) {
		var text strings.Builder
		text.WriteString("apiVersion: privatelink.cast.ai/v1alpha1\nkind: Lock\nregistry: " + host + "/castai\nimages:\n")
		for _, name := range names {
			expected := digest("1")
			if name == "differs" {
				expected = digest("0")
			}
			text.WriteString(fmt.Sprintf("- {source: 'ghcr.io/%s:1', target: '%s/castai/%s:1', mediaType: m, size: 1, digest: '%s'}\n", name, host, name, expected))
		}
		if slices.Contains(names, "missing") {
			text.WriteString("notCopied:\n- {source: X Y}\n")
		}
		file = filepath.Join(dir, "lock.yaml")
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	var s Status
	if err := s.gatherRegistry(t.Context(), Options{LockFile: write("differs", "failed", "missing", "present")}, newResolver(t.Context(), Options{}, 0)); err != nil {
		t.Fatal(err)
	}
	if s.Registry.Images != 5 || len(s.Registry.Failed) != 1 {
		t.Fatalf("%+v", s.Registry)
	}
	want := "2 of 5 images missing: " + host + "/castai/missing:1, X Y; 1 with another digest; 1 unknown"
	if diff := cmp.Diff(want, s.Registry.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if err := s.gatherRegistry(t.Context(), Options{LockFile: write("failed")}, newResolver(t.Context(), Options{}, 0)); err != nil {
		t.Fatal(err)
	}
	if len(s.Registry.Failed) != 1 || s.Registry.String() != "not checked: all requests failed" {
		t.Errorf("%+v", s.Registry)
	}
}

// The command copies exactly what is listed here.
func TestPodsThatWaitForImages(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/missing/") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Content-Length", "1")
		w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("1", 64))
	}))
	t.Cleanup(server.Close)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	registry := strings.TrimPrefix(server.URL, "http://") + "/castai"
	pod := func(name, image string) *corev1.Pod {
		waiting := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "castai-agent", Name: name},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}},
			Status:     corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: waiting}}},
		}
	}
	pods := []runtime.Object{pod("a", registry+"/ghcr.io/acme/missing:1"), pod("b", registry+"/ghcr.io/acme/missing:1"), pod("c", registry+"/ghcr.io/acme/present:1")}
	forbidden := fake.NewClientset()
	forbidden.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil)
	})
	rules, err := rewrite.Load("privatelink.yaml", []byte("registry: "+registry+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	missing, present := registry+"/ghcr.io/acme/missing:1", registry+"/ghcr.io/acme/present:1"
	for name, tc := range map[string]struct {
		client *fake.Clientset
		rules  *rewrite.Rules
		skip   bool
		want   Waiting
	}{
		"the registry lacks one":         {fake.NewClientset(pods...), rules, false, Waiting{Pods: 3, Images: []string{missing, present}, Missing: []string{missing}}},
		"the registry is not asked":      {fake.NewClientset(pods...), rules, true, Waiting{Pods: 3, Images: []string{missing, present}, Missing: []string{}}},
		"none waits":                     {fake.NewClientset(), rules, false, Waiting{Images: []string{}, Missing: []string{}}},
		"the pods cannot be listed":      {forbidden, rules, false, Waiting{NotListed: "forbidden", Images: []string{}, Missing: []string{}}},
		"the configuration is not known": {fake.NewClientset(pods...), nil, false, Waiting{NotListed: "cannot be read", Images: []string{}, Missing: []string{}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := Status{installed: tc.rules}
			if err := s.gatherWaiting(t.Context(), tc.client, Options{SkipRegistry: tc.skip}, newResolver(t.Context(), Options{}, 0)); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(s.Waiting.NotListed, tc.want.NotListed) || (tc.want.NotListed == "") != (s.Waiting.NotListed == "") {
				t.Errorf("%q, want %q", s.Waiting.NotListed, tc.want.NotListed)
			}
			s.Waiting.NotListed = tc.want.NotListed
			if d := cmp.Diff(tc.want, s.Waiting); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}
