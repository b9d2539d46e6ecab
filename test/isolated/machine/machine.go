// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package machine runs a program again in network, mount, PID and IPC namespaces
// and a cgroup of its own.
//
// A Kubernetes node leaves mounts, orphaned processes, interfaces, packet filters
// and files in many fixed places. After a crash only the kernel removes all of
// them reliably: they end with their namespace.
package machine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// variable is set for the program inside: the stage, and the cgroup.
const variable = "PRIVATELINK_MACHINE"

// The stages inside. The first process of a machine has to wait for all those
// that lost their parents, so it is a program that does nothing else.
const (
	stageInit    = "init"
	stageProgram = "program"
)

// prefix is how the cgroups of all machines begin.
const prefix = "privatelink-node-"

var (
	cgroup string
	pid    int
)

// Cgroup is the cgroup, below the root of each hierarchy, that everything on
// this machine belongs in. It is empty outside.
func Cgroup() string { return cgroup }

// PID is the machine's first process as the host sees it, for nsenter(1). It is
// 0 outside.
func PID() int { return pid }

// Run starts this program again on a machine, with the same arguments and with
// env added to its environment. It passes on interrupts, waits for the end of
// the machine, and returns the program's exit code. The program has to call
// Enter before all else.
func Run(env ...string) (code int, err error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("a machine of its own needs root")
	}
	name := fmt.Sprintf("%s%d", prefix, os.Getpid())
	if err := errors.Join(sweep(), makeCgroup(name)); err != nil {
		return 1, err
	}
	defer func() {
		if errRemove := removeCgroup(name); err == nil {
			err = errRemove
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	entered, ready, err := os.Pipe()
	if err != nil {
		return 1, err
	}
	defer entered.Close()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(append(os.Environ(), env...), variable+"="+stageInit+":"+name)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdin, os.Stdout, os.Stderr, []*os.File{ready}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
		// A Ctrl-C of the terminal is for the process outside, which passes it on.
		Setpgid: true,
		// The child dies with the thread that started it, which is therefore held.
		Pdeathsig: syscall.SIGKILL,
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	_ = ready.Close() // without this the pipe would never reach its end
	if err != nil {
		return 1, fmt.Errorf("starting a machine: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	if message, err := io.ReadAll(entered); err != nil || string(message) != ok {
		<-done
		return 1, fmt.Errorf("setting up a machine: %s", strings.TrimSpace(string(message)))
	}
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s) // it may just have ended
		case err := <-done:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return 1, err
			}
			if code := cmd.ProcessState.ExitCode(); code >= 0 {
				return code, nil
			}
			return 1, nil // ended by a signal
		}
	}
}

const ok = "ok"

// Enter reports whether this program runs on a machine that Run created.
func Enter() bool {
	f := strings.Split(os.Getenv(variable), ":")
	_ = os.Unsetenv(variable) // not for programs that this one starts
	switch f[0] {
	case stageProgram:
		cgroup = "/" + f[1]
		pid, _ = strconv.Atoi(f[2]) // written by initialize
		return true
	case stageInit:
		os.Exit(initialize(f[1]))
	}
	return false
}

// initialize is the first process of the machine: it sets it up, starts the
// program and reaps orphaned processes. The machine ends with it.
func initialize(name string) int {
	syscall.CloseOnExec(3) // without this the pipe would stay open in the program
	pipe := os.NewFile(3, "the process outside")
	outside, err := os.Readlink("/proc/self") // still the host's /proc
	if err == nil {
		err = setUp()
	}
	if err != nil {
		fmt.Fprint(pipe, err)
		return 1
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	program, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{
		Env:   append(os.Environ(), strings.Join([]string{variable + "=" + stageProgram, name, outside}, ":")),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		fmt.Fprint(pipe, err)
		return 1
	}
	_, _ = io.WriteString(pipe, ok)
	_ = pipe.Close()
	go func() {
		for s := range signals {
			_ = syscall.Kill(program.Pid, s.(syscall.Signal)) // it may just have ended
		}
	}()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1
		case pid == program.Pid && status.Exited():
			return status.ExitStatus()
		case pid == program.Pid:
			return 1
		}
	}
}
