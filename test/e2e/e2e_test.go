// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/test/e2e/framework/harness"
)

const (
	ecr    = harness.Registry
	public = "us-docker.pkg.dev/castai-hub/library/agent:v0.161.1"
	target = ecr + "/agent:v0.161.1"
)

// One control plane serves all tests. Each test puts right what it broke.
var (
	h       *harness.Harness
	rules   *rewrite.Rules
	testCtx context.Context // ends with an interrupt
)

func TestMain(m *testing.M) {
	os.Exit(harness.Run(os.Stderr, func(ctx context.Context, p harness.Programs) int {
		flag.Parse()
		// Those that may run side by side wait for the cluster most of the time.
		err := flag.Set("test.parallel", "8")
		testCtx = ctx
		if err == nil {
			rules, err = rewrite.New(rewrite.Config{Registry: ecr})
		}
		if err == nil {
			h, err = harness.Start(ctx, p, os.Stderr)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		code := m.Run()
		if code != 0 {
			fmt.Fprint(os.Stderr, h.Logs())
		}
		if err := h.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}))
}

// shipped makes sure that the bundle is installed as a user installs it, and
// the webhook ready.
func shipped(t *testing.T) {
	t.Helper()
	_, err := h.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(testCtx, deploy.ConfigurationName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		kubectl(t, nil, "apply", "-k", tree(t))
	} else if err != nil {
		t.Fatal(err)
	}
	webhookReady(t)
}

func webhookReady(t *testing.T) {
	t.Helper()
	if err := h.AwaitWebhook(testCtx); err != nil {
		t.Fatal(err)
	}
}

func tree(t *testing.T, components ...string) string {
	t.Helper()
	dir, err := h.Tree(components...)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// kubectl fails the test if kubectl fails.
func kubectl(t *testing.T, stdin []byte, args ...string) string {
	t.Helper()
	out, err := h.Kubectl(testCtx, bytes.NewReader(stdin), args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func privatelink(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := h.Privatelink(testCtx, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func eventually(t *testing.T, within time.Duration, check func() error) {
	t.Helper()
	if err := harness.Eventually(testCtx, within, func(context.Context) error { return check() }); err != nil {
		t.Fatal(err)
	}
}

// namespace makes sure that the namespace is there, with the service account
// without which it takes no pods.
func namespace(t *testing.T, name string) {
	t.Helper()
	_, err := h.Client.CoreV1().Namespaces().Create(testCtx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() error {
		_, err := h.Client.CoreV1().ServiceAccounts(name).Get(testCtx, "default", metav1.GetOptions{})
		return err
	})
}

// pod is a pod with nothing but an image.
func pod(name, image string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}},
	}
}

// try creates a pod for show and returns the image that it would run.
func try(ctx context.Context, namespace, image string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	p := pod("", image)
	p.GenerateName = "try-"
	p, err := h.Client.CoreV1().Pods(namespace).Create(ctx, p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return "", err
	}
	return p.Spec.Containers[0].Image, nil
}

// rewritten says what is wrong if a pod with a public image is not rewritten.
func rewritten() error {
	got, err := try(testCtx, Namespace, public)
	if err == nil && got != target {
		err = fmt.Errorf("image %s, want %s", got, target)
	}
	return err
}

// create creates a pod that goes with the test.
func create(t *testing.T, namespace string, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	p, err := h.Client.CoreV1().Pods(namespace).Create(testCtx, p, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Client.CoreV1().Pods(namespace).Delete(testCtx, p.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return p
}

// traffic creates pods, for show, one after the other until the test ends it.
type traffic struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	count  int
	failed []error
	phases []phase
}

// phase is a sequence of pods with the same outcome.
type phase struct {
	outcome outcome
	pods    int
	began   time.Time
}

// outcome is the result for a pod with a public image.
type outcome string

const (
	isRewritten outcome = "rewritten"
	isPublic    outcome = "public"
	isRefused   outcome = "refused"
)

func startTraffic(t *testing.T) *traffic {
	t.Helper()
	namespace(t, Namespace)
	ctx, cancel := context.WithCancel(testCtx)
	tr := &traffic{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(tr.done)
		for ctx.Err() == nil {
			tr.record(try(testCtx, Namespace, public))
			time.Sleep(5 * time.Millisecond)
		}
	}()
	t.Cleanup(func() { tr.stop() })
	return tr
}

func (tr *traffic) record(image string, err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	now, o := time.Now(), isRewritten
	switch {
	case err != nil:
		o = isRefused
	case image != target:
		o, err = isPublic, fmt.Errorf("image %s, want %s", image, target)
	}
	if err != nil {
		tr.failed = append(tr.failed, fmt.Errorf("%s: %w", now.Format("15:04:05.000"), err))
	}
	tr.count++
	if len(tr.phases) == 0 || tr.phases[len(tr.phases)-1].outcome != o {
		tr.phases = append(tr.phases, phase{outcome: o, began: now})
	}
	tr.phases[len(tr.phases)-1].pods++
}

func (tr *traffic) stop() {
	tr.cancel()
	<-tr.done
}

// await returns when the outcome has been the same for a second.
func (tr *traffic) await(t *testing.T, want outcome, within time.Duration) {
	t.Helper()
	eventually(t, within, func() error {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		if n := len(tr.phases); n == 0 || tr.phases[n-1].outcome != want || time.Since(tr.phases[n-1].began) < time.Second {
			return fmt.Errorf("pods are not %s: %v", want, tr.phases)
		}
		return nil
	})
}

// outcomes stops the traffic and returns the phases' outcomes in order.
func (tr *traffic) outcomes() string {
	tr.stop()
	var all []string
	for _, p := range tr.phases {
		all = append(all, string(p.outcome))
	}
	return strings.Join(all, ", ")
}

// lost fails the test for each pod that was refused or not rewritten.
func (tr *traffic) lost(t *testing.T) {
	t.Helper()
	tr.stop()
	t.Logf("%d pods created meanwhile, %d of them lost", tr.count, len(tr.failed))
	if len(tr.failed) > 0 {
		t.Errorf("%d of %d pods were lost: %v", len(tr.failed), tr.count, errors.Join(tr.failed[:min(3, len(tr.failed))]...))
	}
	if tr.count < 20 {
		t.Errorf("only %d pods were created: that proves little", tr.count)
	}
}

func decode(t *testing.T, raw []byte) (object map[string]any) {
	t.Helper()
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatal(err)
	}
	return object
}
