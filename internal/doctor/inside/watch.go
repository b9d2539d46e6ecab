// SPDX-License-Identifier: Apache-2.0

package inside

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// watcher waits until the container of a Job's pod has terminated.
type watcher struct {
	namespace, image, name string
	pods                   watch.Interface
	events                 watch.Interface // nil if events cannot be read
	eventsErr              error           // why
	watchPods              func() (watch.Interface, error)
	state                  string // of the pod, for errors
}

func (w *watcher) stop() {
	w.pods.Stop()
	if w.events != nil {
		w.events.Stop()
	}
}

// wait returns the pod with the terminated container, or a *doctor.Error if it will
// not run.
func (w *watcher) wait(ctx context.Context) (*corev1.Pod, error) {
	w.state = "the Job has no pod"
	if w.eventsErr != nil {
		w.state += fmt.Sprintf(", and its events cannot be read: %v", w.eventsErr)
	}
	var events <-chan watch.Event
	if w.events != nil {
		events = w.events.ResultChan()
	}
	for {
		select {
		case <-ctx.Done():
			return nil, doctor.NewError(fmt.Errorf("no report of Job %s/%s: %s: %w", w.namespace, w.name, w.state, ctx.Err()),
				"increase --timeout; if that does not help: kubectl -n "+w.namespace+" get events")
		case e, open := <-events:
			if !open {
				events = nil // a nil channel blocks; the pods are still watched
				continue
			}
			if err := w.creationRefused(e); err != nil {
				return nil, err
			}
		case e, open := <-w.pods.ResultChan():
			if !open || e.Type == watch.Error {
				w.pods.Stop()
				pods, err := w.watchPods()
				if err != nil {
					return nil, doctor.NewError(fmt.Errorf("watch pods in namespace %s: %w", w.namespace, err), "run it again")
				}
				w.pods = pods
				continue
			}
			pod, ok := e.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			if e.Type == watch.Deleted {
				return nil, doctor.NewError(fmt.Errorf("pod %s/%s was deleted before it reported: %s", w.namespace, pod.Name, w.state), "run it again; if that does not help: kubectl -n "+w.namespace+" get events")
			}
			if terminated(pod) != nil {
				return pod, nil
			}
			if err := w.updateState(pod); err != nil {
				return nil, err
			}
		}
	}
}

// creationRefused returns an error if an event reports that the pod was not
// created.
func (w *watcher) creationRefused(e watch.Event) error {
	event, ok := e.Object.(*corev1.Event)
	if !ok || e.Type == watch.Deleted || event.InvolvedObject.Name != w.name || event.Reason != "FailedCreate" {
		return nil
	}
	return doctor.NewError(fmt.Errorf("the Job cannot create its pod: %s", event.Message),
		"change the policy, quota or webhook in the message: the pod complies with Pod Security restricted and requests 10m CPU and 32Mi")
}

// terminated returns the final state of the container, or nil.
func terminated(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	for _, s := range pod.Status.ContainerStatuses {
		if s.Name == container {
			return s.State.Terminated
		}
	}
	return nil
}

// updateState records the state of a pod, and returns an error if it will not
// run. A pod without a node may run: an autoscaler can add one.
func (w *watcher) updateState(pod *corev1.Pod) error {
	if pod.Status.Phase == corev1.PodFailed {
		return doctor.NewError(fmt.Errorf("pod %s/%s failed: %s: %s", w.namespace, pod.Name, pod.Status.Reason, pod.Status.Message), "run it again")
	}
	w.state = "pod " + pod.Name + " is " + string(pod.Status.Phase)
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			w.state = "pod " + pod.Name + " has no node: " + c.Message
		}
	}
	for _, s := range pod.Status.ContainerStatuses {
		if s.Name != container || s.State.Waiting == nil {
			continue
		}
		waiting := s.State.Waiting
		w.state = "pod " + pod.Name + " is waiting: " + waiting.Reason
		err := fmt.Errorf("pod %s/%s: %s: %s", w.namespace, pod.Name, waiting.Reason, waiting.Message)
		switch {
		case slices.Contains([]string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}, waiting.Reason):
			return doctor.NewError(err, "make "+w.image+" available to the nodes: it must be in the registry (privatelink mirror), and the node role must be allowed to read it")
		case waiting.Reason == "CrashLoopBackOff":
			return doctor.NewError(err, "see why it ends: kubectl -n "+w.namespace+" logs --previous "+pod.Name+"; use the same release of this command and of the webhook's image, "+w.image)
		case slices.Contains([]string{"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}, waiting.Reason):
			return doctor.NewError(err, "kubectl -n "+w.namespace+" describe pod "+pod.Name)
		}
	}
	return nil
}
