// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// creation finds workloads whose pods are refused: ReplicaSets by a condition,
// and the kinds that have no such condition by an event.
func (k *checker) creation(ctx context.Context) doctor.Finding {
	var refused []string
	remedy := ""
	add := func(kind, namespace, name, message string) {
		refused = append(refused, fmt.Sprintf("%s: %s", objectName(kind, namespace, name), message))
		if remedy == "" {
			remedy = k.refusalRemedy(ctx, namespace, message)
		}
	}
	namespaces, err := k.namespaces(ctx)
	if err != nil {
		return k.requestFailed("listing namespaces", err)
	}
	for _, namespace := range namespaces {
		sets, err := k.Client.AppsV1().ReplicaSets(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return k.requestFailed("listing ReplicaSets in "+namespace, err)
		}
		for _, s := range sets.Items {
			for _, c := range s.Status.Conditions {
				if c.Type == appsv1.ReplicaSetReplicaFailure && c.Status == corev1.ConditionTrue {
					add("ReplicaSet", namespace, s.Name, c.Message)
				}
			}
		}
		if err := k.refusedByEvents(ctx, namespace, add); err != nil {
			return k.requestFailed("reading DaemonSets, StatefulSets and Jobs in "+namespace, err)
		}
	}
	if len(refused) > 0 {
		return doctor.Failf(remedy, "%d workloads have pods refused", len(refused)).With(refused...)
	}
	return doctor.OKf("no workload")
}

// refusedByEvents passes the newest FailedCreate event of each workload that has
// fewer pods than desired to add.
func (k *checker) refusedByEvents(ctx context.Context, namespace string, add func(kind, namespace, name, message string)) error {
	isMissingPods := map[string]bool{}
	daemons, err := k.Client.AppsV1().DaemonSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, d := range daemons.Items {
		isMissingPods["DaemonSet/"+d.Name] = d.Status.CurrentNumberScheduled < d.Status.DesiredNumberScheduled
	}
	stateful, err := k.Client.AppsV1().StatefulSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, s := range stateful.Items {
		isMissingPods["StatefulSet/"+s.Name] = s.Spec.Replicas != nil && s.Status.Replicas < *s.Spec.Replicas
	}
	jobs, err := k.Client.BatchV1().Jobs(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, j := range jobs.Items {
		isMissingPods["Job/"+j.Name] = j.Status.Active+j.Status.Succeeded+j.Status.Failed == 0 && (j.Spec.Suspend == nil || !*j.Spec.Suspend)
	}
	events, err := k.Client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=FailedCreate"})
	if err != nil {
		return err
	}
	added := map[string]bool{}
	for _, e := range slices.Backward(events.Items) {
		id := e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name
		if isMissingPods[id] && !added[id] {
			added[id] = true
			add(e.InvolvedObject.Kind, namespace, e.InvolvedObject.Name, e.Message)
		}
	}
	return nil
}
