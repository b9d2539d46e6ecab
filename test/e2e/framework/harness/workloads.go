// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AwaitPods returns when every Deployment, DaemonSet and Job of the namespace
// has all its pods.
func (h *Harness) AwaitPods(ctx context.Context, namespace string) error {
	return Eventually(ctx, 60*time.Second, func(ctx context.Context) error { return h.missingPods(ctx, namespace) })
}

func (h *Harness) missingPods(ctx context.Context, namespace string) error {
	var missing []error
	miss := func(kind, name string, have, want int32, seen bool) {
		if have != want || !seen {
			missing = append(missing, fmt.Errorf("%s %s has %d of %d pods", kind, name, have, want))
		}
	}
	apps, all := h.Client.AppsV1(), metav1.ListOptions{}
	deployments, err1 := apps.Deployments(namespace).List(ctx, all)
	daemons, err2 := apps.DaemonSets(namespace).List(ctx, all)
	jobs, err3 := h.Client.BatchV1().Jobs(namespace).List(ctx, all)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	for _, d := range deployments.Items {
		miss("Deployment", d.Name, d.Status.Replicas, *d.Spec.Replicas, d.Status.ObservedGeneration == d.Generation)
	}
	for _, d := range daemons.Items {
		miss("DaemonSet", d.Name, d.Status.CurrentNumberScheduled, max(1, d.Status.DesiredNumberScheduled), d.Status.ObservedGeneration == d.Generation)
	}
	for _, j := range jobs.Items {
		miss("Job", j.Name, j.Status.Active, *j.Spec.Parallelism, true)
	}
	return errors.Join(missing...)
}

// RawPods are the pods of a namespace in JSON, as the API server sends them: a
// typed client would drop what its types do not know.
func (h *Harness) RawPods(ctx context.Context, namespace string) ([]json.RawMessage, error) {
	raw, err := h.Client.CoreV1().RESTClient().Get().Namespace(namespace).Resource(string(corev1.ResourcePods)).
		SetHeader("Accept", "application/json").Do(ctx).Raw()
	if err != nil {
		return nil, fmt.Errorf("pods of %s: %w", namespace, err)
	}
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("pods of %s: %w", namespace, err)
	}
	return list.Items, nil
}
