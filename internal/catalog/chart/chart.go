// SPDX-License-Identifier: Apache-2.0

// Package chart renders a Helm chart as helm install would, without a cluster,
// so that the images of its hooks and tests are seen as well as those of its
// workloads.
//
// It uses Helm's parts and not Helm's action package: action.Install without a
// cluster takes the same steps, down to engine and releaseutil.SortManifests, but
// joins the documents into one text and links Helm's client of Kubernetes, 300
// packages more, for nothing that is used here.
//
// Helm's HTTP getter is not used either: it knows neither a context nor a limit.
// The one client here has both, and serves chart repositories, archives and OCI
// registries alike. Helm's own list of repositories (helm repo add) is not read.
//
// A chart is a program. It cannot reach the cluster, the environment, files
// outside its folder or the DNS, but the schema of its values may name a URL,
// which Helm then fetches.
package chart

import (
	"cmp"
	"context"
	"fmt"

	"helm.sh/helm/v4/pkg/chart/common"
)

const (
	// DefaultRepo is where CAST AI publishes its charts.
	DefaultRepo = "https://castai.github.io/helm-charts"

	defaultKubeVersion = "v1.37.0"
	defaultNamespace   = "castai-agent"
)

// Options name a chart and the values to render it with. Chart is required.
type Options struct {
	Chart   string // a folder, an archive, an oci:// reference, the URL of an archive, or a name in Repo
	Repo    string // URL of a chart repository; default for a name that is no file: DefaultRepo
	Version string // a version or a range; default: the newest that is no pre-release

	Values []string // files of values, later ones win; "-" is standard input
	Set    []string // key=value as for helm --set; wins over Values

	KubeVersion string   // default 1.37: charts may refuse, or render something else for, other versions
	APIVersions []string // such as monitoring.coreos.com/v1, in addition to those of Kubernetes

	Release   string // default: the chart's name
	Namespace string // default castai-agent
}

// Rendered is a chart that was rendered.
type Rendered struct {
	Name, Version string
	Manifests     []Manifest // CRDs first, then by name of the template
	Off           []string   // subcharts that the values switch off, and whose images are thus not here
}

// Manifest is a document that a chart sends to Kubernetes, or a file of CRDs.
type Manifest struct {
	Name string // of the template, such as agent/templates/deployment.yaml
	Text []byte
	Hook string // "" or its events: "pre-install,pre-upgrade", "test"
}

// Render finds the chart, fetches it if it is not a local file, and renders it.
// Neither notes nor subcharts that are switched off are part of the result, and
// functions that query the cluster find nothing.
//
// It fails if the chart cannot be fetched, is damaged, differs from the repository's
// index, misses a dependency, or does not render; then the error names the template
// and the value. An umbrella chart whose parts are all off
// renders to nothing, which is no error.
func Render(ctx context.Context, o Options) (Rendered, error) {
	kube, err := o.kubeVersion()
	if err != nil {
		return Rendered{}, err
	}
	values, err := o.values()
	if err != nil {
		return Rendered{}, err
	}
	c, err := find(ctx, o)
	if err != nil {
		return Rendered{}, err
	}
	r, err := render(ctx, c, values, o, kube)
	if err != nil {
		return Rendered{}, fmt.Errorf("chart %s %s: %w", c.Name(), c.Metadata.Version, err)
	}
	return r, nil
}

func (o Options) kubeVersion() (*common.KubeVersion, error) {
	version := cmp.Or(o.KubeVersion, defaultKubeVersion)
	v, err := common.ParseKubeVersion(version)
	if err != nil {
		return nil, fmt.Errorf("version %q of Kubernetes: %w: write it as 1.37", version, err)
	}
	return v, nil
}
