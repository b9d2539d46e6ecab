// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
)

// Off is a subchart that the values switch off, so that its images are not listed.
type Off struct {
	// Path has the names of the subcharts from the chart down, such as
	// autoscaler/castai-agent.
	Path string
	// Set are values that switch it on; each of them suffices.
	Set []string
}

// String names the subchart and the values that switch it on.
func (o Off) String() string {
	return fmt.Sprintf("%s is off: set %s", o.Path, strings.Join(o.Set, " or "))
}

// A declaration is a chart as its Chart.yaml and its folder charts/ have it. Helm
// shortens both lists when it processes the dependencies.
type declaration struct {
	name, version string
	dependencies  []v2.Dependency
	vendored      []*declaration
}

func declarationOf(c *v2.Chart) *declaration {
	d := &declaration{name: c.Name(), version: c.Metadata.Version}
	for _, dependency := range c.Metadata.Dependencies {
		if dependency != nil {
			d.dependencies = append(d.dependencies, *dependency)
		}
	}
	for _, v := range c.Dependencies() {
		d.vendored = append(d.vendored, declarationOf(v))
	}
	return d
}

// nameOf returns the name that a dependency has in the values.
func nameOf(d v2.Dependency) string {
	if d.Alias != "" {
		return d.Alias
	}
	return d.Name
}

// find returns the chart in charts/ that Helm takes for a dependency, nil if there
// is none. Another version than the requested one is taken only if there is no
// better one; Helm then renders it under its own name, not under the alias.
func (d *declaration) find(dependency v2.Dependency) (found *declaration, compatible bool) {
	for _, v := range d.vendored {
		if v.name != dependency.Name {
			continue
		}
		if chartutil.IsCompatibleRange(dependency.Version, v.version) {
			return v, true
		}
		found = v
	}
	return found, false
}

// dependencies is the result of processing the dependencies of a chart.
type dependencies struct {
	values   common.Values // of the chart and its subcharts, before any was removed
	off      []Off
	warnings []string
}

// processDependencies removes the subcharts whose conditions or tags the values do
// not fulfill. It fails if a subchart that is on is not in a folder charts/. Helm
// checks the first level alone: CAST AI's umbrella from its sources renders to
// nothing there, without an error.
func processDependencies(c *v2.Chart, given map[string]any) (*dependencies, error) {
	declared := declarationOf(c)
	all, err := commonutil.CoalesceValues(c, given)
	if err != nil {
		return nil, fmt.Errorf("values: %w", err)
	}
	if err := chartutil.ProcessDependencies(c, given); err != nil {
		return nil, fmt.Errorf("dependencies: %w", err)
	}
	d := &dependencies{values: all}
	return d, d.compare(c, declared, nil)
}

// compare compares a chart whose dependencies were processed with its declaration.
func (d *dependencies) compare(c *v2.Chart, declared *declaration, path []string) error {
	on := map[string]bool{}
	for _, dependency := range c.Metadata.Dependencies {
		on[dependency.Name] = true // the alias, which Helm has written there
	}
	inFolder := map[string]*declaration{}
	for _, v := range declared.vendored {
		inFolder[v.name] = v
	}
	var missing []string
	for _, dependency := range declared.dependencies {
		name := nameOf(dependency)
		found, compatible := declared.find(dependency)
		switch {
		case !on[name]:
			d.off = append(d.off, Off{Path: strings.Join(append(path, name), "/"), Set: d.switches(dependency, path)})
		case found == nil:
			missing = append(missing, name)
		case !compatible:
			d.warnings = append(d.warnings, fmt.Sprintf("%s/charts has %s %s and Chart.yaml requests %s: it is rendered as Helm does, under the name %s",
				c.ChartFullPath(), found.name, found.version, dependency.Version, found.name))
		default:
			inFolder[name] = found
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s/charts lacks %s: run `helm dependency build` in the folder above it, or switch them off", c.ChartFullPath(), strings.Join(missing, ", "))
	}
	for _, sub := range c.Dependencies() {
		if found := inFolder[sub.Name()]; found != nil {
			if err := d.compare(sub, found, append(slices.Clone(path), sub.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// switches returns the values that switch a dependency of the chart at a path on. A
// condition that has a value decides; otherwise a tag or a condition does.
func (d *dependencies) switches(dependency v2.Dependency, path []string) (set []string) {
	prefix := strings.Join(append(slices.Clone(path), ""), ".")
	var conditions []string
	for condition := range strings.SplitSeq(strings.TrimSpace(dependency.Condition), ",") {
		if condition == "" {
			continue
		}
		if value, err := d.values.PathValue(prefix + condition); err == nil {
			if _, decides := value.(bool); decides {
				return []string{prefix + condition + "=true"}
			}
		}
		conditions = append(conditions, prefix+condition+"=true")
	}
	for _, tag := range dependency.Tags {
		set = append(set, "tags."+tag+"=true")
	}
	return append(set, conditions...)
}
