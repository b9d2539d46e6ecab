// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster"
	"github.com/castai/privatelink-webhook/test/e2e/framework/helm"
	"github.com/castai/privatelink-webhook/test/e2e/framework/sandbox"
)

// Programs are what a run starts, and where it may start it.
type Programs struct {
	Root       string   // of the repository
	Kubernetes string   // the folder with the control plane and kubectl
	Bin        string   // the folder with our two programs
	Addresses  []string // of the webhook's pods
}

// Webhook is the server, CLI the operator's command line.
func (p Programs) Webhook() string { return filepath.Join(p.Bin, "privatelink-webhook") }

// CLI is the operator's command line.
func (p Programs) CLI() string { return filepath.Join(p.Bin, "privatelink") }

// variable hands the programs to the process in the sandbox, where no module
// could be downloaded for a build.
const variable = "PRIVATELINK_TEST_PROGRAMS"

// Run builds the programs and calls f, in a network of its own where the system
// allows it. It returns f's exit code. The context of f ends with an interrupt.
func Run(log io.Writer, f func(context.Context, Programs) int) int {
	if sandbox.Enter() {
		ctx, release := interruptible()
		defer release()
		list := filepath.SplitList(os.Getenv(variable))
		return f(ctx, Programs{Root: list[0], Kubernetes: list[1], Bin: list[2], Addresses: sandbox.Addresses()})
	}
	ctx, release := interruptible()
	defer release()
	p, err := build(ctx, log)
	defer os.RemoveAll(p.Bin)
	if err != nil {
		fmt.Fprintln(log, err)
		return 1
	}
	release() // the process inside gets the signals
	code, err := sandbox.Run(variable + "=" + p.Root + string(filepath.ListSeparator) + p.Kubernetes + string(filepath.ListSeparator) + p.Bin)
	if !errors.Is(err, sandbox.ErrUnavailable) {
		if err != nil {
			fmt.Fprintln(log, err)
		}
		return code
	}
	fmt.Fprintf(log, "using the network of this machine (%v): ports 9443 and 8080 must be free, and only one replica of the webhook runs\n", err)
	address, err := cluster.HostAddress()
	if err != nil {
		fmt.Fprintln(log, err)
		return 1
	}
	if err := free(address); err != nil {
		fmt.Fprintln(log, err)
		return 1
	}
	p.Addresses = []string{address}
	ctx, release = interruptible()
	defer release()
	return f(ctx, p)
}

// free reports a port that another process took before the webhook's pod.
func free(address string) error {
	for _, port := range []string{"9443", "8080"} {
		l, err := net.Listen("tcp", net.JoinHostPort(address, port))
		if err != nil {
			return fmt.Errorf("the webhook's pod needs this port: %w; stop what listens there", err)
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

func build(ctx context.Context, log io.Writer) (p Programs, err error) {
	if p.Root, err = findRoot(); err != nil {
		return p, err
	}
	if p.Kubernetes, err = cluster.Build(ctx, p.Root, log); err != nil {
		return p, err
	}
	if withHelm {
		if err := helm.Build(ctx, p.Root, log, helm.Majors()...); err != nil {
			return p, err
		}
	}
	if p.Bin, err = os.MkdirTemp("", "privatelink-bin-"); err != nil {
		return p, err
	}
	begin := time.Now()
	fmt.Fprintln(log, "building privatelink and privatelink-webhook")
	// With the flags of make build, whose work is then in Go's cache.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", p.Bin+string(filepath.Separator), "./cmd/privatelink", "./cmd/privatelink-webhook")
	cmd.Dir, cmd.Env = p.Root, append(os.Environ(), "CGO_ENABLED=0")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // go removes its own temporary files
	cmd.WaitDelay = 10 * time.Second
	switch out, err := cmd.CombinedOutput(); {
	case ctx.Err() != nil:
		return p, context.Cause(ctx)
	case err != nil:
		return p, fmt.Errorf("building privatelink and privatelink-webhook: %w\n%s", err, out)
	}
	fmt.Fprintf(log, "built in %s\n", time.Since(begin).Round(time.Millisecond))
	return p, nil
}

// findRoot is the top of the repository that the current folder is in.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "deploy", "kustomization.yaml")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("run this in a checkout of the repository: no folder above has deploy/kustomization.yaml")
		}
		dir = filepath.Dir(dir)
	}
}
