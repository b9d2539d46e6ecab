// SPDX-License-Identifier: Apache-2.0

package live

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/catalog"
)

// perPage bounds what is in memory at once.
const perPage = 100

// source is one resource of one namespace.
type source struct {
	resource, namespace string
	options             metav1.ListOptions
	// page adds a page and returns the token of the next, "" after the last.
	page func(context.Context, metav1.ListOptions) (next string, err error)
	// done, which may be nil, is called after the last page.
	done func() error
}

func (s source) read(ctx context.Context) error {
	s.options.Limit = perPage
	for {
		next, err := s.page(ctx, s.options)
		if err != nil {
			return fmt.Errorf("list %s in namespace %s: %w", s.resource, s.namespace, err)
		}
		if next == "" {
			break
		}
		s.options.Continue = next
	}
	if s.done == nil {
		return nil
	}
	return s.done()
}

// sources are all kinds that name images, in the order of Resources.
func (r *reader) sources(namespace string) []source {
	apps, batch, core := r.client.AppsV1(), r.client.BatchV1(), r.client.CoreV1()
	helm := releases{reader: r}
	list := []source{
		{page: page(apps.Deployments(namespace).List, func(l *appsv1.DeploymentList) []appsv1.Deployment { return l.Items },
			func(d appsv1.Deployment) error { return r.template("Deployment", d.ObjectMeta, d.Spec.Template) })},
		{page: page(apps.DaemonSets(namespace).List, func(l *appsv1.DaemonSetList) []appsv1.DaemonSet { return l.Items },
			func(d appsv1.DaemonSet) error { return r.template("DaemonSet", d.ObjectMeta, d.Spec.Template) })},
		{page: page(apps.StatefulSets(namespace).List, func(l *appsv1.StatefulSetList) []appsv1.StatefulSet { return l.Items },
			func(s appsv1.StatefulSet) error { return r.template("StatefulSet", s.ObjectMeta, s.Spec.Template) })},
		{page: page(apps.ReplicaSets(namespace).List, func(l *appsv1.ReplicaSetList) []appsv1.ReplicaSet { return l.Items },
			r.replicaSet)},
		{page: page(batch.Jobs(namespace).List, func(l *batchv1.JobList) []batchv1.Job { return l.Items },
			func(j batchv1.Job) error { return r.template("Job", j.ObjectMeta, j.Spec.Template) })},
		{page: page(batch.CronJobs(namespace).List, func(l *batchv1.CronJobList) []batchv1.CronJob { return l.Items },
			func(c batchv1.CronJob) error {
				return r.template("CronJob", c.ObjectMeta, c.Spec.JobTemplate.Spec.Template)
			})},
		{page: page(core.Pods(namespace).List, func(l *corev1.PodList) []corev1.Pod { return l.Items },
			func(p corev1.Pod) error { return r.pod(catalog.Pod, "Pod", p.ObjectMeta, p) })},
		helm.source(r.client, namespace),
	}
	list[len(list)-1].done = helm.done
	for i, resource := range Resources() {
		list[i].resource, list[i].namespace = resource, namespace
	}
	return list
}

// page makes a source's page function: it lists, and adds each item.
func page[L interface{ GetContinue() string }, T any](list func(context.Context, metav1.ListOptions) (L, error), items func(L) []T, add func(T) error) func(context.Context, metav1.ListOptions) (string, error) {
	return func(ctx context.Context, o metav1.ListOptions) (string, error) {
		l, err := list(ctx, o)
		if err != nil {
			return "", err
		}
		for _, item := range items(l) {
			if err := add(item); err != nil {
				return "", err
			}
		}
		return l.GetContinue(), nil
	}
}

// replicaSet adds a ReplicaSet that has replicas or no controller. The others are
// old revisions of a Deployment, kept for a rollback.
func (r *reader) replicaSet(s appsv1.ReplicaSet) error {
	if metav1.GetControllerOf(&s) != nil && s.Spec.Replicas != nil && *s.Spec.Replicas == 0 {
		return nil
	}
	return r.template("ReplicaSet", s.ObjectMeta, s.Spec.Template)
}
