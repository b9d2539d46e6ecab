// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// creation finds owners that say that their pods are refused: as a condition,
// or, where they have none for it, as an event.
func (k *cluster) creation(ctx context.Context) doctor.Finding {
	var refused []string
	remedy := ""
	add := func(kind, namespace, name, message string) {
		refused = append(refused, fmt.Sprintf("%s: %s", named(kind, namespace, name), message))
		if strings.Contains(message, "violates PodSecurity") && remedy == "" {
			remedy = fmt.Sprintf("kubectl label --overwrite namespace %s pod-security.kubernetes.io/enforce=privileged\n(some components of CAST AI work on the node itself)", namespace)
		}
	}
	for _, namespace := range k.Rules.Namespaces() {
		sets, err := k.Client.AppsV1().ReplicaSets(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return unseen("listing ReplicaSets in "+namespace, err)
		}
		for _, s := range sets.Items {
			for _, c := range s.Status.Conditions {
				if c.Type == appsv1.ReplicaSetReplicaFailure && c.Status == corev1.ConditionTrue {
					add("ReplicaSet", namespace, s.Name, c.Message)
				}
			}
		}
		if err := k.refusedByEvents(ctx, namespace, add); err != nil {
			return unseen("reading what became of DaemonSets, StatefulSets and Jobs in "+namespace, err)
		}
	}
	if len(refused) > 0 {
		if remedy == "" {
			remedy = "kubectl -n " + k.Rules.Namespaces()[0] + " describe the object that is named"
		}
		return doctor.Failf(remedy, "%d workloads have pods refused", len(refused)).With(refused...)
	}
	return doctor.OKf("none")
}

// refusedByEvents looks at owners that lack pods, and then at the newest event
// of each.
func (k *cluster) refusedByEvents(ctx context.Context, namespace string, add func(kind, namespace, name, message string)) error {
	lacking := map[string]bool{}
	daemons, err := k.Client.AppsV1().DaemonSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, d := range daemons.Items {
		lacking["DaemonSet/"+d.Name] = d.Status.CurrentNumberScheduled < d.Status.DesiredNumberScheduled
	}
	stateful, err := k.Client.AppsV1().StatefulSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, s := range stateful.Items {
		lacking["StatefulSet/"+s.Name] = s.Spec.Replicas != nil && s.Status.Replicas < *s.Spec.Replicas
	}
	jobs, err := k.Client.BatchV1().Jobs(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, j := range jobs.Items {
		lacking["Job/"+j.Name] = j.Status.Active+j.Status.Succeeded+j.Status.Failed == 0 && (j.Spec.Suspend == nil || !*j.Spec.Suspend)
	}
	events, err := k.Client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=FailedCreate"})
	if err != nil {
		return err
	}
	told := map[string]bool{}
	for _, e := range slices.Backward(events.Items) {
		id := e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name
		if lacking[id] && !told[id] {
			told[id] = true
			add(e.InvolvedObject.Kind, namespace, e.InvolvedObject.Name, e.Message)
		}
	}
	return nil
}
