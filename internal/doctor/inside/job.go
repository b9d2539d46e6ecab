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

	"github.com/castai/privatelink-webhook/internal/doctor/probe"
)

// Job looks from a pod: a short Job of the webhook's own image, which is deleted
// afterwards. It is the only thing that a doctor ever creates, and only when
// asked to.
type Job struct {
	client           kubernetes.Interface
	image, namespace string
	running          sync.WaitGroup
}

// ByJob returns a Job of an image that the nodes can pull, in the webhook's
// namespace. Nothing happens before Look.
func ByJob(client kubernetes.Interface, image, namespace string) *Job {
	return &Job{client: client, image: image, namespace: namespace}
}

// Close waits until the Job is deleted. Whoever stops waiting for Look, for
// instance at a deadline, calls it before the program ends.
func (j *Job) Close() { j.running.Wait() }

// cleanup is what is left of a deadline for deleting the Job.
const cleanup = 2 * time.Second

// Look creates the Job, waits for its report, and deletes it, also when the
// context ends. Without a deadline it waits two minutes.
func (j *Job) Look(ctx context.Context, targets []probe.Target) ([]probe.Result, error) {
	j.running.Add(1)
	defer j.running.Done()
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(2 * time.Minute)
	}
	waiting, cancel := context.WithDeadline(ctx, end.Add(-cleanup))
	defer cancel()
	// A name of our own, so that the Job can be deleted even if the answer to its
	// creation got lost.
	name := "privatelink-probe-" + rand.String(8)
	w, err := j.watch(waiting, name)
	if err != nil {
		return nil, j.trouble("watch pods", err)
	}
	defer w.stop()
	defer j.delete(ctx, name)
	if _, err := j.client.BatchV1().Jobs(j.namespace).Create(waiting, job(name, j.namespace, j.image, targets), metav1.CreateOptions{}); err != nil {
		return nil, j.trouble("create the Job", err)
	}
	pod, err := w.await(waiting)
	if err != nil {
		return nil, err
	}
	return j.report(waiting, pod)
}

// delete deletes the Job and its pod. Should it fail, the Job's own limits end
// it a minute later.
func (j *Job) delete(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = j.client.BatchV1().Jobs(j.namespace).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)})
}

// report reads what the pod printed.
func (j *Job) report(ctx context.Context, pod *corev1.Pod) ([]probe.Result, error) {
	log, err := j.client.CoreV1().Pods(j.namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container, LimitBytes: new(int64(4 << 20))}).DoRaw(ctx)
	if err != nil {
		return nil, j.trouble("read the log of pod "+pod.Name, err)
	}
	if code := ended(pod).ExitCode; code != 0 {
		return nil, &Trouble{fmt.Errorf("pod %s/%s ended with %d: %s", j.namespace, pod.Name, code, tail(log)),
			"let the webhook's image be of the release of this command line: " + j.image + " may not know the command probe"}
	}
	results, err := probe.Decode(log)
	if err != nil {
		return nil, &Trouble{fmt.Errorf("pod %s/%s: %w: %s", j.namespace, pod.Name, err, tail(log)), "let the webhook's image be of the release of this command line: " + j.image}
	}
	return results, nil
}

func tail(log []byte) string {
	const most = 300
	s := strings.TrimSpace(string(log))
	return s[max(0, len(s)-most):]
}

// trouble explains an error of the API server.
func (j *Job) trouble(what string, err error) error {
	t := &Trouble{Err: fmt.Errorf("%s in namespace %s: %w", what, j.namespace, err)}
	switch {
	case apierrors.IsForbidden(err):
		t.Remedy = fmt.Sprintf("ask for create and delete on jobs.batch, get and watch on pods and get on pods/log in namespace %s, or use --inside on a machine in the VPC", j.namespace)
	case apierrors.IsNotFound(err):
		t.Remedy = "install the webhook first: its namespace " + j.namespace + " must exist"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		t.Remedy = "give it longer with --timeout"
	default:
		t.Remedy = "look at the API server's answer, or use --inside on a machine in the VPC"
	}
	return t
}

// watch begins to watch before the Job is there: nothing can be missed.
func (j *Job) watch(ctx context.Context, name string) (*watcher, error) {
	pods := func() (watch.Interface, error) {
		return j.client.CoreV1().Pods(j.namespace).Watch(ctx, metav1.ListOptions{LabelSelector: label + "=" + name})
	}
	w := &watcher{namespace: j.namespace, image: j.image, name: name, again: pods}
	var err error
	if w.pods, err = pods(); err != nil {
		return nil, err
	}
	// Events tell why there is no pod. Who may not read them waits in vain.
	if e, err := j.client.CoreV1().Events(j.namespace).Watch(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name}); err == nil {
		w.events = e
	}
	return w, nil
}
