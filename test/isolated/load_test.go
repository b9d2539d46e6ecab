// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// load creates pods with public images at a constant rate. They are stored and
// never scheduled, because admission is under test. Each creation is retried until
// it succeeds, as by a controller.
type load struct {
	name   string
	client kubernetes.Interface // of the API server that is to create them
	stop   func()
	begin  time.Time
	all    sync.WaitGroup

	mu                       sync.Mutex
	created, retried, failed int
	longest                  time.Duration // from the first try of a pod to its creation
	lastError                error         // of a try
}

// rate is the number of pods created in a second, retryTimeout the time after which
// a creation counts as failed. The longest fault takes most of a minute.
const (
	rate         = 25
	retryTimeout = 120 * time.Second
)

// loadImages has each spelling of a source, and one private image.
var loadImages = []string{
	"us-docker.pkg.dev/castai-hub/library/agent:v0.161.1",
	"ghcr.io/castai/images/evictor:v0.35.143",
	"docker.io/rancher/kubectl:v1.35.6",
	"castai/hibernate:v0.14",
	Registry + "/agent:v0.161.1",
}

// startLoad starts a load; end or finish stops it.
func startLoad(t *testing.T, name string) *load {
	t.Helper()
	return startLoadOn(t, name, n.Client)
}

// startLoadOn is startLoad with another client.
func startLoadOn(t *testing.T, name string, client kubernetes.Interface) *load {
	t.Helper()
	ctx, stop := context.WithCancel(testCtx)
	l := &load{name: name, client: client, stop: stop, begin: time.Now()}
	t.Cleanup(stop)
	l.all.Go(func() {
		tick := time.NewTicker(time.Second / rate)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				l.all.Go(func() { l.create(i) })
			}
		}
	})
	return l
}

func (l *load) create(i int) {
	p := pod(fmt.Sprintf("%s-%d", l.name, i), loadImages[i%len(loadImages)])
	p.Labels = map[string]string{"load": l.name}
	p.Spec.InitContainers = []corev1.Container{{Name: "init", Image: loadImages[(i+1)%len(loadImages)]}}
	ctx, cancel := context.WithTimeout(testCtx, retryTimeout)
	defer cancel()
	begin, wait := time.Now(), 50*time.Millisecond
	for tries := 0; ; tries++ {
		_, err := l.client.CoreV1().Pods(agentNamespace).Create(ctx, p, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) && tries > 0 {
			err = nil // the response to an earlier try was lost
		}
		if err == nil {
			l.count(tries, time.Since(begin))
			return
		}
		l.note(err)
		select {
		case <-ctx.Done():
			l.mu.Lock()
			l.failed++
			l.mu.Unlock()
			return
		case <-time.After(wait):
			wait = min(2*wait, 2*time.Second)
		}
	}
}

func (l *load) count(tries int, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.created++
	if tries > 0 {
		l.retried++
	}
	l.longest = max(l.longest, took)
}

func (l *load) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastError = err
}

// end is finish for tests that allow no public image. It returns the number of pods
// that have one.
func (l *load) end(t *testing.T) (public int) {
	t.Helper()
	stored := l.finish(t)
	for _, p := range stored {
		t.Errorf("pod %s was stored with %v", p.Name, imagesOf(p.Spec))
	}
	return len(stored)
}

// finish waits for pending retries, compares the count with the stored pods and
// deletes them. It returns the pods with a public image.
func (l *load) finish(t *testing.T) (public []corev1.Pod) {
	t.Helper()
	l.stop()
	l.all.Wait()
	mine := metav1.ListOptions{LabelSelector: "load=" + l.name}
	var pods *corev1.PodList
	eventually(t, 30*time.Second, func(ctx context.Context) (err error) {
		pods, err = n.Client.CoreV1().Pods(agentNamespace).List(ctx, mine)
		return err
	})
	if len(pods.Items) != l.created {
		t.Errorf("%d pods are stored, and %d were created", len(pods.Items), l.created)
	}
	for _, p := range pods.Items {
		if slices.ContainsFunc(imagesOf(p.Spec), func(image string) bool { return !private(image) }) {
			public = append(public, p)
		}
	}
	now := int64(0)
	eventually(t, 60*time.Second, func(ctx context.Context) error {
		return n.Client.CoreV1().Pods(agentNamespace).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, mine)
	})
	return public
}
