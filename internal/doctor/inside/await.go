// SPDX-License-Identifier: Apache-2.0

package inside

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// watcher waits for a pod's container to end.
type watcher struct {
	namespace, image, name string
	pods, events           watch.Interface // events may be nil
	again                  func() (watch.Interface, error)
	last                   string // what the pod waits for
}

func (w *watcher) stop() {
	w.pods.Stop()
	if w.events != nil {
		w.events.Stop()
	}
}

// await returns the pod when its container ended, and a Trouble when that will
// not happen.
func (w *watcher) await(ctx context.Context) (*corev1.Pod, error) {
	w.last = "the Job has no pod"
	var events <-chan watch.Event
	if w.events != nil {
		events = w.events.ResultChan()
	}
	for {
		select {
		case <-ctx.Done():
			return nil, &Trouble{fmt.Errorf("no report of Job %s/%s: %s: %w", w.namespace, w.name, w.last, ctx.Err()),
				"give it longer with --timeout; if that does not help: kubectl -n " + w.namespace + " get events"}
		case e, open := <-events:
			if !open {
				events = nil // it is a hint only
				continue
			}
			if event, ok := e.Object.(*corev1.Event); ok && e.Type != watch.Deleted && event.InvolvedObject.Name == w.name && event.Reason == "FailedCreate" {
				return nil, &Trouble{fmt.Errorf("the Job cannot create its pod: %s", event.Message),
					"change the policy, quota or webhook that the message names: the pod meets Pod Security restricted and asks for 10m CPU and 32Mi"}
			}
		case e, open := <-w.pods.ResultChan():
			if !open || e.Type == watch.Error {
				w.pods.Stop()
				pods, err := w.again()
				if err != nil {
					return nil, &Trouble{fmt.Errorf("watch pods in namespace %s: %w", w.namespace, err), "run it again"}
				}
				w.pods = pods
				continue
			}
			pod, ok := e.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			if e.Type == watch.Deleted {
				return nil, &Trouble{fmt.Errorf("pod %s/%s was deleted before it reported: %s", w.namespace, pod.Name, w.last), "run it again; if that does not help: kubectl -n " + w.namespace + " get events"}
			}
			if ended(pod) != nil {
				return pod, nil
			}
			if err := w.stuck(pod); err != nil {
				return nil, err
			}
		}
	}
}

// ended is how the container ended, nil if it did not.
func ended(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	for _, s := range pod.Status.ContainerStatuses {
		if s.Name == container {
			return s.State.Terminated
		}
	}
	return nil
}

// stuck tells a pod that will not run, and remembers what others wait for.
func (w *watcher) stuck(pod *corev1.Pod) error {
	if pod.Status.Phase == corev1.PodFailed {
		return &Trouble{fmt.Errorf("pod %s/%s failed: %s: %s", w.namespace, pod.Name, pod.Status.Reason, pod.Status.Message), "run it again"}
	}
	w.last = "pod " + pod.Name + " is " + string(pod.Status.Phase)
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			w.last = "pod " + pod.Name + " has no node: " + c.Message // an autoscaler may make one
		}
	}
	for _, s := range pod.Status.ContainerStatuses {
		if s.Name != container || s.State.Waiting == nil {
			continue
		}
		wait := s.State.Waiting
		w.last = "pod " + pod.Name + " waits: " + wait.Reason
		err := fmt.Errorf("pod %s/%s: %s: %s", w.namespace, pod.Name, wait.Reason, wait.Message)
		switch {
		case slices.Contains([]string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}, wait.Reason):
			return &Trouble{err, "let the nodes pull " + w.image + ": it must be in the registry (privatelink mirror), and the node role allowed to read it"}
		case slices.Contains([]string{"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}, wait.Reason):
			return &Trouble{err, "kubectl -n " + w.namespace + " describe pod " + pod.Name}
		}
	}
	return nil
}
