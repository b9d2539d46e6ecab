// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"io/fs"
	"path"
	"strings"

	"github.com/castai/privatelink-webhook/test/testdata"
)

// Kept is a prefix that some pods name images of, for rule sets with a keep.
const Kept = "quay.io/acme/kept"

// Pods returns every pod of the folder pods, in JSON, by the name of its file
// without the ending. Each is a v1 Pod that the API server can decode; some have
// fields that it does not know yet, or references that are none.
//
// All may be created but "ephemeral.old" and "ephemeral.new", which are the two
// sides of one update of the subresource pods/ephemeralcontainers.
func Pods() map[string][]byte {
	files, err := fs.Glob(testdata.Pods, "pods/*.json")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	out := make(map[string][]byte, len(files))
	for _, f := range files {
		pod, err := testdata.Pods.ReadFile(f)
		if err != nil {
			panic(err) // the file is part of the binary
		}
		out[strings.TrimSuffix(path.Base(f), ".json")] = pod
	}
	return out
}
