// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"maps"
	"slices"
	"strings"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Two images are run although no manifest has them in an image field, because a
// program of the vendor makes their names at run time.
const (
	controller = "kvisor-controller"
	scanners   = "kvisor-scanners"
	autoscaler = "workload-autoscaler"
	jmxInit    = "jmx-exporter-init"
	// jmxVariable is the autoscaler's environment variable with that image.
	jmxVariable = "JMX_EXPORTER_INIT_IMAGE"
)

// derive returns a copy of the list with the images that follow from those in
// it.
func (l *List) derive() *List {
	all := &List{rules: l.rules, tagged: clone(l.tagged), untagged: clone(l.untagged)}
	for _, e := range l.tagged {
		i := l.image(e)
		if i.Unmapped() {
			continue
		}
		switch base(rewrite.SplitReference(i.Source).Repository) {
		case controller:
			all.deriveScanners(i)
		case autoscaler:
			if all.requestsJMX(i) {
				all.deriveJMX(i)
			}
		}
	}
	return all
}

func clone(candidates map[string]*candidate) map[string]*candidate {
	out := make(map[string]*candidate, len(candidates))
	for target, e := range candidates {
		out[target] = &candidate{spellings: maps.Clone(e.spellings), origins: maps.Clone(e.origins), notes: maps.Clone(e.notes), webhook: e.webhook, carried: e.carried}
	}
	return out
}

// contains reports whether an image of that name is in the list, in any
// registry.
func (l *List) contains(name string) bool {
	for _, e := range l.tagged {
		for source := range e.spellings {
			if base(rewrite.SplitReference(source).Repository) == name {
				return true
			}
		}
	}
	return false
}

// deriveScanners adds the image of kvisor's scan Jobs. Unless SCANNERS_IMAGE is
// set, the controller takes the image of its own running pod and replaces the
// first "-controller" in it:
// https://github.com/castai/kvisor/blob/main/cmd/controller/kube/client.go
func (l *List) deriveScanners(from Entry) {
	origin := Origin{From: Rule, Name: from.Source, Object: "requests " + scanners + " with its own tag"}
	source := rewrite.SplitReference(from.Source)
	image := rewrite.Reference{Repository: strings.TrimSuffix(source.Repository, controller) + scanners, Tag: source.Tag}
	if source.Tag == "" && source.Digest != "" {
		if !l.contains(scanners) {
			l.addUntagged(image.Repository, origin).notes["its controller is pinned by a digest, which is not the digest of "+scanners+": set SCANNERS_IMAGE there"] = true
		}
		return
	}
	derived := l.public(l.rules.Image(image.String()))
	e := l.add(l.tagged, derived, origin)
	if requested := strings.Replace(from.Target, "-controller", "-scanners", 1); requested != derived.Target {
		e.notes["kvisor will request "+requested+" instead: set SCANNERS_IMAGE on the controller"] = true
	}
}

// requestsJMX reports whether the workload autoscaler gives an init container to JVM
// pods whose image no source can name. Its chart sets JMX_EXPORTER_INIT_IMAGE
// whenever the feature is on, so this is so only if the configuration does not list
// the variable. The exporter's chart runs the same image for another purpose.
func (l *List) requestsJMX(e Entry) bool {
	if slices.Contains(l.rules.EnvVars(), jmxVariable) || l.contains(jmxInit) {
		return false
	}
	return slices.ContainsFunc(e.Origins, func(o Origin) bool {
		return !strings.Contains(o.Name+o.Object, autoscaler+"-exporter")
	})
}

// deriveJMX adds the default of that init container.
func (l *List) deriveJMX(from Entry) {
	origin := Origin{From: Rule, Name: from.Source, Object: "gives it to JVM pods"}
	for _, r := range Rows() {
		if base(r.Repository) == jmxInit && r.Tag != "" {
			e := l.add(l.tagged, l.rules.Image(r.reference(r.Repository)), origin)
			e.notes["the catalog's default: the chart may name another in "+jmxVariable] = true
		}
	}
}
