// SPDX-License-Identifier: Apache-2.0

//go:build linux

package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Hosts and Resolver are files that every program on the machine reads as
// /etc/hosts and /etc/resolv.conf. They can be written, and are gone with it.
const (
	Hosts    = "/run/etc/hosts"
	Resolver = "/run/etc/resolv.conf"
)

// Hidden are the folders of which the machine has its own, empty at first.
func Hidden() []string { return []string{"/run", "/var/lib", "/var/log"} }

// setUp gives the machine its own view of what the programs of a node write
// to. All its mounts are in memory and visible only inside.
func setUp() error {
	// Without this the host would see the mounts that follow.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	// Not /sys: mounted again it would lack the cgroups.
	for _, dir := range Hidden() {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("mounting memory at %s: %w", dir, err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(Hosts), 0o755); err != nil {
		return err
	}
	// Names that the hosts file lacks are refused at once. Where the cluster's
	// resolver does know public names, it is the connection that fails, after
	// half a minute each.
	for path, text := range map[string]string{
		Hosts:    "127.0.0.1 localhost\n",
		Resolver: "nameserver 127.0.0.1\noptions attempts:1 timeout:1\n",
	} {
		target := filepath.Join("/etc", filepath.Base(path))
		if link, err := filepath.EvalSymlinks(target); err == nil {
			target = link
		}
		err := os.WriteFile(path, []byte(text), 0o644)
		if err == nil && target != path {
			err = syscall.Mount(path, target, "", syscall.MS_BIND, "")
		}
		if err != nil {
			return fmt.Errorf("replacing %s: %w", target, err)
		}
	}
	return command("ip", "link", "set", "lo", "up")
}

func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// Bridge makes an interface with the address, a prefix such as 10.0.0.1/24, and
// sends everything there that is for elsewhere. Nothing else is attached to it,
// so nothing arrives; a route there has to be, or addresses of Services, which
// exist in packet filters only, would be unreachable without a try.
func Bridge(name, prefix string) error {
	return errors.Join(
		command("ip", "link", "add", name, "type", "bridge"),
		command("ip", "address", "add", prefix, "dev", name),
		command("ip", "link", "set", name, "up"),
		command("ip", "route", "add", "default", "dev", name),
		os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644),
	)
}
