// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	release "helm.sh/helm/v4/pkg/release/v1"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
)

// render does what helm install does with a chart before it speaks to a cluster.
func (j job) render(ctx context.Context, c *v2.Chart, given map[string]any) (Rendered, error) {
	kube, err := kubeVersion(j.KubeVersion)
	if err != nil {
		return Rendered{}, err
	}
	if err := installable(c, kube); err != nil {
		return Rendered{}, err
	}
	processed, err := processDependencies(c, given)
	if err != nil {
		return Rendered{}, err
	}
	top, notValidated, err := j.renderValues(c, given, kube)
	if err != nil {
		return Rendered{}, err
	}
	documents, err := execute(ctx, c, top, j.Parts != nil)
	if err != nil {
		return Rendered{}, err
	}
	return Rendered{
		Name: c.Name(), Version: c.Metadata.Version, Manifests: append(crds(c), documents...),
		Off: processed.off, Warnings: append(processed.warnings, notValidated...),
	}, nil
}

// renderValues are the values, the release and the capabilities as templates see
// them. It fails if the values do not suit values.schema.json, and warns of the
// parts of schemas that are not at hand.
func (j job) renderValues(c *v2.Chart, given map[string]any, kube *common.KubeVersion) (top common.Values, warnings []string, err error) {
	name := cmp.Or(j.Release, c.Name())
	if err := chartutil.ValidateReleaseName(name); err != nil {
		return nil, nil, fmt.Errorf("release %q: %w", name, err)
	}
	caps := common.DefaultCapabilities.Copy()
	caps.KubeVersion = *kube
	caps.APIVersions = slices.Concat(caps.APIVersions, j.APIVersions)

	in := common.ReleaseOptions{Name: name, Namespace: cmp.Or(j.Namespace, defaultNamespace), Revision: 1, IsInstall: true}
	// Helm's own validation fetches what a schema refers to.
	top, err = commonutil.ToRenderValuesWithSchemaValidation(c, given, in, caps, true)
	if err != nil {
		return nil, nil, fmt.Errorf("values: %w", err)
	}
	all, err := top.Table("Values")
	if err != nil {
		return nil, nil, fmt.Errorf("values: %w", err)
	}
	warnings, err = validate(c, all)
	return top, warnings, err
}

// execute runs the templates. It fails if one fails, or gives no YAML. With placeholders,
// a value that is required and missing is Placeholder.
func execute(ctx context.Context, c *v2.Chart, top common.Values, placeholders bool) ([]Manifest, error) {
	// An engine without a client: lookup finds nothing, as in helm template.
	e := engine.Engine{CustomTemplateFuncs: demands(placeholders)}
	files, err := e.RenderWithContext(ctx, c, top)
	if err != nil {
		return nil, explain(err, c)
	}
	for name := range files {
		if path.Base(name) == "NOTES.txt" {
			delete(files, name)
		}
	}
	hooks, others, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return nil, fmt.Errorf("%w: a value that is missing, or of another type, often shows so", err)
	}
	return sorted(hooks, others), nil
}

func crds(c *v2.Chart) []Manifest {
	var all []Manifest
	for _, crd := range c.CRDObjects() {
		all = append(all, Manifest{Name: crd.Filename, Text: crd.File.Data})
	}
	return all
}

// sorted returns hooks and other manifests in the order of their templates, so that
// equal charts give equal results.
func sorted(hooks []*release.Hook, others []releaseutil.Manifest) []Manifest {
	var all []Manifest
	for _, m := range others {
		all = append(all, Manifest{Name: m.Name, Text: []byte(m.Content)})
	}
	for _, h := range hooks {
		var events []string
		for _, e := range h.Events {
			events = append(events, e.String())
		}
		all = append(all, Manifest{Name: h.Path, Text: []byte(h.Manifest), Hook: strings.Join(events, ",")})
	}
	slices.SortStableFunc(all, func(a, b Manifest) int { return strings.Compare(a.Name, b.Name) })
	return all
}
