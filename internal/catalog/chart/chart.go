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
// A chart is a program, and may be hostile. Fetching is bounded in size. Unpacking
// and rendering can be left to a process of its own, see [Options], whose memory
// and time are bounded. A chart cannot reach the cluster, the environment, the
// network, or files outside its folder.
package chart

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"

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

	Values []string  // files of values, later ones win; "-" is Stdin
	Stdin  io.Reader // required if Values has "-"
	Set    []string  // key=value as for helm --set; wins over Values

	KubeVersion string   // default 1.37: charts may refuse, or render something else for, other versions
	APIVersions []string // such as monitoring.coreos.com/v1, in addition to those of Kubernetes

	Release   string // default: the chart's name
	Namespace string // default castai-agent

	// Command is a program and its arguments that call Serve. It unpacks and renders
	// the chart, within 1 GiB of memory and a minute. If it is empty, the chart is
	// rendered in this process without these limits, which suits trusted charts only.
	Command []string
}

// versioned is a name in a repository, or in a registry, with a version.
var versioned = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*|oci://.+)@([^@/:]+)$`)

// ParseName splits NAME@VERSION, where NAME is a chart of a repository or an oci://
// reference. Anything else, such as a folder or a reference with a digest, is a name
// without a version.
func ParseName(s string) (name, version string) {
	if m := versioned.FindStringSubmatch(s); m != nil {
		return m[1], m[2]
	}
	return s, ""
}

// Rendered is a chart that was rendered.
type Rendered struct {
	Name, Version string
	Manifests     []Manifest // CRDs first, then by name of the template
	Off           []Off      // subcharts that the values switch off
	Warnings      []string   // about the chart, such as a dependency in another version
	Incomplete    string     // why images may be missing that RenderArchive was to find, or ""
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
// index, misses a dependency, exceeds a limit, or does not render; then the error
// names the template and the value. An umbrella chart whose parts are all off renders
// to nothing, which is no error.
func Render(ctx context.Context, o Options) (Rendered, error) {
	if _, err := kubeVersion(o.KubeVersion); err != nil {
		return Rendered{}, err
	}
	values, err := o.readValues()
	if err != nil {
		return Rendered{}, err
	}
	found, err := find(ctx, o)
	if err != nil {
		return Rendered{}, err
	}
	j := job{
		Source: found, Values: values, Set: o.Set, KubeVersion: o.KubeVersion, APIVersions: o.APIVersions,
		Release: o.Release, Namespace: o.Namespace, Limits: defaultLimits(),
	}
	var rendered Rendered
	if len(o.Command) > 0 {
		rendered, err = j.runIn(ctx, o.Command)
	} else {
		rendered, err = j.run(ctx)
	}
	rendered.Warnings = append(found.Warnings, rendered.Warnings...)
	return rendered, err
}

// readValues reads the files of values, so that rendering needs none.
func (o Options) readValues() (files []valuesFile, err error) {
	for _, name := range o.Values {
		f := valuesFile{Name: name}
		if name == "-" {
			f.Name = "standard input"
			f.Text, err = io.ReadAll(o.Stdin)
		} else {
			f.Text, err = os.ReadFile(name)
		}
		if err != nil {
			return nil, fmt.Errorf("values of the chart: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

// kubeVersion parses a version of Kubernetes; "" is the default.
func kubeVersion(version string) (*common.KubeVersion, error) {
	version = cmp.Or(version, defaultKubeVersion)
	v, err := common.ParseKubeVersion(version)
	if err != nil {
		return nil, fmt.Errorf("version %q of Kubernetes: %w: write it as 1.37", version, err)
	}
	return v, nil
}
