// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"maps"
	"slices"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"

	"github.com/castai/privatelink-webhook/internal/jsonpatch"
)

// Pods are settings of the webhook's pods and of the objects around them. Fields
// with the name of a field of Kubernetes have its form. They replace those of the
// bundle; what is empty is left out of the bundle.
type Pods struct {
	ImagePullPolicy           string
	ImagePullSecrets          []any
	Resources                 map[string]any
	NodeSelector              map[string]any
	Tolerations               []any
	Affinity                  map[string]any
	TopologySpreadConstraints []any
	PriorityClassName         string

	// Labels and Annotations are added to those of the bundle's pods.
	Labels, Annotations map[string]any
	// CommonLabels are added to those of all objects and of the pods. Selectors
	// do not have them: those of a Deployment cannot be changed.
	CommonLabels map[string]string

	// MaxUnavailable is that of the PodDisruptionBudget, a number or a percentage;
	// nil for no PodDisruptionBudget.
	MaxUnavailable any
	// NoNetworkPolicy leaves out the NetworkPolicy, and NoScrapeAnnotations the
	// annotations that Prometheus finds pods by.
	NoNetworkPolicy, NoScrapeAnnotations bool

	// MonitoringLabels are added to the PodMonitor and the PrometheusRule of the overlay
	// monitoring. NoPodMonitor, NoPrometheusRule and NoDashboard leave out an object of it.
	MonitoringLabels                            map[string]string
	NoPodMonitor, NoPrometheusRule, NoDashboard bool
}

// ReservedLabels are the labels of the bundle's pods, and ReservedAnnotations the
// annotations, which settings cannot change.
func ReservedLabels() []string {
	return []string{"app.kubernetes.io/name", "app.kubernetes.io/part-of"}
}

// ReservedAnnotations are described at ReservedLabels.
func ReservedAnnotations() []string {
	return append(scrapeAnnotations(), "kubectl.kubernetes.io/default-container")
}

func scrapeAnnotations() []string { return []string{"prometheus.io/scrape", "prometheus.io/port"} }

// check refuses labels and annotations that the bundle sets itself.
func (p *Pods) check() error {
	for _, key := range ReservedLabels() {
		_, isCommon := p.CommonLabels[key]
		if _, isOfMonitoring := p.MonitoringLabels[key]; isCommon || isOfMonitoring || p.Labels[key] != nil {
			return fmt.Errorf("label %q: selectors of the bundle need its own value: use another key", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(p.Labels)) {
		if _, ok := p.CommonLabels[key]; ok {
			return fmt.Errorf("label %q: is a label of pods and of all objects: set it once", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(p.MonitoringLabels)) {
		if _, ok := p.CommonLabels[key]; ok {
			return fmt.Errorf("label %q: is a label of monitoring and of all objects: set it once", key)
		}
	}
	for _, key := range ReservedAnnotations() {
		if p.Annotations[key] != nil {
			return fmt.Errorf("annotation %q: the bundle sets it: use another key", key)
		}
	}
	return nil
}

// edits are the changes of the Deployment.
func (p *Pods) edits() edits {
	e := edits{kind: "Deployment", name: Name}
	const spec = "/spec/template/spec/"
	set := func(path string, value any, isEmpty, isInBundle bool) {
		switch {
		case !isEmpty:
			e.operations = append(e.operations, jsonpatch.Add(path, value))
		case isInBundle:
			e.operations = append(e.operations, jsonpatch.Remove(path))
		}
	}
	set(spec+"containers/0/imagePullPolicy", p.ImagePullPolicy, p.ImagePullPolicy == "", true)
	set(spec+"containers/0/resources", p.Resources, len(p.Resources) == 0, true)
	set(spec+"imagePullSecrets", p.ImagePullSecrets, len(p.ImagePullSecrets) == 0, false)
	set(spec+"nodeSelector", p.NodeSelector, len(p.NodeSelector) == 0, true)
	set(spec+"tolerations", p.Tolerations, len(p.Tolerations) == 0, true)
	set(spec+"affinity", p.Affinity, len(p.Affinity) == 0, false)
	set(spec+"topologySpreadConstraints", p.TopologySpreadConstraints, len(p.TopologySpreadConstraints) == 0, true)
	set(spec+"priorityClassName", p.PriorityClassName, p.PriorityClassName == "", true)
	for _, key := range slices.Sorted(maps.Keys(p.Labels)) {
		set("/spec/template/metadata/labels/"+jsonpatch.Escape(key), p.Labels[key], false, false)
	}
	for _, key := range slices.Sorted(maps.Keys(p.Annotations)) {
		set("/spec/template/metadata/annotations/"+jsonpatch.Escape(key), p.Annotations[key], false, false)
	}
	if p.NoScrapeAnnotations {
		for _, key := range scrapeAnnotations() {
			set("/spec/template/metadata/annotations/"+jsonpatch.Escape(key), nil, true, true)
		}
	}
	return e
}

// apply adds the settings to the kustomization around the bundle.
func (p *Pods) apply(k *types.Kustomization) error {
	if err := p.check(); err != nil {
		return err
	}
	if len(p.CommonLabels) > 0 {
		k.Labels = append(k.Labels, types.Label{Pairs: p.CommonLabels, IncludeTemplates: true})
	}
	all := []edits{p.edits()}
	if p.MaxUnavailable != nil {
		budget := edits{kind: "PodDisruptionBudget", name: Name}
		budget.replace("/spec/maxUnavailable", p.MaxUnavailable)
		all = append(all, budget)
	} else {
		k.Patches = append(k.Patches, deletion("policy/v1", "PodDisruptionBudget", Name))
	}
	for _, kind := range []string{"PodMonitor", "PrometheusRule"} {
		labels := edits{kind: kind, name: Name}
		for _, key := range slices.Sorted(maps.Keys(p.MonitoringLabels)) {
			labels.operations = append(labels.operations, jsonpatch.Add("/metadata/labels/"+jsonpatch.Escape(key), p.MonitoringLabels[key]))
		}
		all = append(all, labels)
	}
	if p.NoPodMonitor {
		k.Patches = append(k.Patches, deletion("monitoring.coreos.com/v1", "PodMonitor", Name))
	}
	if p.NoPrometheusRule {
		k.Patches = append(k.Patches, deletion("monitoring.coreos.com/v1", "PrometheusRule", Name))
	}
	if p.NoDashboard {
		k.Patches = append(k.Patches, deletion("v1", "ConfigMap", DashboardName))
	}
	if p.NoNetworkPolicy {
		k.Patches = append(k.Patches, deletion("networking.k8s.io/v1", "NetworkPolicy", Name))
	}
	patches, err := toPatches(all)
	k.Patches = append(k.Patches, patches...)
	return err
}

// deletion is the patch that leaves out an object, if the bundle has it.
func deletion(apiVersion, kind, name string) types.Patch {
	return types.Patch{
		Patch:  fmt.Sprintf("$patch: delete\napiVersion: %s\nkind: %s\nmetadata:\n  name: %s\n", apiVersion, kind, name),
		Target: &types.Selector{ResId: resid.ResId{Gvk: resid.Gvk{Kind: kind}, Name: "^" + name + "$"}},
	}
}
