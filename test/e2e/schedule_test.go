// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/chart/common"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

const (
	mirrorNamespace = "castai-mirror"
	mirrorLock      = "configmap://castai-mirror/privatelink-lock"
)

// The schedule is applied as it is shipped, but for the registry. Its runs are done by
// processes with the rights of its account and with its arguments.
func TestSchedule(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(h.Root, "deploy", "mirror"))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "privatelink.yaml")
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, bytes.Replace(text, []byte("ACCOUNT.dkr.ecr.REGION"), []byte("123456789012.dkr.ecr.us-east-1"), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	apply := func() {
		t.Helper()
		kubectl(t, nil, "apply", "--validate=strict", "-f", filepath.Join(dir, "namespace.yaml"))
		out, err := h.Kubectl(testCtx, nil, "apply", "--validate=strict", "--warnings-as-errors", "-k", dir)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	apply()
	t.Cleanup(func() { gone(t, mirrorNamespace) })
	patchSchedule(t, `{"suspend":true}`) // a Job of its own at minute 17 would count as one of this test

	job, err := h.Client.BatchV1().CronJobs(mirrorNamespace).Get(testCtx, "privatelink-mirror", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := job.Spec
	if s.ConcurrencyPolicy != "Forbid" || *s.StartingDeadlineSeconds < 10 || *s.JobTemplate.Spec.ActiveDeadlineSeconds <= 0 {
		t.Errorf("a run may overlap with another, be given up after a long suspension, or hang: %+v", s)
	}
	container := s.JobTemplate.Spec.Template.Spec.Containers[0]
	for _, want := range []string{"mirror", "--track", "--lock=" + mirrorLock} {
		if !strings.Contains(strings.Join(container.Args, " ")+" ", want+" ") {
			t.Errorf("the arguments %v lack %s", container.Args, want)
		}
	}

	r := newScheduled(t)
	r.publish("1.0.0", "a")
	r.run(t)
	if got := lockedImages(t); got != "a" {
		t.Fatalf("after the first run the lock has %q", got)
	}
	before := lockVersion(t)
	r.run(t)
	if after := lockVersion(t); after != before {
		t.Errorf("a run without news changed the lock from version %s to %s", before, after)
	}
	apply() // leaves what runs have written
	if got := lockedImages(t); got != "a" {
		t.Errorf("after another kubectl apply the lock has %q", got)
	}
	t.Run("two runs at once", func(t *testing.T) {
		r.publish("1.1.0", "b")
		other := newScheduled(t)
		other.publish("1.0.0", "c")
		other.privateHost = r.privateHost
		var both sync.WaitGroup
		for _, run := range []*scheduled{r, other} {
			both.Go(func() { run.run(t) })
		}
		both.Wait()
		if got := lockedImages(t); !strings.Contains(got, "b") || !strings.Contains(got, "c") {
			t.Errorf("the lock has %q", got)
		}
	})
	t.Run("a long suspension and a run that hangs", testStopped)
	t.Run("without the right to update the lock", func(t *testing.T) {
		kubectl(t, nil, "delete", "rolebinding", "--namespace="+mirrorNamespace, "privatelink-mirror")
		r.publish("1.2.0", "d")
		out, err := r.try()
		if err == nil || !strings.Contains(string(out), "forbidden") || fakeregistryHas(r.privateHost, "d") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// A schedule that was suspended for 300 runs goes on, and a run that hangs ends at its
// deadline, so that it does not stop the next ones.
func testStopped(t *testing.T) {
	jobs := h.Client.BatchV1().CronJobs(mirrorNamespace)
	patchSchedule(t, `{"suspend":true,"schedule":"* * * * *"}`)
	eventually(t, 10*time.Second, func() error {
		c, err := jobs.Get(testCtx, "privatelink-mirror", metav1.GetOptions{})
		if err != nil {
			return err
		}
		c.Status.LastScheduleTime = &metav1.Time{Time: time.Now().Add(-300 * time.Minute)}
		_, err = jobs.UpdateStatus(testCtx, c, metav1.UpdateOptions{})
		return err
	})
	patchSchedule(t, `{"suspend":false,"jobTemplate":{"spec":{"activeDeadlineSeconds":3}}}`)
	eventually(t, 30*time.Second, func() error {
		runs, err := h.Client.BatchV1().Jobs(mirrorNamespace).List(testCtx, metav1.ListOptions{})
		if err != nil || len(runs.Items) == 0 {
			return fmt.Errorf("no run: %w", err)
		}
		for _, c := range runs.Items[0].Status.Conditions {
			if c.Type == batchv1.JobFailed && c.Reason == batchv1.JobReasonDeadlineExceeded {
				return nil
			}
		}
		return fmt.Errorf("the run has not failed: %+v", runs.Items[0].Status)
	})
	eventually(t, 30*time.Second, func() error {
		c, err := jobs.Get(testCtx, "privatelink-mirror", metav1.GetOptions{})
		if err == nil && len(c.Status.Active) > 0 {
			err = fmt.Errorf("runs that have ended count as active: %+v", c.Status)
		}
		return err
	})
	patchSchedule(t, `{"suspend":true,"schedule":"17 * * * *"}`)
}

// patchSchedule changes the spec of the CronJob.
func patchSchedule(t *testing.T, spec string) {
	t.Helper()
	kubectl(t, nil, "patch", "cronjob", "--namespace="+mirrorNamespace, "privatelink-mirror", "--patch", `{"spec":`+spec+`}`)
}

// scheduled is a public and a private registry, and a repository of charts.
type scheduled struct {
	public, privateHost string
	dir, kubeconfig     string
	mu                  sync.Mutex
	index               string
	push                func(name string)
	pack                func(version, name string) string
	url                 string
}

func newScheduled(t *testing.T) *scheduled {
	t.Helper()
	public, private := fakeregistry.Start(t), fakeregistry.Start(t)
	r := &scheduled{public: strings.Replace(public.Host, "127.0.0.1", "0.0.0.0", 1), privateHost: private.Host, dir: t.TempDir(), index: "apiVersion: v1\nentries:\n  agent:\n"}
	files := http.FileServer(http.Dir(r.dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path != "/index.yaml" {
			files.ServeHTTP(w, q)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		fmt.Fprint(w, r.index)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	r.push = func(name string) { fakeregistry.Push(t, public.Host+"/"+name+":1", fakeregistry.MultiArch(t, 3000, 1)) }
	r.pack = func(version, name string) string {
		c := &chartv2.Chart{
			Metadata:  &chartv2.Metadata{APIVersion: "v2", Name: "agent", Version: version},
			Templates: []*common.File{{Name: "templates/pod.yaml", Data: []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: " + r.public + "/" + name + ":1}]}\n")}},
		}
		file, err := chartutil.Save(c, r.dir)
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Base(file)
	}
	config, err := clientcmd.LoadFromFile(h.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range config.AuthInfos {
		user.Impersonate = "system:serviceaccount:" + mirrorNamespace + ":privatelink-mirror"
	}
	r.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, r.kubeconfig); err != nil {
		t.Fatal(err)
	}
	return r
}

// publish publishes a version of the chart with one image.
func (r *scheduled) publish(version, image string) {
	r.push(image)
	file := r.pack(version, image)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.index += fmt.Sprintf("  - {version: %s, urls: [%s]}\n", version, file)
}

func (r *scheduled) run(t *testing.T) {
	t.Helper()
	if out, err := r.try(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// try does a run, with another registry and repository than the shipped ones.
func (r *scheduled) try() ([]byte, error) {
	file := filepath.Join(r.dir, "privatelink.yaml")
	if err := os.WriteFile(file, []byte("registry: "+r.privateHost+"/mirror\ntrack: {repository: '"+r.url+"', charts: [agent], newest: 1}\n"), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(testCtx, h.CLI(), "mirror", "--config="+file, "--track", "--lock="+mirrorLock, "--no-webhook-image", "--plain-http", r.public)
	cmd.Env = []string{"KUBECONFIG=" + r.kubeconfig, "HOME=" + r.dir}
	return cmd.CombinedOutput()
}

func fakeregistryHas(host, name string) bool {
	response, err := http.Get("http://" + host + "/v2/mirror/" + name + "/tags/list")
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// lockedImages are the names of the images in the lock.
func lockedImages(t *testing.T) string {
	t.Helper()
	text := kubectl(t, nil, "get", "configmap", "--namespace="+mirrorNamespace, "privatelink-lock", "-o", `jsonpath={.data.privatelink\.lock\.yaml}`)
	l, err := lock.Parse("the lock", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range l.Images {
		names = append(names, strings.TrimSuffix(filepath.Base(e.Target), ":1"))
	}
	return strings.Join(names, " ")
}

func lockVersion(t *testing.T) string {
	t.Helper()
	c, err := h.Client.CoreV1().ConfigMaps(mirrorNamespace).Get(testCtx, "privatelink-lock", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c.ResourceVersion
}
