// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/test/isolated/ecr"
)

// End-to-end onboarding, in the order of a customer. Each step needs the one
// before it.
func TestOnboarding(t *testing.T) {
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"without the webhook no pod starts and no hook ends", onboardWithoutWebhook},
		{"the webhook runs from its own image in ECR, under its own restrictions", installWebhook},
		{"the same onboarding succeeds, and no pull ever fails", onboardWithWebhook},
		{"an upgrade that names new public tags succeeds, and no pull ever fails", upgradeWorkloads},
		{"every image of the vendor's catalog is pulled by its public name", pullCatalog},
		{"kubectl debug works with a public image", debugWithPublicImage},
		{"only an update that sets an image restarts a container", updateBarePods()},
		{"uninstalling leaves nothing and delays no pod", uninstall()},
	} {
		if !t.Run(step.name, step.run) {
			t.FailNow()
		}
	}
}

// The same with the policy engine, which has no image and no pods.
func TestOnboardingWithPolicy(t *testing.T) {
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"the policy is in force, and the bundle has no pods", installPolicy},
		{"the onboarding succeeds, and no pull ever fails", onboardWithWebhook},
		{"an upgrade that names new public tags succeeds, and no pull ever fails", upgradeWorkloads},
		{"every image of the vendor's catalog is pulled by its public name", pullCatalog},
		{"kubectl debug works with a public image", debugWithPublicImage},
		{"only an update that sets an image restarts a container", updateBarePods("--engine", "policy")},
		{"uninstalling leaves nothing and delays no pod", uninstall("--engine", "policy")},
	} {
		if !t.Run(step.name, step.run) {
			t.FailNow()
		}
	}
}

func installPolicy(t *testing.T) {
	kubectl(t, "", "create", "namespace", agentNamespace)
	begin := time.Now()
	kubectl(t, privatelink(t, "install", "--registry", Registry, "--engine", "policy"), "apply", "-f", "-")
	eventually(t, 30*time.Second, func(ctx context.Context) error { // the API server reads policies for itself
		p, err := n.Client.CoreV1().Pods(agentNamespace).Create(ctx, pod("dry-run", loadImages[0]), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && !private(p.Spec.Containers[0].Image) {
			err = fmt.Errorf("a pod gets %s", p.Spec.Containers[0].Image)
		}
		return err
	})
	reportf("\nthe policy: in force %s after `privatelink install --engine policy | kubectl apply -f -`", since(begin))
	if out := kubectl(t, "", "get", "namespace", deploy.Namespace, "--ignore-not-found", "--output=name"); out != "" {
		t.Errorf("unexpected: %s", out)
	}
}

func onboardWithoutWebhook(t *testing.T) {
	o, begin := observe(t), time.Now()
	onboard(t)
	// Every pod with a public image: not one that starts, and later does not.
	eventually(t, 60*time.Second, func(ctx context.Context) error {
		pods, err := n.Client.CoreV1().Pods(agentNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		var errs []error
		for _, p := range pods.Items {
			if slices.ContainsFunc(imagesOf(p.Spec), func(i string) bool { return !private(i) }) && !stuck(p) {
				errs = append(errs, fmt.Errorf("%s is not stuck yet", p.Name))
			}
		}
		return errors.Join(errs...)
	})
	reportf("\nwithout the webhook: %s are stuck after %s", o, since(begin))
	jobs, err := n.Client.BatchV1().Jobs(agentNamespace).List(testCtx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs.Items {
		if j.Status.Succeeded > 0 {
			t.Errorf("the Job %s succeeded: this is no isolated cluster", j.Name)
		}
	}
	if len(jobs.Items) == 0 || len(o.failed()) == 0 {
		t.Errorf("%d Jobs, %d failed pulls: there is nothing to see", len(jobs.Items), len(o.failed()))
	}
	clean(t)
}

// stuck reports whether a pod waits for an image that cannot be pulled.
func stuck(p corev1.Pod) bool {
	return slices.ContainsFunc(statuses(p), func(s corev1.ContainerStatus) bool {
		return s.State.Waiting != nil && slices.Contains(pullFailures, s.State.Waiting.Reason)
	})
}

func installWebhook(t *testing.T) {
	begin := time.Now()
	install(t)
	reportf("the webhook: ready %s after `privatelink install | kubectl apply -f -`", since(begin))
	pods, err := n.Client.CoreV1().Pods(deploy.Namespace).List(testCtx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	image := Registry + "/" + deploy.Image + ":" + n.Version
	for _, p := range pods.Items {
		s := p.Status.ContainerStatuses[0]
		if s.Image != image || !strings.HasPrefix(s.ImageID, Registry+"/"+deploy.Image+"@sha256:") || !s.Ready || s.RestartCount > 0 {
			t.Errorf("%s: image %s (%s), ready %v, %d restarts; want %s", p.Name, s.Image, s.ImageID, s.Ready, s.RestartCount, image)
		}
	}
	if len(pods.Items) != 2 {
		t.Errorf("%d pods of the webhook, want 2", len(pods.Items))
	}
	if !pulled(n.ECR.Log(), image) {
		t.Error("its image was not pulled")
	}
	t.Run("its restrictions are in force", isConfined)
	t.Run("its namespace takes nothing less restricted", func(t *testing.T) {
		_, err := n.Kubectl(testCtx, nil, "run", "careless", "--namespace", deploy.Namespace, "--image", image)
		if err == nil || !strings.Contains(err.Error(), "violates PodSecurity") {
			t.Errorf("error %v, want a violation of PodSecurity", err)
		}
	})
	t.Run("it published the certificate's authority itself", func(t *testing.T) {
		c, err := n.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(testCtx, deploy.ConfigurationName, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range c.Webhooks {
			if !bytes.Contains(w.ClientConfig.CABundle, []byte("BEGIN CERTIFICATE")) {
				t.Errorf("%s: caBundle is %q", w.Name, w.ClientConfig.CABundle)
			}
		}
	})
}

func onboardWithWebhook(t *testing.T) {
	o, begin, before := observe(t), time.Now(), len(n.ECR.Log())
	onboard(t)
	eventually(t, 120*time.Second, complete)
	reportf("with the webhook: %s; all run or are completed after %s", o, since(begin))
	o.clean(t)

	got, refused := 0, 0
	all := n.ECR.Log()
	for _, r := range all[before:] {
		switch {
		case r.Host != Host && r.Host != AddOnHost:
			t.Errorf("unexpected request for %s at %s", r.Path, r.Host)
		case r.For == ecr.User && r.Status >= 300:
			t.Errorf("%s %s: status %d", r.Method, r.Path, r.Status)
		case r.For == "" && r.Status == http.StatusUnauthorized:
			refused++ // a client asks for the way to authenticate first
		case r.Method == http.MethodHead && strings.Contains(r.Path, "/manifests/"):
			got++ // by its tag; what is behind it may be here already
		}
	}
	if got == 0 || refused == 0 {
		t.Errorf("%d images asked for, %d requests without a password refused: the log is not credible", got, refused)
	}
	reportf("the registry's log of it: %d images asked for in %d requests, all at %s and %s", got, len(all)-before, Host, AddOnHost)
	for image := range o.images {
		if !pulled(all, image) { // in all of the log: private ones were pulled before the webhook was installed
			t.Errorf("the registry was never asked for %s", image)
		}
	}
}

// pulled reports whether containerd asked for the manifest of a private image, and was
// answered. What the manifest names may be on the node already.
func pulled(log []ecr.Request, image string) bool {
	name, _, _ := strings.Cut(image, "@")
	host, repository, _ := strings.Cut(name, "/")
	repository, _, _ = strings.Cut(repository, ":")
	return slices.ContainsFunc(log, func(r ecr.Request) bool {
		return r.Host == host && r.Status == http.StatusOK && strings.HasPrefix(r.Path, "/v2/"+repository+"/manifests/") && strings.HasPrefix(r.Client, "containerd/")
	})
}

func upgradeWorkloads(t *testing.T) {
	var texts []string
	for _, text := range workloads(t) {
		if text := next(text); text != "" {
			texts = append(texts, text)
		}
	}
	if err := n.Publish(testCtx, texts...); err != nil { // as the mirror does before
		t.Fatal(err)
	}
	o, begin := observe(t), time.Now()
	// Helm deletes hooks before it creates them again.
	kubectl(t, "", "delete", "job", "--namespace", agentNamespace, "--all")
	for _, text := range texts {
		kubectl(t, text, "apply", "-f", "-")
	}
	eventually(t, 120*time.Second, complete)
	reportf("the upgrade: %s; all run or are completed after %s", o, since(begin))
	o.clean(t)
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.images[Registry+"/agent:v0.161.1-next"] {
		t.Error("there is no new agent")
	}
}

// everyImage mounts the images instead of running them, which takes the same
// pulls and a hundredth of the processes.
func pullCatalog(t *testing.T) {
	o, begin, images := observe(t), time.Now(), CatalogImages()
	for i, part := range slices.Collect(slices.Chunk(images, 40)) {
		p := pod(fmt.Sprintf("catalog-%d", i), part[0])
		p.Spec.SchedulerName = ""
		for j, image := range part {
			volume := fmt.Sprintf("image-%d", j)
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: image}}})
			p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: "/" + volume, ReadOnly: true})
		}
		if _, err := n.Client.CoreV1().Pods(agentNamespace).Create(testCtx, p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 90*time.Second, complete)
	reportf("the catalog: %d images pulled after %s", len(images), since(begin))
	o.clean(t)
	log := n.ECR.Log()
	for _, image := range images {
		if target := n.Rules.Image(image).Target; !pulled(log, target) {
			t.Errorf("the registry was never asked for %s", target)
		}
	}
}

func debugWithPublicImage(t *testing.T) {
	if err := n.Publish(testCtx, "kind: Pod\nspec: {containers: [{image: "+debugImage+"}]}"); err != nil {
		t.Fatal(err)
	}
	o, begin := observe(t), time.Now()
	kubectl(t, "", "debug", "pod/toolbox", "--namespace", agentNamespace, "--image="+debugImage, "--target=sleep", "--container=debugger", "--attach=false", "--quiet")
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		p, err := n.Client.CoreV1().Pods(agentNamespace).Get(ctx, "toolbox", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, s := range p.Status.EphemeralContainerStatuses {
			if s.Name == "debugger" && s.State.Running != nil {
				return nil
			}
		}
		return fmt.Errorf("ephemeral containers: %+v", p.Status.EphemeralContainerStatuses)
	})
	reportf("kubectl debug with %s: runs after %s", debugImage, since(begin))
	o.clean(t)
	o.mu.Lock()
	defer o.mu.Unlock()
	if image := n.Rules.Image(debugImage).Target; !o.images[image] {
		t.Errorf("no pod has %s: %v", image, o.images)
	}
}

// uninstall takes away what was installed with these options.
func uninstall(options ...string) func(*testing.T) {
	return func(t *testing.T) {
		uninstallManifests(t, privatelink(t, append([]string{"install", "--registry", Registry}, options...)...))
	}
}

func uninstallManifests(t *testing.T, manifests string) {
	begin := time.Now()
	kubectl(t, "", "delete", "namespace", agentNamespace, "--wait=false")
	kubectl(t, manifests, "delete", "-f", "-", "--timeout=90s")
	clean(t)
	reportf("the uninstallation, workloads included: %s", since(begin))
	if out := kubectl(t, manifests, "get", "-f", "-", "--ignore-not-found", "--output=name"); out != "" {
		t.Errorf("left: %s", out)
	}
	nothingIsLeft(t)
	// Pods of the namespace are not intercepted any more.
	kubectl(t, "", "create", "namespace", agentNamespace)
	eventually(t, 10*time.Second, func(ctx context.Context) error {
		_, err := n.Client.CoreV1().Pods(agentNamespace).Create(ctx, pod("after", "ghcr.io/castai/images/agent:v1"), metav1.CreateOptions{})
		if apierrors.IsForbidden(err) {
			return err // its service account is not there yet
		}
		if err != nil {
			t.Error(err)
		}
		return nil
	})
	if p, err := n.Client.CoreV1().Pods(agentNamespace).Get(testCtx, "after", metav1.GetOptions{}); err != nil || p.Spec.Containers[0].Image != "ghcr.io/castai/images/agent:v1" {
		t.Errorf("a pod after the uninstallation: %v %v", p.Spec.Containers, err)
	}
	clean(t)
}

// nothingIsLeft requires that the cluster has no object of the bundle.
func nothingIsLeft(t *testing.T) {
	t.Helper()
	for _, kind := range []string{"mutatingwebhookconfigurations", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "validatingadmissionpolicies", "validatingadmissionpolicybindings", "clusterroles", "clusterrolebindings", "namespaces", "leases --all-namespaces", "priorityclasses"} {
		if out := kubectl(t, "", append([]string{"get", "--output=name"}, strings.Fields(kind)...)...); strings.Contains(out, "privatelink") {
			t.Errorf("left: %s", out)
		}
	}
}

// pod is one that is stored and never scheduled.
func pod(name, image string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{SchedulerName: "none", Containers: []corev1.Container{{Name: "main", Image: image}}},
	}
}
