// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
)

// gap is the time in which the API server does not know the webhook, and stores
// what it is given. Nothing of ours can prevent that.
type gap struct{ from, to time.Time }

// outside returns the pods that were not created in the gap, as far as the whole
// seconds tell that the API server keeps.
func (g gap) outside(t *testing.T, public []corev1.Pod) (outside []corev1.Pod) {
	t.Helper()
	for _, p := range public {
		if at := p.CreationTimestamp.Time; at.Before(g.from.Truncate(time.Second)) || at.After(g.to) {
			outside = append(outside, p)
		}
	}
	inside := len(public) - len(outside)
	if inside == 0 {
		t.Error("no pod was stored with a public image: there was no gap to speak of")
	}
	figure("    public: %d in the gap, %d outside", inside, len(outside))
	return outside
}

// learning is how long the API server may take to learn of a configuration.
const learning = time.Second

// outOfGap is a Deployment whose pods are created in the gap.
const outOfGap = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: out-of-gap, namespace: ` + agents + `}
spec:
  replicas: 2
  selector: {matchLabels: {app: out-of-gap}}
  template:
    metadata: {labels: {app: out-of-gap}}
    spec: {containers: [{name: main, image: "us-docker.pkg.dev/castai-hub/library/agent:v0.161.1"}]}
`

// deleted takes the configuration away and applies it again, and does what
// operations.md says to close the glass.
func (g *gap) deleted(t *testing.T) {
	g.from = time.Now()
	kubectl(t, "", "delete", "mutatingwebhookconfiguration", deploy.ConfigurationName)
	kubectl(t, outOfGap, "apply", "-f", "-")
	gone := metav1.ListOptions{LabelSelector: "app=out-of-gap"}
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		pods, err := n.Client.CoreV1().Pods(agents).List(ctx, gone)
		if err != nil {
			return err
		}
		if len(pods.Items) != 2 || !slices.ContainsFunc(pods.Items, stuck) {
			return fmt.Errorf("%d pods of the Deployment, none stuck", len(pods.Items))
		}
		return nil
	})
	kubectl(t, privatelink(t, "install", "--registry", Registry), "apply", "-f", "-")
	applied := time.Now()
	g.to = applied.Add(learning)
	published(t, "")
	if took := time.Since(applied); took > 3*time.Second {
		t.Errorf("caBundle was filled %s after the configuration was there", took)
	}
	figure("    caBundle is filled %s after `kubectl apply`; the API server did not know the webhook for %s",
		since(applied), applied.Sub(g.from).Round(100*time.Millisecond))
	kubectl(t, "", "rollout", "restart", "--namespace", agents, "deployment/out-of-gap")
	kubectl(t, "", "rollout", "status", "--namespace", agents, "deployment/out-of-gap", "--timeout=60s")
	kubectl(t, "", "delete", "--namespace", agents, "deployment/out-of-gap")
}

// updated applies a bundle of other rules over the one that runs, which is how
// the webhook is meant to be changed, and the first again.
func updated(t *testing.T) {
	kubectl(t, privatelink(t, "install", "--registry", Registry, "--failure-policy", "Ignore", "--replicas", "3"), "apply", "-f", "-")
	ready(t)
	kubectl(t, privatelink(t, "install", "--registry", Registry), "apply", "-f", "-")
}
