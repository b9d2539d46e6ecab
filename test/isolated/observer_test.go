// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// observer records every state of every pod of the namespace, and every event: an
// image that could not be pulled for a moment counts.
type observer struct {
	mu         sync.Mutex
	pods       map[types.UID]string // name by UID
	public     map[string]bool      // images that were persisted although they cannot be pulled
	pullErrors map[string]bool      // pulls that failed
	images     map[string]bool
}

// observe starts to watch. The observer survives restarts of the API server.
func observe(t *testing.T) *observer {
	t.Helper()
	o := &observer{pods: map[types.UID]string{}, public: map[string]bool{}, pullErrors: map[string]bool{}, images: map[string]bool{}}
	ctx, stop := context.WithCancel(testCtx)
	t.Cleanup(stop)
	factory := informers.NewSharedInformerFactoryWithOptions(n.Client, 0, informers.WithNamespace(agentNamespace))
	for _, i := range []cache.SharedIndexInformer{factory.Core().V1().Pods().Informer(), factory.Core().V1().Events().Informer()} {
		if _, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: o.see, UpdateFunc: func(_, object any) { o.see(object) },
		}); err != nil {
			t.Fatal(err)
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return o
}

func (o *observer) see(object any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch v := object.(type) {
	case *corev1.Pod:
		o.pods[v.UID] = v.Name
		for _, image := range imagesOf(v.Spec) {
			o.images[image] = true
			if !private(image) {
				o.public[v.Name+": "+image] = true
			}
		}
		for _, s := range statuses(*v) {
			if w := s.State.Waiting; w != nil && slices.Contains(pullFailures, w.Reason) {
				o.pullErrors[v.Name+"/"+s.Name+": "+w.Reason+": "+w.Message] = true
			}
		}
	case *corev1.Event:
		if strings.Contains(v.Message, "Failed to pull image") || strings.Contains(v.Message, "Back-off pulling image") || slices.Contains(pullFailures, v.Reason) {
			o.pullErrors[v.InvolvedObject.Name+": event "+v.Reason+": "+v.Message] = true
		}
	}
}

// pullFailures are the reasons for which a kubelet has no image.
var pullFailures = []string{"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}

// failed lists the pods with a pull that failed, and reports what failed.
func (o *observer) failed() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Sorted(maps.Keys(o.pullErrors))
}

// clean fails the test if an image was public, or a pull failed, at any moment.
func (o *observer) clean(t *testing.T) {
	t.Helper()
	for _, f := range o.failed() {
		t.Errorf("a pull failed: %s", f)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for p := range o.public {
		t.Errorf("a public image was persisted: %s", p)
	}
	if len(o.pods) == 0 {
		t.Error("the observer saw no pod")
	}
}

// had requires that pods had all these public images, from the private registry.
func (o *observer) had(t *testing.T, sources []string, prefix string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, source := range sources {
		if want := strings.Replace(n.Rules.Image(source).Target, Registry+"/", prefix+"/", 1); !o.images[want] {
			t.Errorf("no pod had the image %s", want)
		}
	}
}

func (o *observer) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return fmt.Sprintf("%d pods, %d images, %d times a public one, %d failed pulls", len(o.pods), len(o.images), len(o.public), len(o.pullErrors))
}

// private tests the ECR host in addition to the rules: a rule that does not
// rewrite a public image would be a fault here.
func private(image string) bool {
	return ecrHost.MatchString(image) && !n.Rules.Image(image).Changed()
}

var ecrHost = regexp.MustCompile(rewrite.ECRPattern)

func imagesOf(spec corev1.PodSpec) (images []string) {
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		images = append(images, c.Image)
	}
	for _, c := range spec.EphemeralContainers {
		images = append(images, c.Image)
	}
	for _, v := range spec.Volumes {
		if v.Image != nil {
			images = append(images, v.Image.Reference)
		}
	}
	return images
}

func statuses(p corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses)
}
