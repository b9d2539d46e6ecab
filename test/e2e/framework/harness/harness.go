// SPDX-License-Identifier: Apache-2.0

// Package harness runs the product as its users do: a real control plane, the
// shipped bundle applied with kubectl, and the webhook's Deployment brought to
// life from the pods that the API server made of it.
package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster"
	"github.com/castai/privatelink-webhook/test/e2e/framework/kubelet"
)

// Registry is the prefix that everything is run with.
const Registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"

// Harness is a running control plane with one node that runs the webhook.
type Harness struct {
	*cluster.Cluster
	Programs
	Client  kubernetes.Interface // of an administrator
	Kubelet *kubelet.Kubelet

	dir string
}

// Start starts the control plane and the node. The bundle is not applied yet.
func Start(ctx context.Context, p Programs, log io.Writer) (*Harness, error) {
	dir, err := os.MkdirTemp("", "privatelink-run-")
	if err != nil {
		return nil, err
	}
	h := &Harness{Programs: p, dir: dir}
	if err := h.start(ctx, log); err != nil {
		return nil, errors.Join(err, h.Stop())
	}
	return h, nil
}

func (h *Harness) start(ctx context.Context, log io.Writer) (err error) {
	if h.Cluster, err = cluster.Start(ctx, cluster.Config{Bin: h.Kubernetes, Log: log}); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", h.Kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 1000, 2000
	config.WarningHandler = rest.NoWarnings{}
	if h.Client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	h.Kubelet, err = h.StartKubelet(ctx, deploy.Namespace, log)
	return err
}

// StartKubelet starts a node that runs the pods of another namespace. It has the same
// addresses, so the pods of the one must be gone before those of the other come.
func (h *Harness) StartKubelet(ctx context.Context, namespace string, log io.Writer) (*kubelet.Kubelet, error) {
	return kubelet.Start(ctx, kubelet.Config{
		Client: h.Client, Namespace: namespace, Program: h.program, Kubeconfig: h.WriteKubeconfig,
		Addresses: h.Addresses, Dir: h.dir, Log: log,
	})
}

// program is what is in the image that the Deployment names: what was built
// here, under the name that the mirror gives it.
func (h *Harness) program(image string) (string, error) {
	if !strings.HasPrefix(image, Registry+"/"+deploy.Image+":") {
		return "", fmt.Errorf("image %s is not %s/%s with a tag", image, Registry, deploy.Image)
	}
	return h.Webhook(), nil
}

// Stop ends everything that Start began.
func (h *Harness) Stop() error {
	if h.Kubelet != nil {
		h.Kubelet.Stop()
	}
	var err error
	if h.Cluster != nil {
		err = h.Cluster.Stop()
	}
	return errors.Join(err, os.RemoveAll(h.dir))
}

// Logs are the ends of the logs of the webhook's pods, those that are gone
// included.
func (h *Harness) Logs() string {
	files, _ := filepath.Glob(filepath.Join(h.dir, "*.log")) // the pattern is well-formed
	var b strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			text = []byte(err.Error())
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(&b, "--- the end of %s\n%s\n", filepath.Base(f), strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
	return b.String()
}

// Eventually calls check until it returns nil, and reports its last error when
// that takes too long.
func Eventually(ctx context.Context, timeout time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	begin := time.Now()
	last := errors.New("not tried yet")
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %s: %w", time.Since(begin).Round(100*time.Millisecond), last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
