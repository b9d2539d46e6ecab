// SPDX-License-Identifier: Apache-2.0

package lockstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
)

const host = "registry.example.com/castai"

func lockOf(names ...string) *lock.Lock {
	l := &lock.Lock{Registry: host}
	for _, n := range names {
		l.Images = append(l.Images, lock.Entry{Source: "quay.io/acme/" + n + ":1", Target: host + "/" + n + ":1", Digest: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", MediaType: "m"})
	}
	return l
}

func names(t *testing.T, s Store) string {
	t.Helper()
	l, err := s.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range l.Images {
		all = append(all, strings.TrimSuffix(strings.TrimPrefix(e.Target, host+"/"), ":1"))
	}
	return strings.Join(all, " ")
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"privatelink.lock.yaml": "lockstore.File", "configmap://ns/name": "*lockstore.configMap", "s3://bucket/a/key.yaml": "*lockstore.object",
		"configmap://name": "configmap://NAMESPACE/NAME", "configmap://ns/a/b": "configmap://NAMESPACE/NAME", "s3://bucket": "s3://BUCKET/KEY", "s3:///key": "s3://BUCKET/KEY", "gs://a/b": "in a file",
	} {
		s, err := Open(name, Options{})
		if err != nil && !strings.Contains(err.Error(), want) || err == nil && (fmt.Sprintf("%T", s) != want || s.String() != name) {
			t.Errorf("%s: %T, %v; want %s", name, s, err, want)
		}
	}
}

func TestAFileIsReplaced(t *testing.T) {
	s := File(filepath.Join(t.TempDir(), "lock.yaml"))
	if _, err := s.Read(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, name := range []string{"a", "b"} {
		if err := errors.Join(s.CheckWritable(t.Context()), s.Write(t.Context(), lockOf(name))); err != nil || names(t, s) != name {
			t.Error(err)
		}
	}
}

// versioned is a cluster in which an update of an old version is a conflict, as in a real
// one.
func versioned(objects ...runtime.Object) *fake.Clientset {
	client := fake.NewClientset(objects...)
	var mu sync.Mutex
	version := 1
	client.PrependReactor("update", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		u := a.(clienttesting.UpdateActionImpl)
		c := u.GetObject().(*corev1.ConfigMap)
		if len(u.UpdateOptions.DryRun) > 0 {
			return true, c, nil
		}
		if c.ResourceVersion != fmt.Sprint(version) && c.ResourceVersion != "" {
			return true, nil, apierrors.NewConflict(corev1.Resource("configmaps"), c.Name, errors.New("it was modified"))
		}
		version++
		c.ResourceVersion = fmt.Sprint(version)
		return false, nil, nil
	})
	return client
}

func configMapIn(client kubernetes.Interface) *configMap {
	return &configMap{namespace: "ns", name: "lock", client: client}
}

func TestTwoRunsLoseNoImage(t *testing.T) {
	existing := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "lock", ResourceVersion: "1", Annotations: map[string]string{"a": "b"}}, Data: map[string]string{"other": "kept"}}
	for name, objects := range map[string][]runtime.Object{"a ConfigMap without a lock": {existing}, "no ConfigMap": nil} {
		t.Run(name, func(t *testing.T) {
			client := versioned(objects...)
			first, second := configMapIn(client), configMapIn(client)
			for _, s := range []Store{first, second} {
				if _, err := s.Read(t.Context()); !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
			}
			if err := errors.Join(first.Write(t.Context(), lockOf("a", "b")), second.Write(t.Context(), lockOf("b", "c"))); err != nil {
				t.Fatal(err)
			}
			if got := names(t, first); got != "a b c" {
				t.Error(got)
			}
			kept, err := client.CoreV1().ConfigMaps("ns").Get(t.Context(), "lock", metav1.GetOptions{})
			if err != nil || len(objects) > 0 && (kept.Annotations["a"] != "b" || kept.Data["other"] != "kept") {
				t.Error(kept, err)
			}
		})
	}
}

func TestAConfigMapThatWasDeletedIsCreatedAgain(t *testing.T) {
	client := versioned(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "lock", ResourceVersion: "1"}})
	s := configMapIn(client)
	if _, err := s.Read(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := client.CoreV1().ConfigMaps("ns").Delete(t.Context(), "lock", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), lockOf("a")); err != nil {
		t.Fatal(err)
	}
	if got := names(t, s); got != "a" {
		t.Error(got)
	}
}

func TestALockThatDoesNotFitLeavesTheOld(t *testing.T) {
	s := configMapIn(versioned())
	_, _ = s.Read(t.Context())
	if err := s.Write(t.Context(), lockOf("old")); err != nil {
		t.Fatal(err)
	}
	var many []string
	for i := range 6000 {
		many = append(many, fmt.Sprint("image-with-a-name-that-is-rather-long-", i))
	}
	if err := s.Write(t.Context(), lockOf(many...)); err == nil || !strings.Contains(err.Error(), "--lock s3://BUCKET/KEY; the old lock is unchanged") {
		t.Error(err)
	}
	if err := s.Write(t.Context(), lockOf()); err == nil {
		t.Error("an empty lock was written")
	}
	if got := names(t, s); got != "old" {
		t.Error(got)
	}
}

func TestALockOfAnotherRegistryIsNotMerged(t *testing.T) {
	client := versioned()
	first, second := configMapIn(client), configMapIn(client)
	for _, s := range []Store{first, second} {
		_, _ = s.Read(t.Context())
	}
	other := lockOf("a")
	other.Registry, other.Images[0].Target = "other.example.com", "other.example.com/a:1"
	if err := first.Write(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if err := second.Write(t.Context(), lockOf("a")); err == nil || !strings.Contains(err.Error(), "a place of its own for each registry") {
		t.Error(err)
	}
}

// endless is a store that another run replaces each time.
type endless struct{ Store }

func (endless) Read(context.Context) (*lock.Lock, error) { return lockOf("theirs"), nil }
func (endless) String() string                           { return "endless" }

func TestRunsThatNeverEndAreGivenUp(t *testing.T) {
	tries := 0
	err := write(t.Context(), endless{}, lockOf("ours"), func([]byte) error { tries++; return errChanged })
	if err == nil || tries != maxAttempts || !strings.Contains(err.Error(), "see which schedules write it") {
		t.Error(tries, err)
	}
}

func TestARunThatMayNotWriteFailsFirst(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("create", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("configmaps"), "lock", errors.New("no rights"))
	})
	if err := configMapIn(client).CheckWritable(t.Context()); !apierrors.IsForbidden(err) {
		t.Error(err)
	}
}
