// SPDX-License-Identifier: Apache-2.0

package jsonpatch

import (
	"encoding/json"
	"testing"
)

func TestOperations(t *testing.T) {
	have, err := json.Marshal([]Operation{Replace("/spec/replicas", 2), Add("/metadata/annotations/"+Escape("a/b~c"), "")})
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"op":"replace","path":"/spec/replicas","value":2},{"op":"add","path":"/metadata/annotations/a~1b~0c","value":""}]`
	if string(have) != want {
		t.Errorf("have %s, want %s", have, want)
	}
}
