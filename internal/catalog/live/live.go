// SPDX-License-Identifier: Apache-2.0

// Package live reads from a cluster which images CAST AI's namespaces use or
// will use: from the templates of workloads, what Helm stored of its releases,
// and pods.
//
// Running pods alone would not do: hooks and tests are short-lived, CronJobs are
// idle, and some Deployments begin with no replicas. Templates alone would not
// do either, since other webhooks and controllers add containers to pods.
//
// It only lists, and only in the namespaces of the configuration. Of what a
// Secret holds, only image references are reported.
package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Read adds to the list what the cluster names in the namespaces of the list's
// rules, and returns how many workloads, releases and pods it saw. Where the
// cluster refuses to list something, the error names the missing permission; the
// list is incomplete after an error.
func Read(ctx context.Context, client kubernetes.Interface, into *catalog.List) (seen int, err error) {
	r := newReader(client, into)
	err = readAll(ctx, client, r.rules, r.sources)
	return r.seen, err
}

// readAll reads the sources of each namespace of the rules.
func readAll(ctx context.Context, client kubernetes.Interface, rules *rewrite.Rules, sources func(namespace string) []source) error {
	namespaces, err := Namespaces(ctx, client, rules)
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("%w\nask for the right to list namespaces, which namespaceSelector needs: kubectl create clusterrole privatelink-namespaces --verb=list --resource=namespaces", err)
	} else if err != nil {
		return err
	}
	var refused []error
	var resources []string
	for _, namespace := range namespaces {
		resources = nil // the same in each
		for _, s := range sources(namespace) {
			resources = append(resources, s.resource)
			switch err := s.read(ctx); {
			case apierrors.IsForbidden(err): // go on: one message is to name all that is missing
				refused = append(refused, err)
			case err != nil:
				return err
			}
		}
	}
	if len(refused) > 0 {
		return fmt.Errorf("%w\nask for the right to list in these namespaces, and mind that Helm keeps releases in Secrets: %s", errors.Join(refused...), grant(namespaces, resources))
	}
	return nil
}

// Namespaces returns the namespaces that the rules list, and those in the cluster
// that their namespaceSelector selects.
func Namespaces(ctx context.Context, client kubernetes.Interface, rules *rewrite.Rules) ([]string, error) {
	names := rules.Namespaces()
	selector := rules.NamespaceSelector()
	if selector.IsEmpty() {
		return names, nil
	}
	found, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, fmt.Errorf("list the namespaces that namespaceSelector selects: %w", err)
	}
	for _, n := range found.Items {
		names = append(names, n.Name)
	}
	return names, nil
}

// Resources are what Read lists in each namespace, as kubectl spells them. The
// verb list is all that it needs.
func Resources() []string {
	return []string{"deployments.apps", "daemonsets.apps", "statefulsets.apps", "replicasets.apps", "jobs.batch", "cronjobs.batch", "pods", "secrets"}
}

// grant is the command that makes a sufficient role.
func grant(namespaces, resources []string) string {
	commands := make([]string, len(namespaces))
	for i, n := range namespaces {
		commands[i] = "kubectl create role privatelink-images -n " + n + " --verb=list --resource=" + strings.Join(resources, ",")
	}
	return strings.Join(commands, " && ")
}

type reader struct {
	client  kubernetes.Interface
	into    *catalog.List
	rules   *rewrite.Rules
	scanner *podspec.Scanner
	aliases bool // a private image without its public name gets that of an alias
	seen    int
}

func newReader(client kubernetes.Interface, into *catalog.List) *reader {
	rules := into.Rules()
	return &reader{client: client, into: into, rules: rules, scanner: podspec.NewScanner(rules.EnvVars(), []string{podspec.OriginalImages, podspec.MirrorPodAnnotation})}
}

// template adds the images of a workload.
func (r *reader) template(kind string, meta metav1.ObjectMeta, t corev1.PodTemplateSpec) error {
	return r.pod(catalog.Workload, kind, meta, corev1.Pod{ObjectMeta: t.ObjectMeta, Spec: t.Spec})
}

// pod adds the images of a pod or template that stands in the object with the
// kind and metadata. What the webhook rewrote goes back to the original that the
// annotation has, if the rules map one to the other: every user may write
// annotations.
func (r *reader) pod(from catalog.From, kind string, meta metav1.ObjectMeta, pod corev1.Pod) error {
	r.seen++
	// The image fields are known to podspec, which reads JSON.
	text, err := json.Marshal(pod)
	if err != nil {
		return fmt.Errorf("%s %s/%s: %w", kind, meta.Namespace, meta.Name, err)
	}
	found, err := r.scanner.Scan(text)
	if err != nil {
		return fmt.Errorf("%s %s/%s: %w", kind, meta.Namespace, meta.Name, err)
	}
	if _, static := found.Annotations[podspec.MirrorPodAnnotation]; static {
		return nil // the webhook does not rewrite it either
	}
	originals, _ := found.OriginalImages() // an invalid one is not the webhook's
	origin := catalog.Origin{From: from, Name: meta.Namespace, Object: kind + " " + meta.Name}
	for _, image := range found.Images {
		value := image.Value
		if original := originals[image.Location()]; original != "" && r.rules.Image(original).Target == value {
			value = original
		} else if r.aliases {
			value = aliasOf(r.rules, value)
		}
		if image.EnvIndex >= 0 {
			r.into.AddEnv(image.Env, value, origin)
		} else {
			r.into.Add(value, origin)
		}
	}
	return nil
}
