// SPDX-License-Identifier: Apache-2.0

package prune

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/catalog/live"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// perPage bounds the memory for a cluster of any size.
const perPage = 500

// addCluster adds the images of all pods and pod templates of the cluster, whether
// they run or not, and those of the Helm releases in the namespaces of the rules. After
// an error the usage is incomplete, and nothing may be deleted.
func (u usage) addCluster(ctx context.Context, client kubernetes.Interface, rules *rewrite.Rules) error {
	var refused []error
	for _, k := range kinds(client) {
		switch err := u.addKind(ctx, k, rules); {
		case apierrors.IsForbidden(err): // one message names all that is missing
			refused = append(refused, err)
		case err != nil:
			return err
		}
	}
	if len(refused) > 0 {
		return fmt.Errorf("%w\nallow it with: %s", errors.Join(refused...), grant(client))
	}
	list := catalog.New(rules)
	if _, err := live.Read(ctx, client, list); err != nil {
		return err
	}
	for _, e := range list.Images() {
		u.add(e.Source)
		u.add(e.Target)
	}
	return nil
}

// kind is a resource of the API server, as kubectl spells it.
type kind struct {
	resource string
	list     func(context.Context, metav1.ListOptions) (runtime.Object, error)
}

// lister forgets the type of the objects of a client's list.
func lister[L runtime.Object](list func(context.Context, metav1.ListOptions) (L, error)) func(context.Context, metav1.ListOptions) (runtime.Object, error) {
	return func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return list(ctx, o) }
}

// kinds are all that have pods or pod templates.
func kinds(client kubernetes.Interface) []kind {
	apps, batch, core := client.AppsV1(), client.BatchV1(), client.CoreV1()
	return []kind{
		{"pods", lister(core.Pods("").List)},
		{"podtemplates", lister(core.PodTemplates("").List)},
		{"replicationcontrollers", lister(core.ReplicationControllers("").List)},
		{"deployments.apps", lister(apps.Deployments("").List)},
		{"replicasets.apps", lister(apps.ReplicaSets("").List)},
		{"statefulsets.apps", lister(apps.StatefulSets("").List)},
		{"daemonsets.apps", lister(apps.DaemonSets("").List)},
		{"jobs.batch", lister(batch.Jobs("").List)},
		{"cronjobs.batch", lister(batch.CronJobs("").List)},
	}
}

// grant is the command that allows to list all kinds.
func grant(client kubernetes.Interface) string {
	var resources []string
	for _, k := range kinds(client) {
		resources = append(resources, k.resource)
	}
	return "kubectl create clusterrole privatelink-prune --verb=list --resource=" + strings.Join(resources, ",")
}

// addKind adds the images of all objects of a kind.
func (u usage) addKind(ctx context.Context, k kind, rules *rewrite.Rules) error {
	options := metav1.ListOptions{Limit: perPage}
	for {
		next, err := u.addPage(ctx, k, options, rules)
		if err != nil {
			return fmt.Errorf("listing %s of the cluster: %w", k.resource, err)
		}
		if next == "" {
			return nil
		}
		options.Continue = next
	}
}

// addPage adds the images of one page, and returns the token of the next.
func (u usage) addPage(ctx context.Context, k kind, o metav1.ListOptions, rules *rewrite.Rules) (next string, err error) {
	page, err := k.list(ctx, o)
	if err != nil {
		return "", err
	}
	list, err := meta.ListAccessor(page)
	if err != nil {
		return "", err
	}
	if left := list.GetRemainingItemCount(); left != nil && *left > 0 && list.GetContinue() == "" {
		return "", fmt.Errorf("the API server returned a list that lacks %d objects", *left)
	}
	return list.GetContinue(), meta.EachListItem(page, func(o runtime.Object) error { return u.addObject(o, rules) })
}

// addObject adds the images of a pod or a workload. In the namespaces of the rules,
// the webhook makes private images of the public ones that a template names, also of
// old revisions of a Deployment, which a rollback needs.
func (u usage) addObject(o runtime.Object, rules *rewrite.Rules) error {
	object, err := meta.Accessor(o)
	if err != nil {
		return err
	}
	isRewritten := slices.Contains(rules.Namespaces(), object.GetNamespace())
	eachImage(podSpec(o), func(image string) {
		u.add(image)
		if isRewritten {
			u.add(rules.Image(image).Target)
		}
	})
	if pod, ok := o.(*corev1.Pod); ok {
		u.addPodStatus(pod.Status)
	}
	return nil
}

// podSpec returns the specification of a pod or of a pod template.
func podSpec(o runtime.Object) corev1.PodSpec {
	switch o := o.(type) {
	case *corev1.Pod:
		return o.Spec
	case *corev1.PodTemplate:
		return o.Template.Spec
	case *corev1.ReplicationController:
		if o.Spec.Template != nil {
			return o.Spec.Template.Spec
		}
	case *appsv1.Deployment:
		return o.Spec.Template.Spec
	case *appsv1.ReplicaSet:
		return o.Spec.Template.Spec
	case *appsv1.StatefulSet:
		return o.Spec.Template.Spec
	case *appsv1.DaemonSet:
		return o.Spec.Template.Spec
	case *batchv1.Job:
		return o.Spec.Template.Spec
	case *batchv1.CronJob:
		return o.Spec.JobTemplate.Spec.Template.Spec
	}
	return corev1.PodSpec{}
}
