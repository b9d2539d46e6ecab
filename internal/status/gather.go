// SPDX-License-Identifier: Apache-2.0

package status

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor/cluster"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/mirror/lockstore"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// gatherReplicas reads the metrics of the webhook's pods through the API server,
// and the hash of the ConfigMap.
func (s *Status) gatherReplicas(ctx context.Context, client kubernetes.Interface) error {
	namespace := cluster.FindNamespace(ctx, client, deploy.ConfigurationName, deploy.Namespace)
	d, err := client.AppsV1().Deployments(namespace).Get(ctx, deploy.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && s.gatherPolicy(ctx, client) == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("get the webhook's Deployment: %w", err)
	}
	if s.Wanted = 1; d.Spec.Replicas != nil {
		s.Wanted = int(*d.Spec.Replicas)
	}
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
	if err != nil {
		return fmt.Errorf("list the webhook's pods: %w", err)
	}
	active := slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { // evicted pods remain in the list
		return p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
	})
	s.Replicas = make([]Replica, len(active))
	var group errgroup.Group
	group.SetLimit(8)
	for n, pod := range active {
		group.Go(func() error {
			s.Replicas[n] = gatherReplica(ctx, client, pod)
			return nil
		})
	}
	group.Go(func() error {
		text, err := configText(ctx, client, d)
		if err != nil {
			s.ConfigError = err.Error()
			return nil
		}
		sum := sha256.Sum256(text)
		s.ConfigHash = hex.EncodeToString(sum[:])[:12]
		s.installed, _ = rewrite.Load(deploy.ConfigKey, text) // replicas report a fault
		return nil
	})
	return group.Wait()
}

// gatherPolicy reads the policy of the other engine, which has no pods.
func (s *Status) gatherPolicy(ctx context.Context, client kubernetes.Interface) error {
	policy, err := client.AdmissionregistrationV1().MutatingAdmissionPolicies().Get(ctx, deploy.PolicyName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	bindings, err := client.AdmissionregistrationV1().MutatingAdmissionPolicyBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	isBound := func(b admissionv1.MutatingAdmissionPolicyBinding) bool { return b.Spec.PolicyName == policy.Name }
	s.Policy, s.Unbound = policy.Name, !slices.ContainsFunc(bindings.Items, isBound)
	if text, err := deploy.PolicyConfig(policy, bindings.Items); err == nil {
		s.installed, _ = rewrite.Load(policy.Name, text)
	}
	return nil
}

func gatherReplica(ctx context.Context, client kubernetes.Interface, pod corev1.Pod) Replica {
	r := Replica{Pod: pod.Name, Node: pod.Spec.NodeName, Ready: cluster.IsReady(pod)}
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

// configText returns the configuration in the ConfigMap that the Deployment mounts.
func configText(ctx context.Context, client kubernetes.Interface, d *appsv1.Deployment) ([]byte, error) {
	for _, v := range d.Spec.Template.Spec.Volumes {
		if v.ConfigMap == nil {
			continue
		}
		m, err := client.CoreV1().ConfigMaps(d.Namespace).Get(ctx, v.ConfigMap.Name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		if text, ok := m.Data[deploy.ConfigKey]; ok {
			return []byte(text), nil
		}
	}
	return nil, fmt.Errorf("the Deployment %s mounts none with the key %s", d.Name, deploy.ConfigKey)
}

// gatherRegistry resolves the images of the lock file.
func (s *Status) gatherRegistry(ctx context.Context, o Options, private *resolver) error {
	if o.SkipRegistry {
		s.Registry = Registry{NotChecked: "--no-registry"}
		return nil
	}
	file := o.LockFile
	if file == "" {
		file = lock.DefaultFile
	}
	s.lockFile = file
	store, err := lockstore.Open(file, lockstore.Options{Kubeconfig: o.Cluster, Profile: o.Profile})
	if err != nil {
		return exitcode.AsUsage(err)
	}
	l, err := store.Read(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist) && o.LockFile == "":
		s.Registry = Registry{NotChecked: "there is no lock file " + file + ": set --lock"}
		return nil
	case err != nil:
		return exitcode.AsUsage(err)
	}
	written, err := lockstore.Written(ctx, store)
	if err != nil {
		return exitcode.AsUsage(err)
	}
	if !written.IsZero() {
		s.Mirror.Lock, s.Mirror.LockWritten = file, written.UTC()
	}
	targets := make([]string, len(l.Images))
	for n, i := range l.Images {
		targets[n] = i.Target
	}
	lookups, err := private.resolve(ctx, targets)
	if err != nil {
		return err
	}
	r := Registry{Images: len(l.Images) + len(l.NotCopied), Missing: []string{}, Differs: []string{}, Failed: []string{}}
	for n, i := range l.Images {
		switch found := lookups[n]; {
		case errors.Is(found.err, registry.ErrNotFound):
			r.Missing = append(r.Missing, i.Target)
		case found.err != nil:
			r.Failed = append(r.Failed, found.err.Error())
		case found.digest != i.Digest:
			r.Differs = append(r.Differs, i.Target)
		}
	}
	for _, n := range l.NotCopied {
		r.Missing = append(r.Missing, cmp.Or(n.Target, n.Source))
	}
	if n := len(r.Failed); n == len(l.Images) && n > 0 { // all have the same cause
		r = Registry{NotChecked: "all requests failed", Failed: r.Failed[:1]}
	}
	s.Registry = r
	return nil
}
