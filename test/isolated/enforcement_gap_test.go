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

// enforcementGap is the time in which the API server does not know the webhook and
// stores pods unchanged.
type enforcementGap struct{ from, to time.Time }

// outside returns the pods that were created before or after the gap. Creation
// timestamps have a resolution of one second.
func (g enforcementGap) outside(t *testing.T, public []corev1.Pod) (outside []corev1.Pod) {
	t.Helper()
	for _, p := range public {
		if at := p.CreationTimestamp.Time; at.Before(g.from.Truncate(time.Second)) || at.After(g.to) {
			outside = append(outside, p)
		}
	}
	inside := len(public) - len(outside)
	if inside == 0 {
		t.Error("no pod was stored with a public image: the gap was not observed")
	}
	reportf("    public: %d in the gap, %d outside", inside, len(outside))
	return outside
}

// propagationDelay is how long the API server may take to observe a configuration.
const propagationDelay = time.Second

// gapDeployment creates its pods in the gap.
const gapDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: out-of-gap, namespace: ` + agentNamespace + `}
spec:
  replicas: 2
  selector: {matchLabels: {app: out-of-gap}}
  template:
    metadata: {labels: {app: out-of-gap}}
    spec: {containers: [{name: main, image: "us-docker.pkg.dev/castai-hub/library/agent:v0.161.1"}]}
`

// deleted deletes the configuration, applies it again, and follows
// docs/guide/operations.md to restore enforcement.
func (g *enforcementGap) deleted(t *testing.T) {
	g.from = time.Now()
	kubectl(t, "", "delete", "mutatingwebhookconfiguration", deploy.ConfigurationName)
	kubectl(t, gapDeployment, "apply", "-f", "-")
	gone := metav1.ListOptions{LabelSelector: "app=out-of-gap"}
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		pods, err := n.Client.CoreV1().Pods(agentNamespace).List(ctx, gone)
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
	g.to = applied.Add(propagationDelay)
	published(t, "")
	if took := time.Since(applied); took > 6*time.Second { // a repair begins up to 3 s after the last one
		t.Errorf("caBundle was filled %s after the configuration was there", took)
	}
	reportf("    caBundle is filled %s after `kubectl apply`; the API server did not know the webhook for %s",
		since(applied), applied.Sub(g.from).Round(100*time.Millisecond))
	kubectl(t, "", "rollout", "restart", "--namespace", agentNamespace, "deployment/out-of-gap")
	kubectl(t, "", "rollout", "status", "--namespace", agentNamespace, "deployment/out-of-gap", "--timeout=60s")
	kubectl(t, "", "delete", "--namespace", agentNamespace, "deployment/out-of-gap")
}

// updated applies a bundle with other options over the running one, and then the
// first one again.
func updated(t *testing.T) {
	kubectl(t, privatelink(t, "install", "--registry", Registry, "--failure-policy", "Ignore", "--replicas", "3"), "apply", "-f", "-")
	ready(t)
	kubectl(t, privatelink(t, "install", "--registry", Registry), "apply", "-f", "-")
}
