// SPDX-License-Identifier: Apache-2.0

package inside

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/probe"
)

// Job probes from a pod: it runs a short Job of the webhook's own image and
// deletes it. No other check creates an object.
type Job struct {
	client           kubernetes.Interface
	image, namespace string
	running          sync.WaitGroup
}

// NewJob returns a Job of an image that the nodes can pull. It is created by Run.
func NewJob(client kubernetes.Interface, image, namespace string) *Job {
	return &Job{client: client, image: image, namespace: namespace}
}

// Close waits until the Job is deleted. A caller that does not wait for Run, for
// instance because of a deadline, must call it before the program ends.
func (j *Job) Close() { j.running.Wait() }

// cleanupTime is the part of a deadline that is reserved for deleting the Job, and
// lateness what Kubernetes waits longer than this program before it ends the Job.
const (
	cleanupTime = 2 * time.Second
	lateness    = 30 * time.Second
)

// Run creates the Job, waits for its report, and deletes it, also when the
// context ends. Without a deadline it waits for two minutes.
func (j *Job) Run(ctx context.Context, targets []probe.Target) (results []probe.Result, err error) {
	j.running.Add(1)
	defer j.running.Done()
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(2 * time.Minute)
	}
	waitCtx, cancel := context.WithDeadline(ctx, end.Add(-cleanupTime))
	defer cancel()
	// With a name of its own, the Job can be deleted even if the response to its
	// creation is lost.
	name := "privatelink-probe-" + rand.String(8)
	w, err := j.watch(waitCtx, name)
	if err != nil {
		return nil, j.apiError("watch pods", err)
	}
	defer w.stop()
	defer func() {
		if deleteErr := j.delete(ctx, name); deleteErr != nil {
			results, err = nil, errors.Join(err, deleteErr)
		}
	}()
	if _, err := j.client.BatchV1().Jobs(j.namespace).Create(waitCtx, job(name, j.namespace, j.image, targets, time.Until(end)+lateness), metav1.CreateOptions{}); err != nil {
		return nil, j.apiError("create the Job", err)
	}
	pod, err := w.wait(waitCtx)
	if err != nil {
		return nil, err
	}
	return j.readReport(waitCtx, pod)
}

// delete deletes the Job and its pod. If that fails, the Job's deadline and TTL
// remove it one and a half minutes after the time-out of the check.
func (j *Job) delete(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := j.client.BatchV1().Jobs(j.namespace).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)})
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return j.apiError("delete the Job "+name, err)
}

// readReport reads the report from the log of the pod.
func (j *Job) readReport(ctx context.Context, pod *corev1.Pod) ([]probe.Result, error) {
	log, err := j.client.CoreV1().Pods(j.namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container, LimitBytes: new(int64(4 << 20))}).DoRaw(ctx)
	if err != nil {
		return nil, j.apiError("read the log of pod "+pod.Name, err)
	}
	const remedy = "use the same release of this command and of the webhook's image"
	if code := terminated(pod).ExitCode; code != 0 {
		return nil, doctor.NewError(fmt.Errorf("pod %s/%s ended with %d: %s", j.namespace, pod.Name, code, tail(log)),
			remedy+": "+j.image+" may not have the command probe")
	}
	results, err := probe.Decode(log)
	if err != nil {
		return nil, doctor.NewError(fmt.Errorf("pod %s/%s: %w: %s", j.namespace, pod.Name, err, tail(log)), remedy+", "+j.image)
	}
	return results, nil
}

// tail returns the end of a log, at most 300 bytes.
func tail(log []byte) string {
	s := strings.TrimSpace(string(log))
	return s[max(0, len(s)-300):]
}

// apiError adds the operation and a remedy to an error of the API server.
func (j *Job) apiError(operation string, err error) error {
	e := &doctor.Error{Err: fmt.Errorf("%s in namespace %s: %w", operation, j.namespace, err)}
	switch {
	case apierrors.IsForbidden(err):
		e.Remedy = fmt.Sprintf("request create and delete on jobs.batch, get and watch on pods and get on pods/log in namespace %s, or use --inside on a machine in the VPC", j.namespace)
	case apierrors.IsNotFound(err):
		e.Remedy = "install the webhook first: its namespace " + j.namespace + " must exist"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		e.Remedy = "increase --timeout"
	default:
		e.Remedy = "correct the error of the API server, or use --inside on a machine in the VPC"
	}
	return e
}

// watch starts the watches before the Job exists, so that no event is missed.
func (j *Job) watch(ctx context.Context, name string) (*watcher, error) {
	watchPods := func() (watch.Interface, error) {
		return j.client.CoreV1().Pods(j.namespace).Watch(ctx, metav1.ListOptions{LabelSelector: label + "=" + name})
	}
	pods, err := watchPods()
	if err != nil {
		return nil, err
	}
	w := &watcher{namespace: j.namespace, image: j.image, name: name, pods: pods, watchPods: watchPods}
	// Events give the reason if there is no pod. Without permission to read them,
	// the deadline ends the wait.
	var events watch.Interface
	if events, w.eventsErr = j.client.CoreV1().Events(j.namespace).Watch(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name}); w.eventsErr == nil {
		w.events = events
	}
	return w, nil
}
