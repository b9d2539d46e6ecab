// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"strings"

	"github.com/castai/privatelink-webhook/internal/manifest"
)

// AddManifest adds the images of Kubernetes manifests, in YAML or JSON, and
// returns the number of image fields. from is the kind of source; name is the
// file, the chart's template or the release. It fails if the text cannot be
// read, and then adds nothing.
func (l *List) AddManifest(from From, name string, text []byte) (fields int, err error) {
	_, changes, err := manifest.Rewrite(name, text, l.rules)
	if err != nil {
		return 0, err
	}
	for _, c := range changes {
		origin := Origin{From: from, Name: name, Object: strings.TrimSuffix(c.Kind+" "+c.Name, " ")}
		if from == Manifest {
			origin.Line = c.Line // the lines of rendered text mean nothing to the user
		}
		if strings.HasSuffix(c.Path, "/value") { // the value of a variable; images end in /image or /reference
			l.AddEnv("", c.Result.Source, origin)
		} else {
			l.Add(c.Result.Source, origin)
		}
	}
	return len(changes), nil
}
