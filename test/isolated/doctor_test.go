// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// fault is one thing that goes wrong, and the check that has to say so: that one
// and no other. What it makes pointless may say that it was not looked at.
type fault struct {
	name   string
	check  string // its ID
	says   string // part of what is found, or of its details
	remedy string // part of what is to be done
	// cause makes it happen and returns what undoes it.
	cause func(*testing.T) (undo func())
}

// diagnosis is a result of the doctor as programs get it.
type diagnosis struct {
	ID, Found, Remedy, Cause string
	Status                   doctor.Status
	Details                  []string
}

// consulting is the operator's machine, from which the doctor looks.
type consulting struct {
	work         workstation
	prefix       string // of the registry
	config, lock string // files
	account      *awsAccount
	args         []string
	engine       []string // options of install; none for the webhook
	longest      time.Duration
}

// examine runs the doctor.
func (c *consulting) examine(ctx context.Context) ([]diagnosis, error) {
	begin := time.Now()
	cmd := exec.CommandContext(ctx, n.CLI(), append([]string{"doctor", "-o", "json"}, c.args...)...)
	cmd.Env = append(c.work.env(), c.account.environment()...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	c.longest = max(c.longest, time.Since(begin))
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() == 2) {
		return nil, fmt.Errorf("%w: %s", err, &stderr)
	}
	var report struct{ Checks []diagnosis }
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		return nil, fmt.Errorf("%w: %s%s", err, &stdout, &stderr)
	}
	failed := slices.ContainsFunc(report.Checks, func(d diagnosis) bool { return d.Status == doctor.Failed })
	if code := cmd.ProcessState.ExitCode(); failed != (code == 3) {
		return nil, fmt.Errorf("exit code %d, and a check failed: %t", code, failed)
	}
	return report.Checks, nil
}

// healthy returns nil when every check is green.
func (c *consulting) healthy(ctx context.Context) error {
	all, err := c.examine(ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("no check ran")
	}
	var errs []error
	for _, d := range all {
		if d.Status != doctor.OK {
			errs = append(errs, fmt.Errorf("%s is %s: %s %v", d.ID, d.Status, d.Found, d.Details))
		}
	}
	return errors.Join(errs...)
}

// finds returns nil when the check of the fault found it, and no other did.
func (c *consulting) finds(ctx context.Context, f fault) error {
	all, err := c.examine(ctx)
	if err != nil {
		return err
	}
	var errs []error
	found := false
	for _, d := range all {
		switch {
		case d.ID == f.check && (d.Status == doctor.Failed || d.Status == doctor.Warning):
			found = true
			if text := d.Found + "\n" + strings.Join(d.Details, "\n"); !strings.Contains(text, f.says) {
				errs = append(errs, fmt.Errorf("it says %q, and not %q", text, f.says))
			}
			if d.Remedy == "" || !strings.Contains(d.Remedy, f.remedy) {
				errs = append(errs, fmt.Errorf("its remedy is %q, and not %q", d.Remedy, f.remedy))
			}
		case d.Status == doctor.OK, d.Status == doctor.Unknown && d.Cause != "":
		default:
			errs = append(errs, fmt.Errorf("%s is %s: %s %v", d.ID, d.Status, d.Found, d.Details))
		}
	}
	if !found {
		errs = append(errs, fmt.Errorf("%s does not find it", f.check))
	}
	return errors.Join(errs...)
}

// table causes one fault after the other, on an environment that is healthy
// before and after.
func (c *consulting) table(t *testing.T, faults []fault) {
	t.Helper()
	eventually(t, 60*time.Second, c.healthy)
	for _, f := range faults {
		if !t.Run(f.name, func(t *testing.T) {
			undo := f.cause(t)
			begin := time.Now()
			eventually(t, 60*time.Second, func(ctx context.Context) error { return c.finds(ctx, f) })
			figure("%-64s %-32s %8s", f.name, f.check, since(begin))
			undo()
			eventually(t, 90*time.Second, c.healthy)
		}) {
			t.FailNow() // what is left of it would be found again
		}
	}
}

func (c *consulting) apply(t *testing.T) {
	t.Helper()
	kubectl(t, privatelink(t, append([]string{"install", "--config", c.config}, c.engine...)...), "apply", "-f", "-")
	if len(c.engine) == 0 {
		ready(t)
	}
}

// The doctor, before a customer whose cluster, registry and network are as they
// should be: all is green. Then one thing after the other is not.
func TestDoctor(t *testing.T) {
	around, account := surround(t), atAWS(t)
	c := customer(t, around.ca)
	c.account = account
	everything := []string{"--config", c.config, "--lock", c.lock, "--eks-cluster", "prod", "--probe"}
	without := func(groups string) []string {
		return append(everything[:len(everything):len(everything)], "--skip", groups)
	}
	figure("\n%-64s %-32s %8s", "fault", "found by", "after")

	c.args = everything
	eventually(t, 60*time.Second, c.healthy)
	figure("the doctor took %s for all of a healthy customer", c.longest.Round(100*time.Millisecond))
	c.table(t, account.faults())
	c.args = without("network,identity,registry/node-role")
	c.table(t, around.insideFaults())
	c.args = without("network,identity,registry/node-role,inside")
	c.table(t, c.registryFaults())
	c.table(t, c.clusterFaults())
	c.screen(t)
	c.withFiles(t, time.Now().Add(-time.Hour), time.Now().Add(2000*time.Hour))
	c.table(t, c.certificateFaults())

	kubectl(t, privatelink(t, "install", "--config", c.config), "delete", "-f", "-", "--timeout=90s")
	c.engine = []string{"--engine", "policy"}
	c.apply(t)
	c.args = everything // the engine is found; the probe runs beside CAST AI's pods
	eventually(t, 60*time.Second, c.healthy)
	c.args = append(everything, c.engine...)
	c.table(t, c.policyFaults())
	figure("the doctor took %s at most", c.longest.Round(100*time.Millisecond))
	clean(t)
	kubectl(t, privatelink(t, "install", "--config", c.config, "--engine", "policy"), "delete", "-f", "-", "--timeout=90s")
}

// screen is the other view of the same: privatelink status.
func (c *consulting) screen(t *testing.T) {
	t.Helper()
	out := c.work.run(t, 0, "status", "--lock", c.lock)
	for _, want := range []string{"rewritten since start", " us-docker.pkg.dev", "of 2 images missing", "equal to the ConfigMap"} {
		if !strings.Contains(out, want) {
			t.Errorf("status has no %q:\n%s", want, out)
		}
	}
}

// agentWorkload is what the customer runs of CAST AI.
const agentWorkload = `apiVersion: apps/v1
kind: Deployment
metadata: {name: castai-agent, namespace: castai-agent}
spec:
  selector: {matchLabels: {app: castai-agent}}
  template:
    metadata: {labels: {app: castai-agent}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: agent, image: "us-docker.pkg.dev/castai-hub/library/agent:v0.161.1"}
      - {name: monitor, image: "ghcr.io/castai/images/spot-handler:v0.29.0"}
`

// customer mirrors, installs and onboards, as docs/guide/onboarding.md has it. The
// authority is one more that the workstation trusts.
func customer(t *testing.T, authority []byte) *consulting {
	t.Helper()
	dir := t.TempDir()
	web := openInternet(t, []string{"us-docker.pkg.dev", "ghcr.io"})
	for _, image := range []string{"us-docker.pkg.dev/castai-hub/library/agent:v0.161.1", "ghcr.io/castai/images/spot-handler:v0.29.0"} {
		web.publish(t, image, behaviour{})
	}
	trusted, err := os.ReadFile(web.ca)
	if err == nil {
		err = os.WriteFile(web.ca, append(trusted, authority...), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &consulting{
		work: workstation{web, dir}, prefix: n.Strict.Host() + "/customer",
		config: filepath.Join(dir, "privatelink.yaml"), lock: filepath.Join(dir, "privatelink.lock.yaml"),
	}
	manifest := filepath.Join(dir, "workload.yaml")
	if err := write(map[string]string{c.config: "registry: " + c.prefix + "\n", manifest: agentWorkload}); err != nil {
		t.Fatal(err)
	}
	pushWebhook(t, c.prefix)
	c.work.run(t, 0, "mirror", "--config", c.config, "--lock", c.lock, "-f", manifest)
	c.apply(t)
	agentsExist(t)
	kubectl(t, agentWorkload, "apply", "-f", "-")
	kubectl(t, "", "rollout", "status", "--timeout=120s", "--namespace", agents, "deployment/castai-agent")
	return c
}
