// SPDX-License-Identifier: Apache-2.0

package inside

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/probe"
	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

const (
	image     = dkrECR + "/castai/privatelink-webhook:v0.1.0"
	namespace = "castai-privatelink"
)

func TestJobManifest(t *testing.T) {
	got, err := yaml.Marshal(job("privatelink-probe-x", namespace, image, []probe.Target{at(apiECR), at(apiCAS)}, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "testdata/job.yaml", got)
}

func waiting(reason, message string) corev1.PodStatus {
	return corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{Name: container,
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}}
}

// runProbe runs the check on a cluster that calls then when the Job is created.
func runProbe(t *testing.T, then func(c *fake.Clientset, job *batchv1.Job) error) (doctor.Finding, *fake.Clientset) {
	t.Helper()
	client := fake.NewClientset()
	client.PrependReactor("create", "jobs", func(a kubetesting.Action) (bool, runtime.Object, error) {
		job := a.(kubetesting.CreateAction).GetObject().(*batchv1.Job)
		err := then(client, job)
		return err != nil, nil, err
	})
	j := NewJob(client, image, namespace)
	checks := Checks(Config{ECR: []probe.Target{at(apiECR)}, Probe: j.Run})
	f := checks[0].Run(t.Context())
	j.Close()
	return f, client
}

func podWith(c *fake.Clientset, job *batchv1.Job, s corev1.PodStatus) error {
	return c.Tracker().Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: job.Name + "-1", Namespace: job.Namespace, Labels: job.Spec.Template.Labels}, Status: s})
}

func TestJobErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		then         func(*fake.Clientset, *batchv1.Job) error
		want, remedy string
	}{
		"the image cannot be pulled": {func(c *fake.Clientset, j *batchv1.Job) error {
			return podWith(c, j, waiting("ImagePullBackOff", "no such manifest"))
		}, "ImagePullBackOff: no such manifest", "privatelink mirror"},
		"not allowed": {func(*fake.Clientset, *batchv1.Job) error {
			return apierrors.NewForbidden(schema.GroupResource{Group: "batch", Resource: "jobs"}, "x", errors.New("no"))
		}, "forbidden", "create and delete on jobs.batch"},
		"no namespace": {func(*fake.Clientset, *batchv1.Job) error {
			return apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, namespace)
		}, "not found", "install the webhook first"},
		"a policy refuses the pod": {func(c *fake.Clientset, j *batchv1.Job) error {
			return c.Tracker().Add(&corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: namespace}, InvolvedObject: corev1.ObjectReference{Name: j.Name},
				Reason: "FailedCreate", Message: "violates PodSecurity"})
		}, "cannot create its pod: violates PodSecurity", "policy, quota or webhook"},
		"the pod was evicted": {func(c *fake.Clientset, j *batchv1.Job) error {
			return podWith(c, j, corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "low on memory"})
		}, "Evicted: low on memory", "run it again"},
		"an image without the command": {func(c *fake.Clientset, j *batchv1.Job) error {
			return podWith(c, j, corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{Name: container,
				State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 2}}}}})
		}, "ended with 2", "same release of this command"},
		"a log without a report": {func(c *fake.Clientset, j *batchv1.Job) error {
			return podWith(c, j, corev1.PodStatus{Phase: corev1.PodSucceeded, ContainerStatuses: []corev1.ContainerStatus{{Name: container,
				State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}})
		}, "not a report", "same release of this command"},
	} {
		t.Run(name, func(t *testing.T) {
			f, client := runProbe(t, tc.then)
			if f.Status != doctor.Unknown || !strings.Contains(f.Found, tc.want) || !strings.Contains(f.Remedy, tc.remedy) {
				t.Errorf("%+v", f)
			}
			remaining, err := client.BatchV1().Jobs(namespace).List(t.Context(), metav1.ListOptions{})
			if err != nil || len(remaining.Items) != 0 {
				t.Errorf("%d Jobs remain, %v", len(remaining.Items), err)
			}
		})
	}
}

// Kubernetes must not end the Job while the check still waits for it.
func TestTheDeadlineOfTheJobIsAfterThatOfTheCheck(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"short": 8 * time.Second, "long": 5 * time.Minute, "none": 0} {
		t.Run(name, func(t *testing.T) {
			ctx, end := t.Context(), 2*time.Minute
			if timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, timeout)
				defer cancel()
				end = timeout
			}
			client := fake.NewClientset()
			var got time.Duration
			client.PrependReactor("create", "jobs", func(a kubetesting.Action) (bool, runtime.Object, error) {
				job := a.(kubetesting.CreateAction).GetObject().(*batchv1.Job)
				got = time.Duration(*job.Spec.ActiveDeadlineSeconds) * time.Second
				return true, nil, errors.New("seen")
			})
			_, _ = NewJob(client, image, namespace).Run(ctx, []probe.Target{at(apiECR)})
			if got < end+20*time.Second || got > end+30*time.Second {
				t.Errorf("%s for a check of %s", got, end)
			}
		})
	}
}

func TestAnInterruptDeletesTheJob(t *testing.T) {
	client := fake.NewClientset()
	ctx, cancel := context.WithCancel(t.Context())
	client.PrependReactor("create", "jobs", func(kubetesting.Action) (bool, runtime.Object, error) {
		cancel()
		return false, nil, nil
	})
	j := NewJob(client, image, namespace)
	if _, err := j.Run(ctx, []probe.Target{at(apiECR)}); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	remaining, err := client.BatchV1().Jobs(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(remaining.Items) != 0 {
		t.Errorf("%d Jobs remain, %v", len(remaining.Items), err)
	}
	deletes := 0
	for _, a := range client.Actions() {
		if d, ok := a.(kubetesting.DeleteActionImpl); ok {
			deletes++
			if p := d.DeleteOptions.PropagationPolicy; p == nil || *p != metav1.DeletePropagationBackground {
				t.Errorf("propagation %v: the pod would remain", p)
			}
		}
	}
	if deletes != 1 {
		t.Errorf("%d deletions", deletes)
	}
}
