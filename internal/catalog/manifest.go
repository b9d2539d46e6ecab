// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"strings"

	"github.com/castai/privatelink-webhook/internal/manifest"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// AddManifest adds the images of Kubernetes manifests, in YAML or JSON, and
// returns what it found. from is the kind of source; name is the file, the chart's
// template or the release. It fails if the text cannot be read, and then adds
// nothing.
func (l *List) AddManifest(from From, name string, text []byte) (found manifest.Found, err error) {
	m, err := manifest.Parse(name, text)
	if err != nil {
		return manifest.Found{}, err
	}
	found = m.Find(l.rules)
	l.AddFound(from, name, found)
	return found, nil
}

// AddFound adds what AddManifest has found in a manifest.
func (l *List) AddFound(from From, name string, found manifest.Found) {
	for _, c := range found.Changes {
		origin := Origin{From: from, Name: name, Object: strings.TrimSuffix(c.Kind+" "+c.Name, " ")}
		if from == Manifest {
			origin.Line = c.Line // the lines of rendered text mean nothing to the user
		}
		l.addChange(c, origin)
	}
}

// addChange adds a reference, or a field that holds none, which is listed as unmapped.
func (l *List) addChange(c manifest.Change, origin Origin) {
	switch {
	case c.Result.Outcome == rewrite.Unmapped && c.Result.Reason != rewrite.NoHost:
		l.add(l.tagged, c.Result, origin)
	case c.Env != "":
		l.AddEnv(c.Env, c.Result.Source, origin)
	default:
		l.Add(c.Result.Source, origin)
	}
}
