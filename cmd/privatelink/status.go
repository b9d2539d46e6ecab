// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor/cluster"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/status"
)

// statusFlags say where to look.
type statusFlags struct {
	of         clusterFlags
	lock       string
	noRegistry bool
	profile    string
	timeout    time.Duration
	output     string
}

func newStatus() *cobra.Command {
	var f statusFlags
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what the webhook does, on one screen",
		Long: `Show the webhook's replicas, the images that they rewrote since they started by the
registry that these came from, images of the lock file that the private registry
lacks, when certificates expire, and the configuration in force.

Metrics are read from each replica through the API server, which needs the right
to get pods/proxy in the namespace castai-privatelink. On EKS the port for metrics,
8080, must be open from the cluster security group.

The registry is asked about the images of the lock file; without a lock file, or
with --no-registry, it is not, and the screen says so.

Exit codes: 0 all is well; 3 something is to be put right: fewer replicas are ready
than wanted, images are missing or differ, a configuration was refused or is not
that of the cluster, a certificate has expired; 1 no such fault was seen, but
something could not be asked; 2 wrong usage.`,
		Example: `  privatelink status
  privatelink status --no-registry -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	f.of.add(c.Flags())
	c.Flags().StringVar(&f.lock, "lock", lock.DefaultFile, "`FILE` with the images to look for in the registry")
	c.Flags().BoolVar(&f.noRegistry, "no-registry", false, "do not ask the private registry")
	c.Flags().StringVar(&f.profile, "profile", "", "AWS `PROFILE` for ECR (default: as the AWS CLI)")
	c.Flags().DurationVar(&f.timeout, "timeout", 10*time.Second, "`DURATION` after which what did not answer is given up")
	c.Flags().StringVarP(&f.output, "output", "o", "", "json (default: a screen)")
	return c
}

func (f *statusFlags) run(c *cobra.Command) error {
	if f.output != "" && f.output != "json" {
		return usageError{fmt.Errorf("--output %q: use json", f.output)}
	}
	client, err := f.of.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), f.timeout)
	defer cancel()
	var s status.Status
	var group errgroup.Group
	group.Go(func() error { return replicas(ctx, client, &s) })
	group.Go(func() (err error) {
		s.Registry, err = f.registry(ctx, c)
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	s.Sum()
	now := time.Now()
	if f.output == "json" {
		err = printJSON(c.OutOrStdout(), s)
	} else {
		err = s.Screen(c.OutOrStdout(), now)
	}
	switch v := s.Judge(now); {
	case err != nil:
		return err
	case len(v.Faults) > 0:
		return findings{len(v.Faults)}
	case len(v.Unseen) > 0:
		return reported{errors.New("not everything could be asked")}
	}
	return nil
}

// replicas asks the webhook's pods, and for the ConfigMap that they should have.
func replicas(ctx context.Context, client kubernetes.Interface, s *status.Status) error {
	d, err := client.AppsV1().Deployments(deploy.Namespace).Get(ctx, deploy.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("the webhook's Deployment: %w", err)
	}
	if s.Wanted = 1; d.Spec.Replicas != nil {
		s.Wanted = int(*d.Spec.Replicas)
	}
	pods, err := client.CoreV1().Pods(deploy.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
	if err != nil {
		return fmt.Errorf("the webhook's pods: %w", err)
	}
	live := slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { // evicted ones stay in the list, and are nobody
		return p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
	})
	s.Replicas = make([]status.Replica, len(live))
	var group errgroup.Group
	group.SetLimit(8)
	for n, pod := range live {
		group.Go(func() error {
			s.Replicas[n] = replica(ctx, client, pod)
			return nil
		})
	}
	group.Go(func() error {
		var err error
		if s.ConfigHash, err = configHash(ctx, client, d); err != nil {
			s.ConfigError = err.Error()
		}
		return nil
	})
	return group.Wait()
}

func replica(ctx context.Context, client kubernetes.Interface, pod corev1.Pod) status.Replica {
	r := status.Replica{Pod: pod.Name, Node: pod.Spec.NodeName, Ready: cluster.Ready(pod)}
	port := int32(8080)
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == "metrics" {
				port = p.ContainerPort
			}
		}
	}
	text, err := client.CoreV1().Pods(pod.Namespace).ProxyGet("http", pod.Name, strconv.Itoa(int(port)), "metrics", nil).DoRaw(ctx)
	if err == nil {
		err = r.Read(bytes.NewReader(text))
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// configHash is that of the ConfigMap that the Deployment mounts, counted as the
// webhook does.
func configHash(ctx context.Context, client kubernetes.Interface, d *appsv1.Deployment) (string, error) {
	for _, v := range d.Spec.Template.Spec.Volumes {
		if v.ConfigMap == nil {
			continue
		}
		m, err := client.CoreV1().ConfigMaps(d.Namespace).Get(ctx, v.ConfigMap.Name, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		if text, ok := m.Data[deploy.ConfigKey]; ok {
			sum := sha256.Sum256([]byte(text))
			return hex.EncodeToString(sum[:])[:12], nil
		}
	}
	return "", fmt.Errorf("the Deployment %s mounts none with the key %s", d.Name, deploy.ConfigKey)
}

// registry looks for the images of the lock file.
func (f *statusFlags) registry(ctx context.Context, c *cobra.Command) (r status.Registry, err error) {
	if f.noRegistry {
		return status.Registry{NotAsked: "--no-registry"}, nil
	}
	l, err := lock.Read(f.lock)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !c.Flags().Changed("lock"):
		return status.Registry{NotAsked: "there is no lock file " + f.lock + "; name one with --lock"}, nil
	case err != nil:
		return r, usageError{err}
	}
	login, err := awsecr.NewLogin(awsecr.LoginConfig{Profile: f.profile})
	if err != nil {
		return r, usageError{err}
	}
	client := registryClient(login, nil)
	errs := make([]error, len(l.Images))
	differs := make([]bool, len(l.Images))
	var group errgroup.Group
	group.SetLimit(16)
	for n, i := range l.Images {
		group.Go(func() error {
			target := rewrite.SplitReference(i.Target)
			found, err := client.Resolve(ctx, target.Repository, target.Identifier())
			errs[n], differs[n] = err, err == nil && found.Digest != i.Digest
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	r = status.Registry{Images: len(l.Images), Missing: []string{}, Differs: []string{}, Failed: []string{}}
	for n, i := range l.Images {
		switch {
		case errors.Is(errs[n], registry.ErrNotFound):
			r.Missing = append(r.Missing, i.Target)
		case errs[n] != nil:
			r.Failed = append(r.Failed, errs[n].Error())
		case differs[n]:
			r.Differs = append(r.Differs, i.Target)
		}
	}
	if n := len(r.Failed); n == len(l.Images) && n > 0 { // one cause, told once
		r = status.Registry{NotAsked: "none of its images could be asked about", Failed: r.Failed[:1]}
	}
	return r, nil
}
