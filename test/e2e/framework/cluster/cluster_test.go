// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package cluster

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const demo = `
apiVersion: v1
kind: Namespace
metadata: {name: demo}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: demo, namespace: demo}
spec:
  selector: {matchLabels: {app: demo}}
  template:
    metadata: {labels: {app: demo}}
    spec: {containers: [{name: main, image: "example.com/demo:v1"}]}
`

func TestADeploymentBecomesAPodAndOutlivesItsServers(t *testing.T) {
	c := start(t, Config{FeatureGates: map[string]bool{"AllBeta": true}, RuntimeConfig: map[string]string{"api/beta": "true"}})
	pids, dir := c.pids(), c.dir
	kubectl := func(stdin string, args ...string) string {
		t.Helper()
		out, err := c.Kubectl(t.Context(), strings.NewReader(stdin), args...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	image := func() string {
		t.Helper()
		return kubectl("", "get", "pods", "-n", "demo", "-l", "app=demo", "-o", "jsonpath={.items[*].spec.containers[*].image}")
	}

	kubectl(demo, "apply", "-f", "-")
	kubectl("", "wait", "-n", "demo", "deployment/demo", "--for=jsonpath={.status.replicas}=1", "--timeout=30s")
	if got, want := image(), "example.com/demo:v1"; got != want {
		t.Errorf("images of the pods: %q, want %q", got, want)
	}

	for _, component := range []string{APIServer, Etcd} {
		begin := time.Now()
		if err := c.Restart(t.Context(), component); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s restarted in %s", component, time.Since(begin).Round(time.Millisecond))
		if got, want := image(), "example.com/demo:v1"; got != want {
			t.Errorf("images of the pods after a restart of %s: %q, want %q", component, got, want)
		}
	}
	kubectl("", "set", "image", "-n", "demo", "deployment/demo", "main=example.com/demo:v2")
	kubectl("", "wait", "-n", "demo", "deployment/demo", "--for=jsonpath={.status.updatedReplicas}=1", "--timeout=60s")

	pids = append(pids, c.pids()...)
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	if err := c.Stop(); err != nil {
		t.Errorf("a second Stop: %v", err)
	}
	gone(t, pids)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there after Stop (%v)", dir, err)
	}
	if _, err := c.Kubectl(t.Context(), nil, "version"); err == nil {
		t.Error("kubectl still runs after Stop")
	}
}

func TestAServiceAccountIsAnotherUser(t *testing.T) {
	c := start(t, Config{})
	token, err := c.Token(t.Context(), "default", "default")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := c.WriteKubeconfig(path, token); err != nil {
		t.Fatal(err)
	}
	out, err := c.Kubectl(t.Context(), nil, "--kubeconfig", path, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
	if got, want := string(out), "system:serviceaccount:default:default"; err != nil || got != want {
		t.Errorf("whoami: %q (%v), want %q", got, err, want)
	}
	_, err = c.Kubectl(t.Context(), nil, "--kubeconfig", path, "get", "secrets")
	if err == nil || !strings.Contains(err.Error(), "is forbidden") {
		t.Errorf("reading secrets: error %v, want Forbidden", err)
	}
}

func TestStartErrorContainsLog(t *testing.T) {
	begin := time.Now()
	_, err := Start(t.Context(), Config{Bin: bin(t), APIServerArgs: []string{"--no-such-flag"}})
	if err == nil || !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
		t.Fatalf("error %v, want the API server's message", err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("the error took %s", took)
	}
}

// The child process runs this test with a variable that makes it hold a cluster.
func TestKilledTestLeavesNoProcess(t *testing.T) {
	const variable = "PRIVATELINK_TEST_HOLD_CLUSTER"
	if os.Getenv(variable) != "" {
		c, err := Start(t.Context(), Config{Bin: bin(t), Dir: os.Getenv(variable)})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("pids", c.pids()[0], c.pids()[1], c.pids()[2])
		select {}
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), variable+"="+t.TempDir())
	child.Stderr = os.Stderr
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	pids := make([]int, 3)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if n, _ := fmt.Sscanf(lines.Text(), "pids %d %d %d", &pids[0], &pids[1], &pids[2]); n == 3 {
			break
		}
	}
	if pids[2] == 0 {
		t.Fatalf("the child held no cluster: %v", child.Wait())
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed
	gone(t, pids)
}

func bin(t *testing.T) string {
	t.Helper()
	bin, err := Build(t.Context(), ".", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func start(t *testing.T, cfg Config) *Cluster {
	t.Helper()
	cfg.Bin, cfg.Log = bin(t), t.Output()
	c, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *Cluster) pids() []int {
	var pids []int
	for _, p := range c.running {
		pids = append(pids, p.child.Process.Pid)
	}
	return pids
}

// gone gives orphans a moment: their new parent has to reap them.
func gone(t *testing.T, pids []int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for _, pid := range pids {
		for alive(pid) {
			select {
			case <-ctx.Done():
				t.Errorf("process %d still runs", pid)
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	// One that ended and was not collected yet counts as gone.
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}
