// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster"
	"github.com/castai/privatelink-webhook/test/e2e/framework/harness"
)

// agentNamespace is the namespace of the CAST AI components.
const agentNamespace = "castai-agent"

// debugImage is the image of the debug container.
const debugImage = "busybox:1.37"

// One node serves all tests, which come in the order of the files.
var (
	n            *Node
	testCtx      context.Context // ends with an interrupt
	measurements []string        // what was measured, printed at the end
)

func reportf(format string, args ...any) {
	measurements = append(measurements, fmt.Sprintf(format, args...))
}

func TestMain(m *testing.M) {
	os.Exit(Run(os.Stderr, func(ctx context.Context, p Programs) int {
		flag.Parse()
		testCtx = ctx
		begin := time.Now()
		manifests, err := onboarding(p.Root)
		if err == nil {
			n, err = Start(ctx, Config{Programs: p, Log: os.Stderr, Dir: os.Getenv("PRIVATELINK_NODE_DIR"), Manifests: manifests})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		reportf("the node is ready, with its control plane and its registry: %s", since(begin))
		code := m.Run()
		fmt.Fprintf(os.Stderr, "\n%s\n\n", strings.Join(measurements, "\n"))
		if code != 0 {
			for _, c := range []string{cluster.Kubelet, Containerd, cluster.APIServer} {
				fmt.Fprintf(os.Stderr, "--- the end of the log of %s\n%s\n", c, n.Tail(c, 10))
			}
		}
		if err := n.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}))
}

func since(begin time.Time) time.Duration { return time.Since(begin).Round(100 * time.Millisecond) }

// onboarding reads the workloads that stand for an onboarding, in their order.
func onboarding(root string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(root, "test", "e2e", "testdata", "onboarding", "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(err, errors.New("there are no onboarding workloads"))
	}
	var texts []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		texts = append(texts, string(text))
	}
	return texts, nil
}

// workloads are the same with a digest that exists, where one stands.
func workloads(t *testing.T) []string {
	t.Helper()
	texts, err := onboarding(n.Root)
	if err != nil {
		t.Fatal(err)
	}
	for i := range texts {
		texts[i] = strings.ReplaceAll(texts[i], corpus.Digest, n.Digest)
	}
	return texts
}

// kubectl fails the test when kubectl fails.
func kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := n.Kubectl(testCtx, strings.NewReader(stdin), args...)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// privatelink is the operator's command line.
func privatelink(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(testCtx, n.CLI(), args...)
	cmd.Env = []string{"KUBECONFIG=" + n.Kubeconfig, "HOME=" + n.dir}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("privatelink %v: %v: %s", args, err, &stderr)
	}
	return string(out)
}

// install does what the README says.
func install(t *testing.T) {
	t.Helper()
	kubectl(t, privatelink(t, "install", "--registry", Registry), "apply", "-f", "-")
	ready(t)
}

// ready waits until both replicas are ready and in the Service.
func ready(t *testing.T) {
	t.Helper()
	kubectl(t, "", "rollout", "status", "--timeout=120s", "--namespace", deploy.Namespace, "deployment/"+deploy.Name)
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		slices, err := n.Client.DiscoveryV1().EndpointSlices(deploy.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		endpoints := 0
		for _, s := range slices.Items {
			for _, e := range s.Endpoints {
				if e.Conditions.Ready != nil && *e.Conditions.Ready {
					endpoints++
				}
			}
		}
		if endpoints != 2 {
			return fmt.Errorf("the Service has %d endpoints that are ready", endpoints)
		}
		return nil
	})
}

// onboard applies the workloads and does what comes after.
func onboard(t *testing.T) {
	t.Helper()
	onboardWith(t, workloads(t))
}

func onboardWith(t *testing.T, texts []string) {
	t.Helper()
	for _, text := range texts {
		kubectl(t, text, "apply", "-f", "-")
	}
	kubectl(t, "", "scale", "--namespace", agentNamespace, "deployment/castai-pod-pinner", "--replicas=2")
	kubectl(t, "", "create", "job", "--namespace", agentNamespace, "hibernate-resume-now", "--from=cronjob/hibernate-resume")
}

// clean removes the namespace and what is in it.
func clean(t *testing.T) {
	t.Helper()
	kubectl(t, "", "delete", "namespace", agentNamespace, "--ignore-not-found", "--timeout=90s")
}

// eventually calls check until it returns nil.
func eventually(t *testing.T, timeout time.Duration, check func(context.Context) error) {
	t.Helper()
	if err := harness.Eventually(testCtx, timeout, check); err != nil {
		t.Fatal(err)
	}
}

// complete returns nil when every workload has all its pods, and these run and
// are ready, or succeeded.
func complete(ctx context.Context) error {
	var missing []error
	miss := func(format string, args ...any) { missing = append(missing, fmt.Errorf(format, args...)) }
	all := metav1.ListOptions{}
	deployments, err1 := n.Client.AppsV1().Deployments(agentNamespace).List(ctx, all)
	daemons, err2 := n.Client.AppsV1().DaemonSets(agentNamespace).List(ctx, all)
	jobs, err3 := n.Client.BatchV1().Jobs(agentNamespace).List(ctx, all)
	pods, err4 := n.Client.CoreV1().Pods(agentNamespace).List(ctx, all)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	for _, d := range deployments.Items {
		if s := d.Status; s.ObservedGeneration < d.Generation || s.Replicas != *d.Spec.Replicas || s.UpdatedReplicas != s.Replicas || s.AvailableReplicas != s.Replicas {
			miss("Deployment %s: %d of %d replicas are available, %d up to date", d.Name, s.AvailableReplicas, *d.Spec.Replicas, s.UpdatedReplicas)
		}
	}
	for _, d := range daemons.Items {
		if s := d.Status; s.ObservedGeneration < d.Generation || s.DesiredNumberScheduled == 0 || s.NumberReady != s.DesiredNumberScheduled || s.UpdatedNumberScheduled != s.DesiredNumberScheduled {
			miss("DaemonSet %s: %d of %d pods are ready", d.Name, s.NumberReady, s.DesiredNumberScheduled)
		}
	}
	for _, j := range jobs.Items {
		if j.Status.Succeeded == 0 {
			miss("Job %s has not succeeded", j.Name)
		}
	}
	for _, p := range pods.Items {
		if p.DeletionTimestamp != nil {
			continue // of an earlier version
		}
		for _, c := range statuses(p) {
			if c.State.Terminated != nil && c.State.Terminated.ExitCode == 0 {
				continue
			}
			if c.State.Running == nil {
				miss("%s/%s does not run: %+v", p.Name, c.Name, c.State)
			}
		}
		if len(statuses(p)) == 0 {
			miss("%s has no containers yet", p.Name)
		}
	}
	return errors.Join(missing...)
}

var tagged = regexp.MustCompile(`(?m)^(\s+(?:- )?image: \S+?/[^\s:]+:)([\w.-]+)(@sha256:\w+)?$`)

// next is the next release of the workloads: every image that has a tag gets
// another one. Pods that no controller makes again are left out.
func next(text string) string {
	var out []string
	for document := range strings.SplitSeq(text, "\n---\n") {
		if !strings.Contains(document, "\nkind: Pod\n") {
			out = append(out, tagged.ReplaceAllString(document, "${1}${2}-next"))
		}
	}
	return strings.Join(out, "\n---\n")
}
