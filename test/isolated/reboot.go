// SPDX-License-Identifier: Apache-2.0

//go:build linux

package isolated

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster"
	"github.com/castai/privatelink-webhook/test/isolated/machine"
)

// RestartNode kills the container runtime and the kubelet and starts them
// again, as after a crash of both. Containers run on.
func (n *Node) RestartNode(ctx context.Context) error {
	return errors.Join(n.each((*cluster.Component).Kill, cluster.Kubelet, Containerd),
		n.each((*cluster.Component).Start, Containerd, cluster.Kubelet), n.awaitReady(ctx))
}

// Reboot does to the node what a reset of its machine does: no process of it
// survives, no cgroup, no mount, no packet filter and nothing in /run. The control plane
// and the registry are on machines of their own, as far as that goes.
func (n *Node) Reboot(ctx context.Context) error {
	if err := n.each((*cluster.Component).Kill, cluster.Kubelet, cluster.Proxy, Containerd); err != nil {
		return err
	}
	// A shim that loses its container first would clean up after it.
	for _, of := range []func(proc string) bool{isShim, isContained} {
		if err := killAll(of); err != nil {
			return err
		}
	}
	if err := errors.Join(machine.RemoveBelow("kubepods"), n.unmountAll(), os.RemoveAll("/run/containerd"), os.RemoveAll("/run/netns"), exec.CommandContext(ctx, "nft", "flush", "ruleset").Run()); err != nil {
		return err
	}
	return errors.Join(n.each((*cluster.Component).Start, Containerd, cluster.Proxy, cluster.Kubelet), n.awaitReady(ctx))
}

// each does the same to some components, in the order given.
func (n *Node) each(do func(*cluster.Component) error, names ...string) error {
	for _, name := range names {
		i := slices.IndexFunc(n.components, func(c *component) bool { return c.name == name })
		if i < 0 {
			return errors.New("there is no " + name)
		}
		if err := do(n.components[i].Component); err != nil {
			return err
		}
	}
	return nil
}

func isShim(proc string) bool {
	program, err := os.Readlink(filepath.Join(proc, "exe"))
	return err == nil && filepath.Base(program) == "containerd-shim-runc-v2"
}

func isContained(proc string) bool {
	cgroups, err := os.ReadFile(filepath.Join(proc, "cgroup"))
	return err == nil && strings.Contains(string(cgroups), "/kubepods/")
}

// killAll kills the processes of this machine that match.
func killAll(of func(proc string) bool) error {
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, proc := range procs {
		pid, err := strconv.Atoi(filepath.Base(proc))
		if err != nil || !of(proc) {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// unmountAll removes what the runtime and the kubelet mounted, last first.
func (n *Node) unmountAll() error {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var errs []error
	for _, line := range slices.Backward(strings.Split(string(text), "\n")) {
		f := strings.Fields(line)
		if len(f) > 1 && slices.ContainsFunc([]string{"/run/containerd/", "/run/netns/", filepath.Join(n.dir, cluster.Kubelet) + "/"}, func(dir string) bool { return strings.HasPrefix(f[1], dir) }) {
			errs = append(errs, syscall.Unmount(f[1], syscall.MNT_DETACH))
		}
	}
	return errors.Join(errs...)
}
