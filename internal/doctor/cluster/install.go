// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Release is a Helm release. The zero value is none.
type Release struct{ Name, Namespace string }

// ReleaseOf returns the release that an object belongs to.
// https://helm.sh/docs/chart_best_practices/labels/
func ReleaseOf(o metav1.Object) Release {
	return Release{o.GetAnnotations()["meta.helm.sh/release-name"], o.GetAnnotations()["meta.helm.sh/release-namespace"]}
}

// InstallCommand returns the commands that install the bundle of an engine. What Helm has
// installed is Helm's to mend: kubectl would become a second owner of its fields, and the
// next upgrade a conflict.
func InstallCommand(e Engine, r Release) string {
	if r != (Release{}) {
		return fmt.Sprintf("privatelink chart --to privatelink-webhook.tgz\n"+
			"privatelink chart values --config privatelink.yaml | helm upgrade %s privatelink-webhook.tgz --namespace %s --reset-then-reuse-values --values - --wait", r.Name, r.Namespace)
	}
	engine := ""
	if e == Policy {
		engine = " --engine policy"
	}
	return fmt.Sprintf("privatelink install --config privatelink.yaml%s | kubectl apply -f -", engine)
}

func (k *checker) installCommand() string { return InstallCommand(k.Engine, k.Release) }

// diffHint says how to see what installCommand would change.
func (k *checker) diffHint() string {
	if k.Release != (Release{}) {
		return "\n(--dry-run=server instead of --wait shows what is applied)"
	}
	return "\n(kubectl diff -f - instead of kubectl apply -f - shows what changes)"
}

// restartCommand replaces the webhook's pods at once. The new ones publish their CA.
func (k *checker) restartCommand() string {
	return fmt.Sprintf("kubectl -n %s rollout restart deployment/%s", k.Names.Namespace, k.Names.Deployment)
}
