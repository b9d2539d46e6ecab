// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package machine

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The program on the machine is this test binary.
func TestMain(m *testing.M) {
	if Enter() {
		os.Exit(map[string]func() int{"check": check, "wait": wait, "crash": crash}[os.Getenv("MACHINE_TEST")]())
	}
	if os.Getenv("MACHINE_TEST") != "" {
		code, err := Run()
		if err != nil {
			fmt.Println(err)
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// check prints each fault of the machine, and returns 42 if there is none.
func check() int {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if err := Bridge("test0", "198.51.100.1/24"); err != nil {
		fault("bridge: %w", err)
	}
	if c, err := net.DialTimeout("tcp", "203.0.113.1:80", 300*time.Millisecond); err == nil {
		fault("something answers outside: %s", c.RemoteAddr())
	}
	if _, err := net.LookupHost("example.com"); err == nil {
		fault("a public name resolves")
	}
	if others, _ := filepath.Glob("/proc/[0-9]*"); len(others) > 2 {
		fault("there are other processes: %v", others)
	}
	if err := os.WriteFile("/var/lib/machine-test", nil, 0o600); err != nil {
		fault("%w", err)
	}
	if roots, err := hierarchies(); err != nil || Cgroup() == "" {
		fault("cgroup %q, %w", Cgroup(), err)
	} else if err := os.MkdirAll(filepath.Join(roots[0], Cgroup(), "a", "b"), 0o755); err != nil {
		fault("%w", err)
	}
	// An orphan that the machine reaps, and one that outlives the program.
	if out, err := exec.Command("sh", "-c", "sleep 0.1 & sleep 600 > /dev/null 2>&1 &").CombinedOutput(); err != nil {
		fault("%w: %s", err, out)
	}
	time.Sleep(300 * time.Millisecond)
	if out, err := exec.Command("ps", "-eo", "stat=,comm=").Output(); err != nil || strings.Contains(string(out), "Z") {
		fault("zombies: %s, %w", out, err)
	}
	if len(faults) > 0 {
		fmt.Println(errors.Join(faults...))
		return 1
	}
	return 42
}

func wait() int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	fmt.Println("waiting")
	if s := <-signals; s == os.Interrupt {
		return 43
	}
	return 44
}

func crash() int {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	return 0
}

// startOnMachine starts a function of this test on a machine, and returns its
// output and the command.
func startOnMachine(t *testing.T, what string) (*bufio.Reader, *exec.Cmd) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("an isolated machine needs root")
	}
	runtime.LockOSThread() // with which the child would die
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "MACHINE_TEST="+what)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		roots, err := hierarchies()
		if err != nil {
			t.Fatal(err)
		}
		for _, root := range roots {
			if _, err := os.Stat(filepath.Join(root, fmt.Sprintf("%s%d", prefix, cmd.Process.Pid))); err == nil {
				t.Errorf("a cgroup is left in %s", root)
			}
		}
	})
	return bufio.NewReader(out), cmd
}

func ends(t *testing.T, out *bufio.Reader, cmd *exec.Cmd, want int) {
	t.Helper()
	var output strings.Builder
	_, _ = out.WriteTo(&output)
	_ = cmd.Wait() // the exit code is checked
	if code := cmd.ProcessState.ExitCode(); code != want {
		t.Errorf("exit code %d, want %d; output: %s", code, want, &output)
	}
}

func TestMachineIsIsolatedAndRemoved(t *testing.T) {
	out, cmd := startOnMachine(t, "check")
	ends(t, out, cmd, 42)
	if _, err := os.Stat("/var/lib/machine-test"); err == nil {
		t.Error("a file is left")
	}
	if links, _ := net.InterfaceByName("test0"); links != nil {
		t.Error("an interface is left")
	}
}

func TestCrashIsAFailure(t *testing.T) {
	out, cmd := startOnMachine(t, "crash")
	ends(t, out, cmd, 1)
}

func TestMachineEndsWithItsParent(t *testing.T) {
	out, cmd := startOnMachine(t, "wait")
	if line, err := out.ReadString('\n'); line != "waiting\n" {
		t.Fatal(line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ends(t, out, cmd, -1) // and its output ends: no process has it open
	if err := sweep(); err != nil {
		t.Error(err)
	}
}

func TestSignalsAreForwarded(t *testing.T) {
	for name, tc := range map[string]struct {
		signal syscall.Signal
		want   int
	}{
		"Ctrl-C":      {syscall.SIGINT, 43},
		"termination": {syscall.SIGTERM, 44},
	} {
		t.Run(name, func(t *testing.T) {
			out, cmd := startOnMachine(t, "wait")
			if line, err := out.ReadString('\n'); line != "waiting\n" {
				t.Fatal(line, err)
			}
			if err := cmd.Process.Signal(tc.signal); err != nil {
				t.Fatal(err)
			}
			ends(t, out, cmd, tc.want)
		})
	}
}
