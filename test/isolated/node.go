// SPDX-License-Identifier: Apache-2.0

//go:build linux

package isolated

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster"
	"github.com/castai/privatelink-webhook/test/isolated/ecr"
	"github.com/castai/privatelink-webhook/test/isolated/machine"
)

// The ECR hosts that answer: the customer's, whose prefix Registry everything
// is run with, and that of the add-ons of EKS.
const (
	Host      = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
	AddOnHost = "602401143452.dkr.ecr.us-east-1.amazonaws.com"
	Registry  = Host + "/castai"
)

// Name is the node's.
const Name = "isolated"

const (
	bridge  = "privatelink0"
	address = "10.200.0.1" // of the node, of the API server for pods, and of ECR
	podCIDR = "10.200.0.0/24"
)

// Config is what Start needs. Programs are required.
type Config struct {
	Programs Programs
	Dir      string    // default: in memory. One given here is kept, for its logs
	Log      io.Writer // default: discards. Gets one line for each step
	// Manifests name the images to publish in addition to those of the catalog, and
	// how they behave: which of them are jobs, which answer probes.
	Manifests []string
}

// Node is a running node with its control plane and its registry.
type Node struct {
	*cluster.Cluster
	Programs
	ECR    *ecr.Registry
	Strict *fakeecr.Server      // an empty account, for the mirror
	Client kubernetes.Interface // of an administrator
	Rules  *rewrite.Rules       // of Registry alone
	// Digest is that of the stand-ins that stay and answer no probe, for
	// references that carry one.
	Digest string

	layers     map[string]v1.Layer // of the stand-ins, by architecture
	dir        string
	log        io.Writer
	components []*component // in the order of their start
}

// component is a program of the node.
type component struct {
	*cluster.Component
	name string
}

// Start starts a node on the machine that Run made, once there. It returns when
// the node is ready and all images are in the registry.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	if machine.Cgroup() == "" {
		return nil, errors.New("node: Start works only inside Run")
	}
	n := &Node{Programs: cfg.Programs, dir: cfg.Dir, log: cfg.Log}
	if n.dir == "" {
		n.dir = "/var/lib/privatelink-node"
	}
	if n.log == nil {
		n.log = io.Discard
	}
	if err := n.start(ctx, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("node: %w", err), n.Stop())
	}
	return n, nil
}

func (n *Node) start(ctx context.Context, cfg Config) (err error) {
	begin := time.Now()
	if n.Rules, err = rewrite.New(rewrite.Config{Registry: Registry}); err != nil {
		return err
	}
	n.Strict = fakeecr.New(fakeecr.Options{Account: "210987654321", Region: "us-east-1", Switches: fakeecr.Switches{BlobMounting: true, Direct: true}})
	if err := errors.Join(os.MkdirAll(n.dir, 0o700), machine.Bridge(bridge, address+"/24"), n.nameRegistries()); err != nil {
		return err
	}
	if n.ECR, err = ecr.Start(address+":443", n.Strict, Host, AddOnHost); err != nil {
		return err
	}
	if err := n.ECR.Await(ctx, Host); err != nil {
		return err
	}
	both, ctx2 := errgroup.WithContext(ctx)
	both.Go(func() error { return n.publish(ctx2, cfg) })
	both.Go(func() error { return n.startControlPlane(ctx2) })
	if err := both.Wait(); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{n.connect, n.startContainerd, n.startKubernetes, n.awaitReady} {
		if err := step(ctx); err != nil {
			return errors.Join(err, n.Err())
		}
	}
	fmt.Fprintf(n.log, "node ready after %s\n", time.Since(begin).Round(100*time.Millisecond))
	return nil
}

// nameRegistries resolves the ECR hosts, as the private DNS of a VPC endpoint
// does. No other name resolves.
func (n *Node) nameRegistries() error {
	f, err := os.OpenFile(machine.Hosts, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %s %s %s\n", address, Host, AddOnHost, n.Strict.Host())
	return errors.Join(err, f.Close())
}

// startControlPlane makes the API server known to pods, unlike one without a
// node: by the Service "kubernetes", at an address that is not loopback.
func (n *Node) startControlPlane(ctx context.Context) (err error) {
	n.Cluster, err = cluster.Start(ctx, cluster.Config{
		Bin: n.Kubernetes, Dir: filepath.Join(n.dir, "cluster"), Log: n.log, Names: []string{address},
		APIServerArgs: []string{"--bind-address=0.0.0.0", "--advertise-address=" + address, "--endpoint-reconciler-type=lease", "--kubelet-preferred-address-types=InternalIP"},
		// Elsewhere the API servers learn later than here that a pod ends, and
		// go on to call it: without this a webhook could end at once, unpunished.
		ControllerManagerArgs: []string{"--endpointslice-updates-batch-period=2s"},
	})
	return err
}

func (n *Node) connect(context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", n.Kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 1000, 2000
	config.WarningHandler = rest.NoWarnings{}
	n.Client, err = kubernetes.NewForConfig(config)
	return err
}

// run starts a program of the node.
func (n *Node) run(name string, grace time.Duration, path string, args ...string) error {
	c, err := n.Cluster.Run(name, grace, []string{"PATH=" + n.containerd() + ":" + searchPath, "HOME=" + n.dir}, path, args...)
	if err != nil {
		return err
	}
	n.components = append(n.components, &component{Component: c, name: name})
	return nil
}

// Err is nil while everything that was started runs.
func (n *Node) Err() error {
	var errs []error
	for _, c := range n.components {
		errs = append(errs, c.Err())
	}
	return errors.Join(errs...)
}

// Stop ends the node, its kubelet first, so that no component loses a dependency.
// Containers that still run, and all else that a node leaves, end with the
// machine.
func (n *Node) Stop() error {
	var errs []error
	for i := len(n.components) - 1; i >= 0; i-- {
		errs = append(errs, n.components[i].Stop())
	}
	n.components = nil
	if n.Cluster != nil {
		errs = append(errs, n.Cluster.Stop())
	}
	if n.ECR != nil {
		errs = append(errs, n.ECR.Stop())
	}
	return errors.Join(errs...)
}

// Tail is the end of a component's log.
func (n *Node) Tail(component string, lines int) string {
	text, err := os.ReadFile(n.LogFile(component))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
