// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster/lag"
)

// LaggingAPIServer is the name of the second API server for LogFile.
const LaggingAPIServer = "kube-apiserver-lagging"

// Lagging is a second API server on the same etcd. A managed control plane has
// two or more, and the others observe a write by their own watch,
// some time later. Lag sets that time.
type Lagging struct {
	Kubeconfig string // of an administrator

	server *Component
	etcd   *lag.Proxy
}

// StartLagging starts a second API server, with the certificate, the users and
// the keys of the first. It does not lag before Lag, because its start sends
// hundreds of sequential requests. The caller stops it before the cluster.
func (c *Cluster) StartLagging(ctx context.Context) (*Lagging, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	etcd, err := lag.Start(net.JoinHostPort("127.0.0.1", strconv.Itoa(c.layout.etcd)))
	if err != nil {
		return nil, err
	}
	l := c.layout
	l.etcd, l.apiServer = etcd.Port(), ports[0]
	s := &Lagging{Kubeconfig: filepath.Join(c.dir, "lagging.kubeconfig"), etcd: etcd}
	if err := s.start(ctx, c, l); err != nil {
		return nil, errors.Join(fmt.Errorf("cluster: %w", err), etcd.Close())
	}
	return s, nil
}

func (s *Lagging) start(ctx context.Context, c *Cluster, l layout) (err error) {
	if err := c.writeKubeconfig(s.Kubeconfig, l.apiServerURL(), c.probe.token); err != nil {
		return err
	}
	// The Service "kubernetes" stays that of the first.
	args := append(l.apiServerArgs(c.cfg), "--endpoint-reconciler-type=none")
	s.server, err = c.Run(LaggingAPIServer, 15*time.Second, nil, filepath.Join(filepath.Dir(c.KubectlPath), APIServer), args...)
	if err != nil {
		return err
	}
	c.mu.Lock() // a Restart may be asking
	c.probe.url[LaggingAPIServer] = l.apiServerURL() + "/readyz"
	c.mu.Unlock()
	if err := c.await(ctx, s.server.p); err != nil {
		_ = s.server.Stop() // err has the cause already
		return err
	}
	return nil
}

// Lag sets the delay with which the server observes all changes, including its
// own writes. Its connection to etcd is reestablished.
func (s *Lagging) Lag(d time.Duration) {
	s.etcd.Delay(d)
	s.etcd.Break()
}

// Stop stops the server and its proxy.
func (s *Lagging) Stop() error {
	s.Lag(0) // else its end would be as slow as its start
	return errors.Join(s.server.Stop(), s.etcd.Close())
}
