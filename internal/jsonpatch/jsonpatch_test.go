// SPDX-License-Identifier: Apache-2.0

package jsonpatch

import (
	"encoding/json"
	"reflect"
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

func TestBuilder(t *testing.T) {
	const hostile = "a\"<\n\xff\u2028é"
	var empty, b Builder
	b.Replace("/a", hostile)
	b.Add("/b~1c", "")
	b.AddObject("/"+hostile, map[string]string{"z": "1", hostile: "2", "": "3"})
	want, err := json.Marshal([]Operation{Replace("/a", hostile), Add("/b~1c", ""), Add("/"+hostile, map[string]string{"z": "1", hostile: "2", "": "3"})})
	if err != nil {
		t.Fatal(err)
	}
	have := b.Patch()
	var haveTree, wantTree any
	if err := json.Unmarshal(have, &haveTree); err != nil {
		t.Fatalf("%v: %s", err, have)
	}
	if err := json.Unmarshal(want, &wantTree); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(haveTree, wantTree) {
		t.Errorf("have %s\nwant %s", have, want)
	}
	if string(empty.Patch()) != "[]" || !empty.IsEmpty() || b.IsEmpty() {
		t.Errorf("an empty patch is %s", empty.Patch())
	}
	if have := string(AppendObject(nil, map[string]string{"b": "1", "a": "2"})); have != `{"a":"2","b":"1"}` {
		t.Errorf("an object is %s", have)
	}
}
