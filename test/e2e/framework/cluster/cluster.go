// SPDX-License-Identifier: Apache-2.0

// Package cluster builds, starts and breaks a real Kubernetes control plane on
// the loopback interface: etcd, kube-apiserver and kube-controller-manager.
//
// The API server decides when it calls the webhook, which certificate it accepts,
// how it applies a patch, and which pods it refuses while the webhook is down, so
// only a real one proves these guarantees. A Deployment gets pods as on any
// cluster; there is no node, so they stay Pending.
//
// Only the standard library and kubectl are used, so that a test has the same
// access to the cluster as a user.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// The components, named after their programs: what LogFile takes, and Restart
// for the first two.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
)

// Config is what Start needs. Bin is required; the rest has defaults.
type Config struct {
	Bin     string        // the folder with the programs, as Build returns it
	Dir     string        // default: a private temporary folder, removed by Stop. One given here is kept, for its logs
	Timeout time.Duration // default 60s: how long one component may need to get ready
	Log     io.Writer     // default: discards. Gets one line for each step

	FeatureGates  map[string]bool   // of the API server
	RuntimeConfig map[string]string // of the API server: which API versions it serves
	APIServerArgs []string          // come last, so that they win where a flag takes one value
	Names         []string          // further host names and addresses in the API server's certificate

	ControllerManagerArgs []string // come last as well
}

// Cluster is a running control plane.
type Cluster struct {
	URL         string // of the API server
	CAFile      string // the authority behind the API server's certificate
	Kubeconfig  string // of an administrator (system:masters)
	KubectlPath string

	cfg     Config // of a second API server, too
	layout  layout
	dir     string
	ownsDir bool
	ca      []byte
	log     io.Writer
	probe   probe
	spawn   *spawner

	mu      sync.Mutex // one Restart or Stop at a time
	running []*process // in the order of their start
	stopped bool
}

// Start runs a control plane and returns when it serves and its controllers
// work. ctx bounds the start only: what was started ends with Stop or, on Linux,
// with this process, however that one ends.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.Bin == "" {
		return nil, errors.New("cluster: Config.Bin is empty: set it to the folder that Build returns")
	}
	c := &Cluster{log: cfg.Log, spawn: newSpawner()}
	if c.log == nil {
		c.log = io.Discard
	}
	if err := c.start(ctx, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("cluster: %w", err), c.Stop())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, cfg Config) error {
	begin := time.Now()
	l, err := c.prepare(cfg)
	if err != nil {
		return err
	}
	c.cfg, c.layout = cfg, l
	for _, p := range []*process{
		// etcd would wait five seconds for the watches of an API server that
		// has no reason to end them; its data is on the disk.
		{name: Etcd, args: l.etcdArgs(), grace: time.Second},
		{name: APIServer, args: l.apiServerArgs(cfg), grace: 15 * time.Second},
		{name: ControllerManager, args: append(l.controllerManagerArgs(), cfg.ControllerManagerArgs...), grace: 15 * time.Second},
	} {
		p.path, p.dir, p.logFile, p.spawn = filepath.Join(filepath.Dir(c.KubectlPath), p.name), c.dir, c.LogFile(p.name), c.spawn
		if err := p.start(); err != nil {
			return err
		}
		if err := c.await(ctx, p); err != nil {
			_ = p.stop() // err has the cause already
			return err
		}
		c.running = append(c.running, p)
	}
	fmt.Fprintf(c.log, "control plane ready at %s after %s\n", c.URL, time.Since(begin).Round(time.Millisecond))
	return nil
}

// prepare writes the files that the components read.
func (c *Cluster) prepare(cfg Config) (layout, error) {
	bin, err := filepath.Abs(cfg.Bin)
	if err != nil {
		return layout{}, err
	}
	if c.dir, c.ownsDir, err = makeDir(cfg.Dir); err != nil {
		return layout{}, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return layout{}, err
	}
	l := layout{dir: c.dir, etcd: ports[0], etcdPeer: ports[1], apiServer: ports[2]}
	tokens, err := writeCredentials(l, cfg.Names)
	if err != nil {
		return layout{}, err
	}
	c.URL, c.CAFile, c.Kubeconfig = l.apiServerURL(), l.caFile(), filepath.Join(c.dir, "admin.kubeconfig")
	c.KubectlPath = filepath.Join(bin, "kubectl")
	if c.ca, err = os.ReadFile(c.CAFile); err != nil {
		return layout{}, err
	}
	c.probe = newProbe(l, tokens.admin, c.ca, cfg.Timeout)
	return l, errors.Join(
		c.WriteKubeconfig(c.Kubeconfig, tokens.admin),
		c.WriteKubeconfig(l.managerKubeconfig(), tokens.manager),
	)
}

func makeDir(given string) (dir string, owned bool, err error) {
	if given == "" {
		dir, err = os.MkdirTemp("", "privatelink-cluster-")
		return dir, err == nil, err
	}
	if dir, err = filepath.Abs(given); err != nil {
		return "", false, err
	}
	return dir, false, os.MkdirAll(dir, 0o700)
}

// LogFile is where a component logs, over all its restarts.
func (c *Cluster) LogFile(component string) string {
	return filepath.Join(c.dir, component+".log")
}

// Restart stops etcd or the API server, starts it again with the same ports and
// data, and waits until the API server is ready. In between, clients see what
// they see when a real one restarts.
func (c *Cluster) Restart(ctx context.Context, component string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return fmt.Errorf("cluster: restarting %s: %w", component, errStopped)
	}
	servers := c.running[:2] // the controller manager has no state that a restart could try
	i := slices.IndexFunc(servers, func(p *process) bool { return p.name == component })
	if i < 0 {
		return fmt.Errorf("cluster: cannot restart %q: only %s and %s", component, Etcd, APIServer)
	}
	err := servers[i].stop()
	if err == nil {
		err = servers[i].start()
	}
	for _, p := range servers[i:] {
		if err == nil {
			err = c.await(ctx, p)
		}
	}
	if err != nil {
		return fmt.Errorf("cluster: restarting %s: %w", component, err)
	}
	return nil
}

// Stop ends what Start began, last first so that no component loses its server, waits
// for it, and removes the temporary folder. Calling it twice is harmless. The
// error names components that had ended by themselves.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil
	}
	c.stopped = true
	var errs []error
	for _, p := range slices.Backward(c.running) {
		errs = append(errs, p.stop())
	}
	c.running = nil
	c.spawn.close()
	if c.ownsDir {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	return errors.Join(errs...)
}
