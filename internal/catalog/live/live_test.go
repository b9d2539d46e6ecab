// SPDX-License-Identifier: Apache-2.0

package live

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

const (
	ecr = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"
	ns  = "castai-agent"
)

func newList(t *testing.T) *catalog.List {
	t.Helper()
	rules, err := rewrite.New(rewrite.Config{Registry: ecr})
	if err != nil {
		t.Fatal(err)
	}
	return catalog.New(rules)
}

func meta(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: ns, Name: name} }

func template(image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}}}
}

// origins are the images with the first of their origins.
func origins(l *catalog.List) map[string]string {
	out := map[string]string{}
	for _, i := range l.Images() {
		out[i.Source] = i.Origins[0].String()
	}
	return out
}

func TestEveryKindOfWorkloadIsRead(t *testing.T) {
	none, owned := int32(0), meta("past")
	yes := true
	owned.OwnerReferences = []metav1.OwnerReference{{Kind: "Deployment", Name: "d", Controller: &yes}}
	current := meta("current")
	current.OwnerReferences = owned.OwnerReferences
	one := int32(1)
	elsewhere := meta("d")
	elsewhere.Namespace = "default"
	injected := template("quay.io/acme/main:1").Spec
	injected.InitContainers = []corev1.Container{{Name: "init", Image: "quay.io/acme/init:1", Env: []corev1.EnvVar{{Name: "SCANNERS_IMAGE", Value: "quay.io/acme/scan:1"}, {Name: "OTHER", Value: "quay.io/acme/no:1"}}}}
	injected.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "quay.io/acme/volume:1"}}}}
	static := meta("static")
	static.Annotations = map[string]string{"kubernetes.io/config.mirror": "x"}
	l := newList(t)
	seen, err := Read(t.Context(), fake.NewClientset(
		&appsv1.Deployment{ObjectMeta: meta("d"), Spec: appsv1.DeploymentSpec{Replicas: &none, Template: template("quay.io/acme/deployment:1")}},
		&appsv1.DaemonSet{ObjectMeta: meta("ds"), Spec: appsv1.DaemonSetSpec{Template: template("quay.io/acme/daemonset:1")}},
		&appsv1.StatefulSet{ObjectMeta: meta("s"), Spec: appsv1.StatefulSetSpec{Template: template("quay.io/acme/statefulset:1")}},
		&appsv1.ReplicaSet{ObjectMeta: owned, Spec: appsv1.ReplicaSetSpec{Replicas: &none, Template: template("quay.io/acme/past:1")}},
		&appsv1.ReplicaSet{ObjectMeta: current, Spec: appsv1.ReplicaSetSpec{Replicas: &one, Template: template("quay.io/acme/current:1")}},
		&appsv1.ReplicaSet{ObjectMeta: meta("bare"), Spec: appsv1.ReplicaSetSpec{Replicas: &none, Template: template("quay.io/acme/bare:1")}},
		&batchv1.Job{ObjectMeta: meta("j"), Spec: batchv1.JobSpec{Template: template("quay.io/acme/job:1")}},
		&batchv1.CronJob{ObjectMeta: meta("c"), Spec: batchv1.CronJobSpec{JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template("quay.io/acme/cronjob:1")}}}},
		&corev1.Pod{ObjectMeta: meta("p"), Spec: injected},
		&corev1.Pod{ObjectMeta: static, Spec: template("quay.io/acme/static:1").Spec},
		&appsv1.Deployment{ObjectMeta: elsewhere, Spec: appsv1.DeploymentSpec{Template: template("quay.io/acme/elsewhere:1")}},
	), l)
	if err != nil || seen != 9 {
		t.Fatalf("%d seen, %v", seen, err)
	}
	want := map[string]string{}
	for image, origin := range map[string]string{
		"deployment": "workload castai-agent Deployment d", "daemonset": "workload castai-agent DaemonSet ds", "statefulset": "workload castai-agent StatefulSet s",
		"current": "workload castai-agent ReplicaSet current", "bare": "workload castai-agent ReplicaSet bare", "job": "workload castai-agent Job j",
		"cronjob": "workload castai-agent CronJob c",
		"main":    "pod castai-agent Pod p", "init": "pod castai-agent Pod p", "scan": "pod castai-agent Pod p", "volume": "pod castai-agent Pod p",
	} {
		want["quay.io/acme/"+image+":1"] = origin
	}
	if d := cmp.Diff(want, origins(l)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestRewrittenImagesAreListedByTheirOriginals(t *testing.T) {
	const public, private = "ghcr.io/castai/images/agent:v1", ecr + "/agent:v1"
	for name, tc := range map[string]struct{ image, annotation, want string }{
		"by the annotation":                                    {private, `{"containers/main":"` + public + `"}`, public},
		"not by the annotation of another field":               {private, `{"containers/other":"` + public + `"}`, private},
		"not by an annotation that the rules contradict":       {private, `{"containers/main":"quay.io/acme/x:1"}`, private},
		"not by one that is no JSON":                           {private, `{`, private},
		"an image changed since then is taken as it is":        {"quay.io/acme/new:1", `{"containers/main":"` + public + `"}`, "quay.io/acme/new:1"},
		"without an annotation its source is simply not known": {private, ``, private},
	} {
		t.Run(name, func(t *testing.T) {
			m := meta("p")
			if tc.annotation != "" {
				m.Annotations = map[string]string{podspec.OriginalImages: tc.annotation}
			}
			l := newList(t)
			if _, err := Read(t.Context(), fake.NewClientset(&corev1.Pod{ObjectMeta: m, Spec: template(tc.image).Spec}), l); err != nil {
				t.Fatal(err)
			}
			if i := l.Images()[0]; i.Source != tc.want || i.Copy != (tc.want != private) {
				t.Errorf("%+v, want %s", i, tc.want)
			}
		})
	}
}

// store keeps a revision as Helm itself does.
func store(t *testing.T, client *fake.Clientset, name string, version int, status releasecommon.Status) {
	t.Helper()
	workload := func(kind, image string) string {
		return fmt.Sprintf("---\n# Source: chart/x.yaml\napiVersion: batch/v1\nkind: %s\nmetadata: {name: x}\nspec: {template: {spec: {containers: [{name: a, image: %q}]}}}\n", kind, image)
	}
	r := &helm.Release{
		Name: name, Namespace: ns, Version: version, Info: &helm.Info{Status: status}, Config: map[string]any{"apiKey": secret},
		Manifest: workload("Deployment", fmt.Sprintf("quay.io/acme/%s:%d", name, version)),
		Hooks:    []*helm.Hook{{Name: "h", Manifest: workload("Job", fmt.Sprintf("quay.io/acme/%s-hook:%d", name, version))}},
	}
	key := fmt.Sprintf("sh.helm.release.v1.%s.v%d", name, version)
	if err := driver.NewSecrets(client.CoreV1().Secrets(ns)).Create(key, r); err != nil {
		t.Fatal(err)
	}
}

func TestTheCurrentRevisionsOfAReleaseAreRead(t *testing.T) {
	client := fake.NewClientset(&corev1.Secret{ObjectMeta: meta("other"), Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"release": []byte("x")}})
	store(t, client, "plain", 2, releasecommon.StatusSuperseded)
	store(t, client, "plain", 9, releasecommon.StatusSuperseded)
	store(t, client, "plain", 10, releasecommon.StatusDeployed)
	store(t, client, "failed", 1, releasecommon.StatusDeployed)
	store(t, client, "failed", 2, releasecommon.StatusFailed)
	store(t, client, "failed", 3, releasecommon.StatusPendingUpgrade)
	store(t, client, "first", 1, releasecommon.StatusFailed)
	store(t, client, "recovered", 1, releasecommon.StatusFailed)
	store(t, client, "recovered", 2, releasecommon.StatusDeployed)
	store(t, client, "gone", 4, releasecommon.StatusUninstalled)
	l := newList(t)
	seen, err := Read(t.Context(), client, l)
	if err != nil || seen != 5 {
		t.Fatalf("%d seen, %v", seen, err)
	}
	want := map[string]string{}
	for _, r := range []struct{ name, tag, status string }{{"plain", "10", ""}, {"failed", "1", ""}, {"failed", "3", " (pending-upgrade)"}, {"first", "1", " (failed)"}, {"recovered", "2", ""}} {
		origin := fmt.Sprintf("release castai-agent/%s revision %s%s ", r.name, r.tag, r.status)
		want["quay.io/acme/"+r.name+":"+r.tag] = origin + "Deployment x"
		want["quay.io/acme/"+r.name+"-hook:"+r.tag] = origin + "Job x"
	}
	if d := cmp.Diff(want, origins(l)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestADamagedReleaseIsNamed(t *testing.T) {
	m := meta("sh.helm.release.v1.agent.v1")
	m.Labels = map[string]string{"owner": "helm", "name": "agent", "status": "deployed", "version": "1"}
	_, err := Read(t.Context(), fake.NewClientset(&corev1.Secret{ObjectMeta: m, Type: releaseType, Data: map[string][]byte{"release": []byte(secret)}}), newList(t))
	if err == nil || !strings.Contains(err.Error(), "secret castai-agent/sh.helm.release.v1.agent.v1 is not a release") || strings.Contains(err.Error(), secret) {
		t.Error(err)
	}
}

func TestAllMissingRightsAreNamedAtOnce(t *testing.T) {
	client := fake.NewClientset(&corev1.Pod{ObjectMeta: meta("p"), Spec: template("quay.io/acme/x:1").Spec})
	for _, resource := range []string{"secrets", "cronjobs"} {
		client.PrependReactor("list", resource, func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New("no"))
		})
	}
	seen, err := Read(t.Context(), client, newList(t))
	if err == nil || seen != 1 {
		t.Fatalf("%d seen, %v", seen, err)
	}
	for _, part := range []string{"list secrets in namespace castai-agent", "list cronjobs.batch in namespace castai-agent", "kubectl create role privatelink-images -n castai-agent --verb=list --resource=deployments.apps,"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("lacks %q: %v", part, err)
		}
	}
}

func TestAllPagesAreRead(t *testing.T) {
	var tokens []string
	s := source{page: func(_ context.Context, o metav1.ListOptions) (string, error) {
		tokens = append(tokens, o.Continue)
		return map[string]string{"": "b", "b": "c"}[o.Continue], nil
	}}
	if err := s.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"", "b", "c"}, tokens); d != "" {
		t.Error(d)
	}
}
