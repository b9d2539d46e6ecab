// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	v2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/strvals"
)

// A job is a chart to render, and all that is needed for it. Only the folder of a
// local chart is read from the disk.
type job struct {
	Source source
	Values []valuesFile
	Set    []string

	KubeVersion        string
	APIVersions        []string
	Release, Namespace string
	Limits             limits
	Parts              *Parts // of RenderArchive, instead of Values and Set
}

// A source is a chart that was found and not yet unpacked: a folder or an archive.
type source struct {
	From    string // for messages
	Folder  string
	Archive []byte
	Version string // the version or range that it must have, "" for any
	// Warnings are about the repository.
	Warnings []string
}

// valuesFile is a file of values that was read.
type valuesFile struct {
	Name string
	Text []byte
}

// limits bound what a chart may cost. The sizes are in bytes.
type limits struct {
	Memory   int64         // of the process
	Time     time.Duration // to unpack and render
	Manifest int           // of one manifest
	Output   int           // of all manifests
}

// defaultLimits exceed many times what large public charts need. Kubernetes itself
// takes objects of up to 3 MiB.
func defaultLimits() limits {
	return limits{Memory: 1 << 30, Time: time.Minute, Manifest: 8 << 20, Output: 32 << 20}
}

// run unpacks and renders the chart in this process.
func (j job) run(ctx context.Context) (Rendered, error) {
	if j.Parts != nil {
		r, err := j.renderParts(ctx)
		if err == nil {
			err = j.Limits.check(r.Manifests)
		}
		if err != nil {
			return Rendered{}, fmt.Errorf("chart %s: %w", j.Source.From, err)
		}
		return r, nil
	}
	c, err := j.Source.load()
	if err != nil {
		return Rendered{}, err
	}
	if err := versionFits(c, j.Source.From, j.Source.Version); err != nil {
		return Rendered{}, err
	}
	values, err := j.values()
	if err != nil {
		return Rendered{}, err
	}
	r, err := j.render(ctx, c, values)
	if err == nil {
		err = j.Limits.check(r.Manifests)
	}
	if err != nil {
		return Rendered{}, fmt.Errorf("chart %s %s: %w", c.Name(), c.Metadata.Version, err)
	}
	return r, nil
}

// load fails if the source is no chart, and if it is more than Helm's limit of 100
// MiB when unpacked.
func (s source) load() (*v2.Chart, error) {
	load := func() (*v2.Chart, error) { return loader.LoadArchive(bytes.NewReader(s.Archive)) }
	if s.Folder != "" {
		if err := checkLinks(s.Folder); err != nil {
			return nil, fmt.Errorf("chart %s: %w", s.From, err)
		}
		load = func() (*v2.Chart, error) { return loader.LoadDir(s.Folder) }
	}
	c, err := load()
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", s.From, damage(err))
	}
	return c, nil
}

// values merges what was given for the chart, without the chart's own defaults.
func (j job) values() (map[string]any, error) {
	given := map[string]any{}
	for _, f := range j.Values {
		v, err := loader.LoadValues(bytes.NewReader(f.Text))
		if err != nil {
			return nil, fmt.Errorf("values of the chart: %s: %w", f.Name, err)
		}
		given = loader.MergeMaps(given, v)
	}
	for _, s := range j.Set {
		if err := strvals.ParseInto(s, given); err != nil {
			return nil, fmt.Errorf("values of the chart: --chart-set %s: %w", key(s), err)
		}
	}
	return given, nil
}

// key is a setting as it may be shown: without its value, which may be a secret.
func key(set string) string {
	k, _, _ := strings.Cut(set, "=")
	return k
}

func (l limits) check(manifests []Manifest) error {
	total := 0
	for _, m := range manifests {
		if len(m.Text) > l.Manifest {
			return fmt.Errorf("%s renders to more than %d MiB: %s", m.Name, l.Manifest>>20, limitRemedy)
		}
		total += len(m.Text)
	}
	if total > l.Output {
		return fmt.Errorf("it renders to more than %d MiB: %s", l.Output>>20, limitRemedy)
	}
	return nil
}

// limitRemedy follows every error about a limit.
const limitRemedy = "if you trust it, render it with `helm template` and name the output with -f"

// Remedy returns what to do about a chart that renders no image.
func (r Rendered) Remedy() string {
	uses := map[string]int{}
	best := ""
	for _, o := range r.Off {
		for _, s := range o.Set {
			uses[s]++
			if best == "" || uses[s] > uses[best] {
				best = s
			}
		}
	}
	if best == "" {
		return "switch its components on with --chart-set KEY=VALUE or --values FILE, or leave the chart out"
	}
	return "switch its components on, for instance with --chart-set " + best
}
