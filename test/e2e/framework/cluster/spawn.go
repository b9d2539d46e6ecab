// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"os/exec"
	"runtime"
)

// errStopped is the answer of a cluster that is no more.
var errStopped = errors.New("the cluster is stopped")

// spawner starts child processes, all from one OS thread.
//
// A test that is killed must leave no process behind, so Linux is asked to kill
// each child when its parent dies. It takes "parent" to be the thread that
// forked, and Go ends idle threads as it likes: the thread has to be held for
// as long as the children are wanted.
type spawner struct {
	work chan func()
	quit chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{work: make(chan func()), quit: make(chan struct{})}
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		for {
			select {
			case f := <-s.work:
				f()
			case <-s.quit:
				return
			}
		}
	}()
	return s
}

// start starts cmd in a process group of its own, so that a Ctrl-C in the
// terminal reaches only this process, which stops everything in the right order.
func (s *spawner) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = childAttributes()
	result := make(chan error, 1)
	select {
	case s.work <- func() { result <- cmd.Start() }:
		return <-result
	case <-s.quit:
		return errStopped
	}
}

// close lets the thread go. Children that still run are killed with it, where
// the system can do that.
func (s *spawner) close() { close(s.quit) }
