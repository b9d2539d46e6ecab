// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Track names the charts whose newest versions are mirrored before CAST AI installs
// them. No image is mapped by it.
type Track struct {
	// Repository is the URL of the chart repository. Default: CAST AI's.
	Repository string `json:"repository,omitempty"`
	// Charts are names in the repository. Default: those of the sets in use.
	Charts []string `json:"charts,omitempty"`
	// Newest is how many versions of each chart are mirrored. Default: DefaultNewest.
	Newest int `json:"newest,omitempty"`
	// Prereleases counts pre-releases among the newest versions.
	Prereleases bool `json:"prereleases,omitempty"`
	// Values are those of a chart, by its name. Without any, everything that the chart
	// can switch on is on.
	Values map[string]map[string]any `json:"values,omitempty"`
}

// DefaultNewest is the number of versions that are mirrored of each chart.
const DefaultNewest = 3

// maxNewest bounds what one line of the configuration can cost.
const maxNewest = 50

// chartName is a name of a chart in a repository.
var chartName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9._]*[a-z0-9])?$`)

// repositoryURL begins the URL of a repository.
var repositoryURL = regexp.MustCompile(`^https?://`)

func (v *validator) track() {
	t := v.config.Track
	host, _, _ := strings.Cut(repositoryURL.ReplaceAllString(t.Repository, ""), "/")
	switch {
	case t.Repository == "":
	case strings.Contains(t.Repository, "@"):
		v.fault("track.repository", "has a user name or password", "leave it out: everybody who may read the configuration would see it")
	case !repositoryURL.MatchString(t.Repository) || host == "":
		v.fault("track.repository", fmt.Sprintf("%q is no URL of a chart repository", t.Repository), "write it like https://castai.github.io/helm-charts; registries (oci://) have no index")
	}
	for i, name := range t.Charts {
		if !chartName.MatchString(name) {
			v.fault(fmt.Sprintf("track.charts[%d]", i), fmt.Sprintf("%q is no name of a chart", name), "write the name that the repository's index has, such as castai-agent")
		}
	}
	if t.Newest < 0 || t.Newest > maxNewest {
		v.fault("track.newest", fmt.Sprintf("%d is not from 1 to %d", t.Newest, maxNewest), "leave it out for "+fmt.Sprint(DefaultNewest))
	}
	for _, name := range slices.Sorted(maps.Keys(t.Values)) {
		if !slices.Contains(t.Charts, name) && len(t.Charts) > 0 {
			v.fault("track.values."+name, "is not among track.charts", "add the chart there, or remove its values")
		}
	}
}

func (d *decoder) track(n *yaml.Node, prefix string, t *Track) {
	d.mapping(n, prefix, map[string]func(*yaml.Node, string){
		"repository": d.text(&t.Repository), "charts": d.list(&t.Charts), "newest": d.positive(&t.Newest),
		"prereleases": d.truth(&t.Prereleases), "values": d.chartValues(&t.Values),
	})
}

func (d *decoder) positive(into *int) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		if n = resolve(n); n.Tag != "!!int" || n.Decode(into) != nil || *into < 1 {
			d.fault(n, field, "want a number from 1, have "+describe(n), "write "+field+": 3, or leave it out")
		}
	}
}

// chartValues reads values of charts, which have any form.
func (d *decoder) chartValues(into *map[string]map[string]any) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		n = resolve(n)
		err := n.Decode(into)
		if err == nil {
			_, err = json.Marshal(*into) // as Helm, which takes text as keys only
		}
		if err != nil {
			d.fault(n, field, "want values by the names of charts, have "+describe(n), "write "+field+": {castai-agent: {key: value}}")
		}
	}
}
