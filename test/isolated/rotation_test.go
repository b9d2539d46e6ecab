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

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster"
)

// apiServerLag is the delay after which the second API server observes a caBundle.
// The webhook waits 5 s for such servers.
const apiServerLag = 1500 * time.Millisecond

// anyLimit limits no pod. Where a namespace has no limits, an API server makes
// sure every 30 s by asking etcd, and all creations wait for the answer.
const limitRange = `
apiVersion: v1
kind: LimitRange
metadata: {name: any, namespace: ` + agentNamespace + `}
spec: {limits: [{type: PersistentVolumeClaim, max: {storage: 1Ti}}]}
`

// A rotation, as observed by an API server that sees each step late. EKS runs two
// or more API servers. Only here would a leaf that is served too early, or a CA
// that is withdrawn too early, cause a failure.
func TestRotation(t *testing.T) {
	install(t)
	kubectl(t, "", "create", "namespace", agentNamespace)
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		_, err := n.Client.CoreV1().ServiceAccounts(agentNamespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	kubectl(t, limitRange, "apply", "-f", "-")
	server := startLaggingServer(t)
	warmUp(t, server)
	reportf("\n%-48s %8s %8s %8s %8s %10s", fmt.Sprintf("seen by an API server that learns %s late", apiServerLag), "created", "retried", "failed", "public", "longest")
	for _, fault := range []struct {
		name    string
		planned bool // no creation may need a retry
		cause   func(*testing.T)
	}{
		{nothing, true, func(*testing.T) { time.Sleep(3 * time.Second) }},
		{"privatelink certs reset", true, func(t *testing.T) { privatelink(t, "certs", "reset", "--yes", "--context", cluster.Context) }},
		{"CA Secret emptied", false, func(t *testing.T) {
			emptySecret(t)
			time.Sleep(8 * time.Second) // until the new leaf is served
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			dials := redial(t, server)
			l := startLoadOn(t, fmt.Sprintf("load-%d", time.Now().UnixMilli()), server)
			time.Sleep(2 * apiServerLag)
			fault.cause(t)
			time.Sleep(2*time.Second + apiServerLag) // late failures count as well
			public := l.end(t)
			reportf("%-48s %8d %8d %8d %8d %10s", fault.name, l.created, l.retried, l.failed, public, l.longest.Round(10*time.Millisecond))
			if l.lastError != nil {
				reportf("    the last refusal: %v", l.lastError)
			}
			if l.failed > 0 || fault.planned && l.retried > 0 {
				t.Errorf("%d pods failed, %d had to be tried again; the last error: %v", l.failed, l.retried, l.lastError)
			}
			dials.end(t)
			ready(t)
		})
	}
	clean(t)
	kubectl(t, privatelink(t, "install", "--registry", Registry), "delete", "-f", "-", "--timeout=90s")
}

// startLaggingServer starts the API server that observes changes late.
func startLaggingServer(t *testing.T) kubernetes.Interface {
	t.Helper()
	s, err := n.StartLagging(testCtx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = 1000, 2000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	s.Lag(apiServerLag)
	return client
}

// warmUp gives the connections of the second API server to etcd the time to widen
// their windows as the load asks for. Until then its lag is larger than configured.
func warmUp(t *testing.T, server kubernetes.Interface) {
	t.Helper()
	r, l := redial(t, server), startLoadOn(t, "warm", server)
	eventually(t, 60*time.Second, func(context.Context) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		newest := r.lags[max(0, len(r.lags)-20):]
		if len(newest) < 20 || slices.Max(newest) > apiServerLag*12/10 {
			return fmt.Errorf("the second API server learned %v late, want %s", newest, apiServerLag)
		}
		return nil
	})
	r.stop()
	l.end(t)
}

// redialer makes all API servers dial the webhook a few times a second. They keep
// connections and verify a certificate only when they dial, so that most faults
// between two certificates would not be observed. A caBundle with other bytes and
// the same authorities makes them dial.
type redialer struct {
	stop func()
	all  sync.WaitGroup

	mu   sync.Mutex
	last string          // bundle that the second API server learned of
	lags []time.Duration // until it did, of each
	err  error
}

// paddedAt is the annotation that says when a bundle was written.
const paddedAt = "test/padded-at"

// redial starts it, and records when the second API server observes each bundle.
func redial(t *testing.T, server kubernetes.Interface) *redialer {
	t.Helper()
	ctx, stop := context.WithCancel(testCtx)
	t.Cleanup(stop)
	r := &redialer{stop: stop}
	learned, err := server.AdmissionregistrationV1().MutatingWebhookConfigurations().Watch(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=" + deploy.ConfigurationName, ResourceVersion: "0",
	})
	if err != nil {
		t.Fatal(err)
	}
	r.all.Go(func() {
		for event := range learned.ResultChan() {
			if c, ok := event.Object.(*admissionv1.MutatingWebhookConfiguration); ok {
				r.recordLag(c.Annotations[paddedAt])
			}
		}
	})
	r.all.Go(func() {
		tick := time.NewTicker(400 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			// In a conflict the webhook was quicker.
			if err := pad(ctx); err != nil && !apierrors.IsConflict(err) && ctx.Err() == nil {
				r.mu.Lock()
				r.err = err
				r.mu.Unlock()
			}
		}
	})
	return r
}

// recordLag records the first time that the second API server shows a padded bundle.
func (r *redialer) recordLag(padded string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, err := time.Parse(time.RFC3339Nano, padded)
	if err != nil || padded == r.last {
		return // the webhook wrote
	}
	if r.last != "" { // the first may be from before
		r.lags = append(r.lags, time.Since(at))
	}
	r.last = padded
}

// end stops it, and fails the test if the second API server did not learn as
// late as it was to: then the test has proved nothing. One bundle may be much later,
// when the machine stalls.
func (r *redialer) end(t *testing.T) {
	t.Helper()
	r.stop()
	r.all.Wait()
	if r.err != nil || len(r.lags) < 10 {
		t.Errorf("the API servers were made to dial %d times: %v", len(r.lags), r.err)
		return
	}
	slices.Sort(r.lags)
	first, median, last := r.lags[0], r.lags[len(r.lags)/2], r.lags[len(r.lags)-1]
	reportf("    it learned of %d bundles, %s to %s late", len(r.lags), first.Round(10*time.Millisecond), last.Round(10*time.Millisecond))
	if first < apiServerLag*8/10 || median > apiServerLag+2*time.Second {
		t.Errorf("the second API server learned %s to %s late, half of the time by %s, want %s", first, last, median, apiServerLag)
	}
}

// pad adds a newline to each caBundle, unless another client writes
// meanwhile. A bundle that was there before would not do: its connections may
// still be there, too.
func pad(ctx context.Context) error {
	api := n.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	c, err := api.Get(ctx, deploy.ConfigurationName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	metav1.SetMetaDataAnnotation(&c.ObjectMeta, paddedAt, time.Now().Format(time.RFC3339Nano))
	for i := range c.Webhooks {
		c.Webhooks[i].ClientConfig.CABundle = append(c.Webhooks[i].ClientConfig.CABundle, '\n')
	}
	_, err = api.Update(ctx, c, metav1.UpdateOptions{})
	return err
}
