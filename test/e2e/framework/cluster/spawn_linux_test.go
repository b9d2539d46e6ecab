// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"os/exec"
	"syscall"
	"testing"
)

func TestAChildDiesWithTheThreadThatStartedIt(t *testing.T) {
	s := newSpawner()
	child := exec.Command("sleep", "60")
	if err := s.start(child); err != nil {
		t.Fatal(err)
	}
	if group, err := syscall.Getpgid(child.Process.Pid); err != nil || group != child.Process.Pid {
		t.Errorf("process group %d (%v), want one of its own, %d", group, err, child.Process.Pid)
	}
	s.close()
	if err := child.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the child ended with %v, want a kill", err)
	}
	if err := s.start(exec.Command("true")); !errors.Is(err, errStopped) {
		t.Errorf("starting after close: %v, want %v", err, errStopped)
	}
}
