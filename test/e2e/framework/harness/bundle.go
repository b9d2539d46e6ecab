// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
)

var oneLine = regexp.MustCompile(`(?m)^(\s*- registry=)\S+`)

// Tree copies the kustomize tree and edits its one line, as a user does.
// components are uncommented there.
func (h *Harness) Tree(components ...string) (string, error) {
	dir, err := os.MkdirTemp(h.dir, "deploy-")
	if err != nil {
		return "", err
	}
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(h.Root, "deploy"))); err != nil {
		return "", err
	}
	top := filepath.Join(dir, "kustomization.yaml")
	text, err := os.ReadFile(top)
	if err != nil {
		return "", err
	}
	if n := len(oneLine.FindAll(text, -1)); n != 1 {
		return "", fmt.Errorf("%s: %d lines with the registry, want one", top, n)
	}
	text = oneLine.ReplaceAll(text, []byte("${1}"+Registry))
	for _, c := range components {
		text = bytes.Replace(text, []byte("# components:"), []byte("components:"), 1)
		before := len(text)
		text = bytes.Replace(text, []byte("# - components/"+c), []byte("- components/"+c), 1)
		if len(text) == before {
			return "", fmt.Errorf("%s: there is no commented component %s", top, c)
		}
	}
	return dir, os.WriteFile(top, text, 0o600)
}

// Privatelink runs the command line, as an administrator of the cluster.
func (h *Harness) Privatelink(ctx context.Context, args ...string) ([]byte, error) {
	return h.runAsAdministrator(ctx, h.CLI(), args...)
}

// runAsAdministrator runs a program with a home of its own. The error has what the
// program reported.
func (h *Harness) runAsAdministrator(ctx context.Context, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"KUBECONFIG=" + h.Kubeconfig, "HOME=" + h.dir}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	if err != nil {
		return out, fmt.Errorf("%s %v: %w", filepath.Base(program), args, err)
	}
	return out, nil
}

// AwaitWebhook returns when the newest pods of the Deployment are ready, as many
// of them as can run here, the Service leads to them alone, and the API server trusts
// them.
func (h *Harness) AwaitWebhook(ctx context.Context) error {
	err := Eventually(ctx, 60*time.Second, func(ctx context.Context) error {
		d, err := h.Client.AppsV1().Deployments(deploy.Namespace).Get(ctx, deploy.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		want := min(*d.Spec.Replicas, int32(h.Kubelet.Capacity()))
		s := d.Status
		if s.ObservedGeneration < d.Generation || s.UpdatedReplicas < want || s.ReadyReplicas != want || s.Replicas != *d.Spec.Replicas {
			return fmt.Errorf("of %d replicas %d are ready and %d up to date", s.Replicas, s.ReadyReplicas, s.UpdatedReplicas)
		}
		if err := h.awaitEndpoints(ctx, int(want)); err != nil {
			return err
		}
		return h.awaitTrust(ctx)
	})
	if err != nil {
		return fmt.Errorf("the webhook is not ready %w\n%s", err, h.Logs())
	}
	return nil
}

// awaitTrust waits for the CA in each entry. A replica that was ready before the
// configuration existed publishes it some seconds later.
func (h *Harness) awaitTrust(ctx context.Context) error {
	configuration, err := h.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, deploy.ConfigurationName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil // a tree without it
	}
	if err != nil {
		return err
	}
	for _, w := range configuration.Webhooks {
		if len(w.ClientConfig.CABundle) == 0 {
			return fmt.Errorf("webhook %s has no caBundle", w.Name)
		}
	}
	return nil
}

func (h *Harness) awaitEndpoints(ctx context.Context, want int) error {
	slices, err := h.Client.DiscoveryV1().EndpointSlices(deploy.Namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + deploy.Name})
	if err != nil {
		return err
	}
	ready := 0
	for _, s := range slices.Items {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready {
				ready++
			}
		}
	}
	if ready != want {
		return fmt.Errorf("the Service has %d ready endpoints, want %d", ready, want)
	}
	return nil
}
