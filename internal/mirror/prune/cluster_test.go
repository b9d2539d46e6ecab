// SPDX-License-Identifier: Apache-2.0

package prune

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	releasecommon "helm.sh/helm/v4/pkg/release/common"
	helm "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

const castaiAgent = "castai-agent"

func objectMeta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func template(image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}}}
}

// castai is a public image, and private its name in the registry.
func castai(name string) string  { return "ghcr.io/castai/images/" + name + ":v1" }
func private(name string) string { return prefix + "/" + name + ":v1" }

// storeRelease stores a Helm release whose hook runs an image.
func storeRelease(t *testing.T, client *fake.Clientset, image string) {
	t.Helper()
	hook := fmt.Sprintf("apiVersion: batch/v1\nkind: Job\nmetadata: {name: h}\nspec: {template: {spec: {containers: [{name: c, image: %q}]}}}\n", image)
	r := &helm.Release{Name: "agent", Namespace: castaiAgent, Version: 1, Info: &helm.Info{Status: releasecommon.StatusDeployed}, Hooks: []*helm.Hook{{Name: "h", Manifest: hook}}}
	if err := driver.NewSecrets(client.CoreV1().Secrets(castaiAgent)).Create("sh.helm.release.v1.agent.v1", r); err != nil {
		t.Fatal(err)
	}
}

func TestEveryWorkloadOfAClusterIsRead(t *testing.T) {
	none, controlled := int32(0), objectMeta(castaiAgent, "old")
	isController := true
	controlled.OwnerReferences = []metav1.OwnerReference{{Kind: "Deployment", Name: "d", Controller: &isController}}
	elsewhere := template(private("template"))
	client := fake.NewClientset(
		&corev1.Pod{ObjectMeta: objectMeta("default", "p"), Spec: template(private("pod")).Spec},
		&corev1.PodTemplate{ObjectMeta: objectMeta("default", "t"), Template: elsewhere},
		&corev1.ReplicationController{ObjectMeta: objectMeta("default", "r"), Spec: corev1.ReplicationControllerSpec{Template: &elsewhere}},
		&corev1.ReplicationController{ObjectMeta: objectMeta("default", "without")},
		&appsv1.Deployment{ObjectMeta: objectMeta(castaiAgent, "d"), Spec: appsv1.DeploymentSpec{Replicas: &none, Template: template(castai("scaled-down"))}},
		&appsv1.Deployment{ObjectMeta: objectMeta("default", "d"), Spec: appsv1.DeploymentSpec{Replicas: &none, Template: template(private("deployment"))}},
		&appsv1.Deployment{ObjectMeta: objectMeta("default", "public"), Spec: appsv1.DeploymentSpec{Template: template(castai("not-rewritten"))}},
		&appsv1.ReplicaSet{ObjectMeta: controlled, Spec: appsv1.ReplicaSetSpec{Replicas: &none, Template: template(castai("old-revision"))}},
		&appsv1.StatefulSet{ObjectMeta: objectMeta(castaiAgent, "s"), Spec: appsv1.StatefulSetSpec{Replicas: &none, Template: template(castai("statefulset"))}},
		&appsv1.DaemonSet{ObjectMeta: objectMeta(castaiAgent, "d"), Spec: appsv1.DaemonSetSpec{Template: template(castai("daemonset"))}},
		&batchv1.Job{ObjectMeta: objectMeta(castaiAgent, "j"), Spec: batchv1.JobSpec{Template: template(castai("job"))}},
		&batchv1.CronJob{ObjectMeta: objectMeta(castaiAgent, "c"), Spec: batchv1.CronJobSpec{JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template(castai("cronjob"))}}}},
	)
	storeRelease(t, client, castai("hook"))
	u := usage{}
	if err := u.addCluster(t.Context(), client, rules(t, prefix)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pod", "template", "scaled-down", "deployment", "old-revision", "statefulset", "daemonset", "job", "cronjob", "hook"} {
		if !u[private(name)] {
			t.Errorf("the image of the %s is not in use", name)
		}
	}
	if u[private("not-rewritten")] {
		t.Error("an image of a namespace that the webhook does not rewrite is in use")
	}
}

func TestEveryPageIsRead(t *testing.T) {
	pages := map[string]*corev1.PodList{
		"":     {ListMeta: metav1.ListMeta{Continue: "next"}, Items: []corev1.Pod{{Spec: template("r/a:v1").Spec}}},
		"next": {Items: []corev1.Pod{{Spec: template("r/b:v1").Spec}}},
	}
	client := fake.NewClientset()
	client.PrependReactor("list", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		list, ok := a.(clienttesting.ListActionImpl)
		if !ok || list.ListOptions.Limit != perPage {
			t.Errorf("action %+v", a)
		}
		return true, pages[list.ListOptions.Continue], nil
	})
	u := usage{}
	if err := u.addKind(t.Context(), kinds(client)[0], rules(t, prefix)); err != nil || !u["r/a:v1"] || !u["r/b:v1"] {
		t.Errorf("%v, %v", u, err)
	}
}

func TestAHalfReadClusterIsAnError(t *testing.T) {
	left := int64(3)
	for name, tc := range map[string]struct {
		second func() (runtime.Object, error)
		want   string
	}{
		"a page that expired": {func() (runtime.Object, error) {
			return nil, apierrors.NewResourceExpired("the continue token is too old")
		}, "listing pods of the cluster: the continue token is too old"},
		"a connection that broke": {func() (runtime.Object, error) { return nil, errors.New("unexpected EOF") }, "listing pods of the cluster: unexpected EOF"},
		"a page that is missing": {func() (runtime.Object, error) {
			return &corev1.PodList{ListMeta: metav1.ListMeta{RemainingItemCount: &left}}, nil
		}, "listing pods of the cluster: the API server returned a list that lacks 3 objects"},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			client.PrependReactor("list", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
				if list, ok := a.(clienttesting.ListActionImpl); ok && list.ListOptions.Continue == "next" {
					l, err := tc.second()
					return true, l, err
				}
				return true, &corev1.PodList{ListMeta: metav1.ListMeta{Continue: "next"}, Items: []corev1.Pod{{Spec: template("r/a:v1").Spec}}}, nil
			})
			if err := (usage{}).addCluster(t.Context(), client, rules(t, prefix)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// TestAKindThatMayNotBeListedIsNamed refuses one kind after the other.
func TestAKindThatMayNotBeListedIsNamed(t *testing.T) {
	resources := []string{"secrets"}
	for _, k := range kinds(fake.NewClientset()) {
		resources = append(resources, k.resource)
	}
	for _, resource := range resources {
		t.Run(resource, func(t *testing.T) {
			name, group, _ := strings.Cut(resource, ".")
			client := fake.NewClientset()
			client.PrependReactor("list", name, func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, apierrors.NewForbidden(schema.GroupResource{Group: group, Resource: name}, "", errors.New("no"))
			})
			err := (usage{}).addCluster(t.Context(), client, rules(t, prefix))
			if err == nil || !strings.Contains(err.Error(), resource+" ") || !strings.Contains(err.Error(), "--verb=list --resource=") {
				t.Errorf("error %v, want one that names %s and the permission", err, resource)
			}
		})
	}
}
