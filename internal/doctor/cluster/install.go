// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Release is a Helm release. The zero value is none.
type Release struct {
	Name, Namespace string
	// IsServerSide tells a release that Helm 4 has installed: it applies objects server-side.
	IsServerSide bool
}

const releaseAnnotation = "meta.helm.sh/release-name"

// ReleaseOf returns the release that an object belongs to.
// https://helm.sh/docs/chart_best_practices/labels/
func ReleaseOf(o metav1.Object) Release {
	name := o.GetAnnotations()[releaseAnnotation]
	if name == "" {
		return Release{}
	}
	isServerSide := slices.ContainsFunc(o.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool {
		return f.Operation == metav1.ManagedFieldsOperationApply && f.FieldsV1 != nil && strings.Contains(f.FieldsV1.GetRawString(), `"f:`+releaseAnnotation+`"`)
	})
	return Release{name, o.GetAnnotations()["meta.helm.sh/release-namespace"], isServerSide}
}

// InstallCommand returns the commands that install the bundle of an engine. What Helm has
// installed is Helm's to mend: kubectl would become a second owner of its fields, and the
// next upgrade a conflict. What kubectl has changed already is one for Helm 4 unless it is
// forced; Helm refuses that for a release that it does not apply server-side.
func InstallCommand(e Engine, r Release) string {
	if r != (Release{}) {
		command := fmt.Sprintf("privatelink chart --to privatelink-webhook.tgz\n"+
			"privatelink chart values --config privatelink.yaml | helm upgrade %s privatelink-webhook.tgz --namespace %s --reset-then-reuse-values --values - --wait", r.Name, r.Namespace)
		if r.IsServerSide {
			command += " --force-conflicts"
		}
		return command
	}
	engine := ""
	if e == Policy {
		engine = " --engine policy"
	}
	return fmt.Sprintf("privatelink install --config privatelink.yaml%s | kubectl apply -f -", engine)
}

func (k *checker) installCommand() string { return InstallCommand(k.Engine, k.Release) }

// scaleCommand has two replicas run.
func (k *checker) scaleCommand() string {
	if k.Release != (Release{}) {
		return k.installCommand() + " --set replicas=2"
	}
	return fmt.Sprintf("kubectl -n %s scale deployment/%s --replicas=2", k.Names.Namespace, k.Names.Deployment)
}

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
