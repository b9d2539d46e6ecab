// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/catalog"
)

// TestTheListOfImagesOfACluster asks for the images of a cluster as a person
// does: first without the rights, then with the role that the refusal spells out.
func TestTheListOfImagesOfACluster(t *testing.T) {
	const ownNamespace = "images"
	shipped(t)
	namespace(t, Namespace)
	namespace(t, ownNamespace)
	t.Cleanup(func() {
		if err := h.Client.CoreV1().Namespaces().Delete(testCtx, ownNamespace, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})

	// What the webhook rewrote goes back to its original by the annotation.
	p := create(t, Namespace, pod("images-of-a-cluster", "quay.io/acme/rewritten:1"))
	if got := p.Spec.Containers[0].Image; got != ecr+"/quay.io/acme/rewritten:1" {
		t.Fatalf("the webhook left %s", got)
	}
	asleep(t, ownNamespace)
	release(t, ownNamespace)

	dir := t.TempDir()
	config, kubeconfig := filepath.Join(dir, "privatelink.yaml"), filepath.Join(dir, "kubeconfig")
	text := fmt.Sprintf("registry: %s\nnamespaces: [%s, %s]\n", ecr, Namespace, ownNamespace)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, nil, "create", "serviceaccount", "lister", "-n", ownNamespace)
	token, err := h.Token(testCtx, ownNamespace, "lister")
	if err == nil {
		err = h.WriteKubeconfig(kubeconfig, token)
	}
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"images", "--config", config, "--cluster", "--kubeconfig", kubeconfig, "-o", "json"}

	_, err = h.Privatelink(testCtx, args...)
	if err == nil {
		t.Fatal("the images were listed without any right")
	}
	_, advice, ok := strings.Cut(err.Error(), "Helm keeps releases in Secrets: ")
	if !ok || !strings.Contains(err.Error(), "list secrets in namespace "+ownNamespace) || !strings.Contains(err.Error(), "list deployments.apps in namespace "+Namespace) {
		t.Fatal(err)
	}
	for command := range strings.SplitSeq(advice, " && ") {
		kubectl(t, nil, strings.Fields(command)[1:]...)
	}
	for _, n := range []string{ownNamespace, Namespace} {
		kubectl(t, nil, "create", "rolebinding", "privatelink-images", "-n", n, "--role=privatelink-images", "--serviceaccount="+ownNamespace+":lister")
	}
	t.Cleanup(func() {
		kubectl(t, nil, "delete", "role,rolebinding", "privatelink-images", "-n", Namespace)
	})

	var images []catalog.Entry
	out, err := h.Privatelink(testCtx, args...)
	if err == nil {
		err = json.Unmarshal(out, &images)
	}
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]catalog.Entry{}
	for _, i := range images {
		found[i.Source] = i
	}
	for source, origin := range map[string]string{
		"quay.io/acme/rewritten:1":                                "pod " + Namespace + " Pod images-of-a-cluster",
		"quay.io/acme/scaled:1":                                   "workload images Deployment scaled",
		"quay.io/acme/asleep:0":                                   "workload images CronJob asleep-0",
		fmt.Sprintf("quay.io/acme/asleep:%d", cronJobs-1):         fmt.Sprintf("workload images CronJob asleep-%d", cronJobs-1),
		"quay.io/acme/released:1":                                 "release images/agent revision 2 Deployment released",
		"quay.io/acme/hook:1":                                     "release images/agent revision 2 Job hook",
		"us-docker.pkg.dev/castai-hub/library/kvisor-scanners:v7": "rule us-docker.pkg.dev/castai-hub/library/kvisor-controller:v7 requests kvisor-scanners with its own tag",
	} {
		i, ok := found[source]
		if !ok || !i.Copy || i.Origins[0].String() != origin {
			t.Errorf("%s: want it from %q, have %+v", source, origin, i)
		}
	}
	if old, ok := found["quay.io/acme/superseded:1"]; ok {
		t.Errorf("an old revision is listed: %+v", old)
	}
}

// cronJobs are more than come in one page.
const cronJobs = 120

// asleep makes workloads that have no pods.
func asleep(t *testing.T, namespace string) {
	t.Helper()
	none, suspend := int32(0), true
	labels := map[string]string{"app": "scaled"}
	template := func(image string) corev1.PodTemplateSpec {
		p := pod("", image)
		p.Labels = labels
		return corev1.PodTemplateSpec{ObjectMeta: p.ObjectMeta, Spec: p.Spec}
	}
	scaled := template("quay.io/acme/scaled:1")
	scaled.Spec.Containers = append(scaled.Spec.Containers, corev1.Container{Name: "kvisor", Image: "us-docker.pkg.dev/castai-hub/library/kvisor-controller:v7"})
	_, err := h.Client.AppsV1().Deployments(namespace).Create(testCtx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "scaled"},
		Spec:       appsv1.DeploymentSpec{Replicas: &none, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: scaled},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range cronJobs {
		job := template(fmt.Sprintf("quay.io/acme/asleep:%d", n))
		job.Spec.RestartPolicy = corev1.RestartPolicyNever
		_, err := h.Client.BatchV1().CronJobs(namespace).Create(testCtx, &batchv1.CronJob{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("asleep-%d", n)},
			Spec:       batchv1.CronJobSpec{Schedule: "0 0 1 1 *", Suspend: &suspend, JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: job}}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// release stores two revisions as Helm does.
func release(t *testing.T, namespace string) {
	t.Helper()
	const object = "kind: %s\nmetadata: {name: %s}\nspec: {template: {spec: {containers: [{name: a, image: quay.io/acme/%[2]s:1}]}}}\n"
	for n, r := range []struct{ status, name string }{{"superseded", "superseded"}, {"deployed", "released"}} {
		text, err := json.Marshal(map[string]any{
			"name": "agent", "manifest": "---\n" + fmt.Sprintf(object, "Deployment", r.name),
			"hooks": []any{map[string]any{"manifest": fmt.Sprintf(object, "Job", "hook")}},
		})
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		if err == nil {
			_, err = w.Write(text)
		}
		if err == nil {
			err = w.Close()
		}
		if err == nil {
			version := fmt.Sprint(n + 1)
			_, err = h.Client.CoreV1().Secrets(namespace).Create(testCtx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Name: "sh.helm.release.v1.agent.v" + version, Labels: map[string]string{"owner": "helm", "name": "agent", "status": r.status, "version": version}},
				Type:       "helm.sh/release.v1", Data: map[string][]byte{"release": []byte(base64.StdEncoding.EncodeToString(packed.Bytes()))},
			}, metav1.CreateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
