// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"os"
	"time"
)

// Component is a program next to the control plane, such as a kubelet. The
// caller stops it before the cluster.
type Component struct{ p *process }

// Run starts a program in the cluster's folder, with the environment given and
// nothing else. It logs to LogFile(name), and has the grace period to end in
// good order.
func (c *Cluster) Run(name string, grace time.Duration, env []string, path string, args ...string) (*Component, error) {
	p := &process{
		name: name, path: path, args: args, dir: c.dir, logFile: c.LogFile(name), spawn: c.spawn, grace: grace,
	}
	if len(env) > 0 {
		p.path, p.args = "/usr/bin/env", append(append(append([]string{"-i"}, env...), path), args...)
	}
	if err := p.start(); err != nil {
		return nil, err
	}
	return &Component{p: p}, nil
}

// Start starts it again after Stop or Kill, with the same arguments.
func (c *Component) Start() error { return c.p.start() }

// Stop ends it and waits. It is an error if it had ended by itself.
func (c *Component) Stop() error { return c.p.stop() }

// Kill ends it without warning and waits.
func (c *Component) Kill() error {
	c.p.stopping = true
	if err := c.p.child.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-c.p.done
	return nil
}

// Err is nil while it runs; then it has the cause of its exit and the end of its
// log.
func (c *Component) Err() error {
	select {
	case <-c.p.done:
		return c.p.died()
	default:
		return nil
	}
}
