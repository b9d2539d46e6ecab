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

// fault is a fault and the one check that must report it. Checks that depend on
// that check may be UNKNOWN; all others must be OK.
type fault struct {
	name   string
	check  string // its ID
	says   string // part of what is found, or of its details
	remedy string // part of what is to be done
	// cause injects the fault and returns a function that removes it.
	cause func(*testing.T) (undo func())
}

// diagnosis is a result in the JSON output of `privatelink doctor`.
type diagnosis struct {
	ID, Found, Remedy, Cause string
	Status                   doctor.Status
	Details                  []string
}

// doctorRun runs `privatelink doctor` from the operator's machine.
type doctorRun struct {
	work         workstation
	prefix       string // of the registry
	config, lock string // files
	account      *awsAccount
	args         []string
	engine       []string    // options of install; none for the webhook
	alerts       *alertWatch // nil while alerts are not observed
	longest      time.Duration
}

// diagnose runs `privatelink doctor`.
func (c *doctorRun) diagnose(ctx context.Context) ([]diagnosis, error) {
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

// healthy returns nil when every check is OK.
func (c *doctorRun) healthy(ctx context.Context) error {
	all, err := c.diagnose(ctx)
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

// finds returns nil when the check of the fault reports it, and no other does.
func (c *doctorRun) finds(ctx context.Context, f fault) error {
	all, err := c.diagnose(ctx)
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
				errs = append(errs, fmt.Errorf("it reports %q, want %q", text, f.says))
			}
			if d.Remedy == "" || !strings.Contains(d.Remedy, f.remedy) {
				errs = append(errs, fmt.Errorf("its remedy is %q, want %q", d.Remedy, f.remedy))
			}
		case d.Status == doctor.OK, d.Status == doctor.Unknown && d.Cause != "":
		default:
			errs = append(errs, fmt.Errorf("%s is %s: %s %v", d.ID, d.Status, d.Found, d.Details))
		}
	}
	if !found {
		errs = append(errs, fmt.Errorf("%s does not report it", f.check))
	}
	return errors.Join(errs...)
}

// table injects one fault after the other. The environment is healthy before and
// after each.
func (c *doctorRun) table(t *testing.T, faults []fault) {
	t.Helper()
	eventually(t, 60*time.Second, c.healthy)
	for _, f := range faults {
		if !t.Run(f.name, func(t *testing.T) {
			if c.alerts != nil {
				c.alerts.silent(t)
			}
			undo := f.cause(t)
			begin := time.Now()
			eventually(t, 60*time.Second, func(ctx context.Context) error { return c.finds(ctx, f) })
			reportf("%-64s %-32s %8s", f.name, f.check, since(begin))
			if c.alerts != nil {
				c.alerts.observe(t, f.name)
			}
			undo()
			eventually(t, 90*time.Second, c.healthy)
		}) {
			t.FailNow() // its remains would be reported again
		}
	}
}

func (c *doctorRun) apply(t *testing.T) {
	t.Helper()
	kubectl(t, privatelink(t, append([]string{"install", "--config", c.config}, c.engine...)...), "apply", "-f", "-")
	if len(c.engine) == 0 {
		ready(t)
	}
}

// All checks are OK for a healthy customer. Each fault is reported by its check.
func TestDoctor(t *testing.T) {
	around, account := startVPCEndpoints(t), newAWSAccount(t)
	c := customer(t, around.ca)
	c.account = account
	everything := []string{"--config", c.config, "--lock", c.lock, "--eks-cluster", "prod", "--probe"}
	without := func(groups string) []string {
		return append(everything[:len(everything):len(everything)], "--skip", groups)
	}
	reportf("\n%-64s %-32s %8s", "fault", "found by", "after")

	c.args = everything
	eventually(t, 60*time.Second, c.healthy)
	reportf("the doctor took %s for all of a healthy customer", c.longest.Round(100*time.Millisecond))
	c.table(t, account.faults())
	c.args = without("network,identity,registry/node-role")
	c.table(t, around.insideFaults())
	c.args = without("network,identity,registry/node-role,inside")
	c.table(t, c.registryFaults())
	c.alerts = watchAlerts(t)
	c.table(t, c.clusterFaults())
	c.statusScreen(t)
	c.withFiles(t, time.Now().Add(-time.Hour), time.Now().Add(2000*time.Hour))
	c.table(t, c.certificateFaults())
	c.alerts.report(t)
	c.alerts = nil

	kubectl(t, privatelink(t, "install", "--config", c.config), "delete", "-f", "-", "--timeout=90s")
	c.engine = []string{"--engine", "policy"}
	c.apply(t)
	c.args = everything // the engine is detected; the probe runs in the namespace of CAST AI
	eventually(t, 60*time.Second, c.healthy)
	c.args = append(everything, c.engine...)
	c.table(t, c.policyFaults())
	reportf("the doctor took %s at most", c.longest.Round(100*time.Millisecond))
	clean(t)
	kubectl(t, privatelink(t, "install", "--config", c.config, "--engine", "policy"), "delete", "-f", "-", "--timeout=90s")
}

// statusScreen runs `privatelink status`.
func (c *doctorRun) statusScreen(t *testing.T) {
	t.Helper()
	out := c.work.run(t, 0, "status", "--lock", c.lock)
	for _, want := range []string{"rewritten since start", " us-docker.pkg.dev", "of 3 images missing", "equal to the ConfigMap"} {
		if !strings.Contains(out, want) {
			t.Errorf("status has no %q:\n%s", want, out)
		}
	}
}

// agentWorkload is the CAST AI workload of the customer.
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

// customer mirrors, installs and onboards, as in docs/guide/onboarding.md. The
// workstation trusts the authority in addition to its own.
func customer(t *testing.T, authority []byte) *doctorRun {
	t.Helper()
	dir := t.TempDir()
	web := openInternet(t, []string{"us-docker.pkg.dev", "ghcr.io"})
	for _, image := range []string{"us-docker.pkg.dev/castai-hub/library/agent:v0.161.1", "ghcr.io/castai/images/spot-handler:v0.29.0"} {
		web.publish(t, image, behavior{})
	}
	trusted, err := os.ReadFile(web.ca)
	if err == nil {
		err = os.WriteFile(web.ca, append(trusted, authority...), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &doctorRun{
		work: workstation{web: web, dir: dir}, prefix: n.Strict.Host() + "/customer",
		config: filepath.Join(dir, "privatelink.yaml"), lock: filepath.Join(dir, "privatelink.lock.yaml"),
	}
	manifest := filepath.Join(dir, "workload.yaml")
	if err := write(map[string]string{c.config: "registry: " + c.prefix + "\n", manifest: agentWorkload}); err != nil {
		t.Fatal(err)
	}
	c.work.run(t, 0, "mirror", "--config", c.config, "--lock", c.lock, "-f", manifest)
	c.apply(t)
	createAgentNamespace(t)
	kubectl(t, agentWorkload, "apply", "-f", "-")
	kubectl(t, "", "rollout", "status", "--timeout=120s", "--namespace", agentNamespace, "deployment/castai-agent")
	return c
}
