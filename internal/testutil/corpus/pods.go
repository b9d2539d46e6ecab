// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"io/fs"
	"path"
	"strings"

	"github.com/castai/privatelink-webhook/test/testdata"
)

// Kept is a prefix of images in some of the pods, for rules with keep.
const Kept = "quay.io/acme/kept"

// Pods returns all pods of the directory pods, in JSON, by file name without the
// extension. The API server can decode all of them; some have unknown fields or
// invalid references.
//
// All can be created except for "ephemeral.old" and "ephemeral.new", which are the
// old and the new object of an update of pods/ephemeralcontainers.
func Pods() map[string][]byte {
	files, err := fs.Glob(testdata.Pods, "pods/*.json")
	if err != nil {
		panic(err) // the pattern is constant
	}
	out := make(map[string][]byte, len(files))
	for _, f := range files {
		pod, err := testdata.Pods.ReadFile(f)
		if err != nil {
			panic(err) // the file is embedded
		}
		out[strings.TrimSuffix(path.Base(f), ".json")] = pod
	}
	return out
}
