// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"errors"
	"fmt"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
)

// installable fails if Helm would refuse to install the chart whatever its values.
func installable(c *v2.Chart, kube *common.KubeVersion) error {
	if c.Metadata.Type == "library" {
		return errors.New("it is a library and has nothing to install: name a chart that depends on it")
	}
	if want := c.Metadata.KubeVersion; want != "" && !chartutil.IsCompatibleRange(want, kube.String()) {
		return fmt.Errorf("it wants Kubernetes %s, not %s: name the version of your cluster", want, kube.Version)
	}
	return nil
}

// switchOff removes the subcharts whose conditions or tags the values do not
// fulfil, and names those of the chart itself.
func switchOff(c *v2.Chart, given map[string]any) (off []string, err error) {
	declared := c.Metadata.Dependencies // Helm replaces it with a shorter list
	if err := chartutil.ProcessDependencies(c, given); err != nil {
		return nil, fmt.Errorf("dependencies: %w", err)
	}
	on := map[string]bool{}
	for _, d := range c.Metadata.Dependencies {
		on[d.Name] = true
	}
	for _, d := range declared {
		if d != nil && !on[d.Name] { // by its alias, which Helm has written there
			off = append(off, d.Name)
		}
	}
	return off, nil
}

// complete fails if a dependency that is on is not in the folder charts/, of the
// chart or of a subchart. Helm checks the chart alone: CAST AI's umbrella
// from its sources renders to nothing there, without an error.
func complete(c *v2.Chart) error {
	there := map[string]bool{}
	for _, d := range c.Dependencies() {
		there[d.Name()] = true
	}
	var missing []string
	for _, d := range c.Metadata.Dependencies {
		if d != nil && !there[d.Name] {
			missing = append(missing, d.Name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s/charts lacks %s: run `helm dependency build` in the folder above it, or switch them off", c.ChartFullPath(), strings.Join(missing, ", "))
	}
	for _, d := range c.Dependencies() {
		if err := complete(d); err != nil {
			return err
		}
	}
	return nil
}
