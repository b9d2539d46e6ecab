// SPDX-License-Identifier: Apache-2.0

package live

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

func TestNamespacesAreReadByNameAndByLabel(t *testing.T) {
	rules, err := rewrite.New(rewrite.Config{Registry: ecr, NamespaceSelector: rewrite.LabelSelector{MatchLabels: map[string]string{"example.com/tenant": "yes"}}})
	if err != nil {
		t.Fatal(err)
	}
	namespace := func(name string, labels map[string]string) runtime.Object {
		all := map[string]string{corev1.LabelMetadataName: name}
		maps.Copy(all, labels)
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: all}}
	}
	deployment := func(namespace string) runtime.Object {
		return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "d"}, Spec: appsv1.DeploymentSpec{Template: template("quay.io/a/" + namespace + ":1")}}
	}
	tenant := map[string]string{"example.com/tenant": "yes"}
	client := fake.NewClientset(namespace(ns, tenant), namespace("tenant-a", tenant), namespace("default", nil), namespace("kube-system", tenant),
		deployment(ns), deployment("tenant-a"), deployment("default"), deployment("kube-system"))
	l := catalog.New(rules)
	if _, err := Read(t.Context(), client, l); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"quay.io/a/castai-agent:1": "Deployment d in castai-agent", "quay.io/a/tenant-a:1": "Deployment d in tenant-a"}
	have := map[string]string{}
	for _, i := range l.Images() {
		have[i.Source] = i.Origins[0].Object + " in " + i.Origins[0].Name
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("-want +have\n%s", d)
	}

	client.PrependReactor("list", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, "", nil)
	})
	if _, err := Read(context.Background(), client, catalog.New(rules)); err == nil || !strings.Contains(err.Error(), "kubectl create clusterrole") {
		t.Errorf("without the right to list namespaces: %v", err)
	}
}
