// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// existing finds namespaces that are being deleted. Under the policy engine, the
// webhook's does not matter.
func (k *checker) existing(ctx context.Context) doctor.Finding {
	names := k.Rules.Namespaces()
	if k.Engine == Webhook {
		names = append([]string{k.Names.Namespace}, names...)
	}
	var absent []string
	for _, name := range names {
		n, err := k.Client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			absent = append(absent, name)
		case err != nil:
			return k.requestFailed("reading the namespace "+name, err)
		case n.DeletionTimestamp != nil:
			return terminating(n)
		}
	}
	if len(absent) > 0 {
		return doctor.OKf("not yet there: %s", strings.Join(absent, ", "))
	}
	return doctor.OKf("%s", strings.Join(names, ", "))
}

// remaining matches the kinds in the message of the condition NamespaceContentRemaining,
// such as "configmaps. has 1 resource instances, widgets.example.com has 2 ...".
var remaining = regexp.MustCompile(`([a-z0-9]+(?:\.[a-z0-9.-]*)?) has [0-9]+ resource instances`)

// terminating returns the finding for a namespace that is being deleted, with what holds
// it: finalizers of objects, or an API service that does not answer.
func terminating(n *corev1.Namespace) doctor.Finding {
	remedy := "wait for its end: kubectl get namespace " + n.Name + " --watch; then create it again"
	var details []string
	for _, c := range n.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		details = append(details, string(c.Type)+": "+c.Message)
		switch c.Type {
		case corev1.NamespaceDeletionDiscoveryFailure:
			remedy = "an aggregated API does not answer: repair or delete the one that is not available: kubectl get apiservices"
		case corev1.NamespaceContentRemaining:
			var commands []string
			for _, m := range remaining.FindAllStringSubmatch(c.Message, -1) {
				commands = append(commands, fmt.Sprintf(`kubectl -n %s get %s -o name | xargs -I {} kubectl -n %[1]s patch {} --type=merge -p '{"metadata":{"finalizers":null}}'`, n.Name, strings.TrimSuffix(m[1], ".")))
			}
			if len(commands) > 0 {
				remedy = "let the controllers of the finalizers run. If they are gone for good, remove their finalizers:\n" + strings.Join(commands, "\n")
			}
		}
	}
	return doctor.Failf(remedy, "the namespace %s is being deleted since %s", n.Name, n.DeletionTimestamp.UTC().Format("2006-01-02 15:04")).With(details...)
}

// perPage bounds the memory for a cluster of any size.
const perPage = 500

// otherNamespaces finds pods of CAST AI in namespaces that are not rewritten.
func (k *checker) otherNamespaces(ctx context.Context) doctor.Finding {
	configured, err := k.namespaces(ctx)
	if err != nil {
		return k.requestFailed("listing namespaces", err)
	}
	found := map[string]string{} // the first pod of each namespace
	options := metav1.ListOptions{Limit: perPage}
	for {
		page, err := k.Client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return k.requestFailed("listing the pods of all namespaces", err)
		}
		for _, p := range page.Items {
			if image := castaiImage(p); image != "" && found[p.Namespace] == "" && !slices.Contains(configured, p.Namespace) {
				found[p.Namespace] = fmt.Sprintf("%s: %s", objectName("Pod", p.Namespace, p.Name), image)
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			break
		}
	}
	if len(found) == 0 {
		return doctor.OKf("none")
	}
	var names, details []string
	for name, detail := range found {
		names, details = append(names, name), append(details, detail)
	}
	slices.Sort(names)
	slices.Sort(details)
	return doctor.Failf(fmt.Sprintf("add them to privatelink.yaml, then install it, and recreate the pods:\nnamespaces: [%s]\n%s", strings.Join(append(k.Rules.Namespaces(), names...), ", "), k.installCommand()),
		"CAST AI's images run in %s, and the configuration lists %s", strings.Join(names, ", "), strings.Join(configured, ", ")).With(details...)
}

// castaiImage returns the first public image of CAST AI in a pod, or "".
func castaiImage(p corev1.Pod) string {
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if slices.ContainsFunc(rewrite.Aliases(), func(prefix string) bool { return strings.HasPrefix(c.Image, prefix+"/") }) {
			return c.Image
		}
	}
	return ""
}
