// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// process is one component: how to run it and, while it runs, its child.
type process struct {
	name    string
	path    string
	args    []string
	dir     string
	logFile string
	spawn   *spawner
	grace   time.Duration // how long it may take to end in good order

	child    *exec.Cmd
	stopping bool          // was asked to end
	done     chan struct{} // closed when the child has ended and was waited for
	ended    error         // how it ended; read after done
}

// start runs the program with an empty environment: a proxy variable would
// send the calls to webhooks astray, and every ETCD_* variable is a flag.
func (p *process) start() error {
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	defer log.Close() // the child has its own descriptor
	child := exec.Command(p.path, p.args...)
	child.Dir, child.Env, child.Stdout, child.Stderr = p.dir, []string{}, log, log
	if err := p.spawn.start(child); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	done := make(chan struct{})
	p.child, p.done, p.stopping = child, done, false
	go func() {
		defer close(done)
		p.ended = child.Wait()
	}()
	return nil
}

// stop asks the child to end, insists after the grace period, and waits. It is
// an error if the child had already ended by itself.
func (p *process) stop() error {
	select {
	case <-p.done:
		if p.stopping {
			return nil
		}
		return p.died()
	default:
	}
	p.stopping = true
	// Where there is no such signal (Windows), insisting is all that is left.
	if err := p.child.Process.Signal(syscall.SIGTERM); err == nil {
		select {
		case <-p.done:
			return nil
		case <-time.After(p.grace):
		}
	}
	if err := p.child.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("ending %s (process %d): %w", p.name, p.child.Process.Pid, err)
	}
	<-p.done
	return nil
}

// died describes a child that ended without having been asked to.
func (p *process) died() error {
	how := "exit status 0"
	if p.ended != nil {
		how = p.ended.Error()
	}
	return fmt.Errorf("%s ended by itself (%s); %s", p.name, how, p.tail())
}

// tail is the end of the log, for an error that would say nothing without it.
func (p *process) tail() string {
	const size = 16 << 10
	f, err := os.Open(p.logFile)
	if err != nil {
		return "its log cannot be read: " + err.Error()
	}
	defer f.Close()
	if end, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, end-size), io.SeekStart)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return "its log cannot be read: " + err.Error()
	}
	return "the end of its log:\n" + lastLines(string(text))
}

// lastLines is as much of text as an error message bears.
func lastLines(text string) string {
	const most = 20
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
