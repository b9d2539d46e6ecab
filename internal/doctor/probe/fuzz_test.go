// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"bytes"
	"testing"
)

// The text of a parsed target parses to the same target.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"api.cast.ai:443", "[::1]:443", "10.0.0.1:65535", ":443", "a:0", "a:b:1", "https://a:443", "a:99999", "[a]:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := Parse(s)
		if err != nil {
			return
		}
		reparsed, err := Parse(target.String())
		if err != nil || reparsed != target {
			t.Errorf("%q is %+v, whose text %q is %+v, %v", s, target, target.String(), reparsed, err)
		}
	})
}

// A report comes from a pod's log, which may contain anything. A report that is
// accepted encodes to the same text.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"version":1,"results":[{"target":{"host":"a","port":443}}]}`, `{"version":2,"results":[{}]}`, `{"version":1,"results":[]}`, `{"version":1,"results":[null]}`,
		"panic: no", "", `{"version":1,"results":[{"addresses":["10.0.0.1","::1%eth0"]}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		results, err := Decode(text)
		if err != nil {
			return
		}
		once, err := Encode(results)
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := Decode(once)
		if err != nil {
			t.Fatalf("%v: %s", err, once)
		}
		if twice, err := Encode(decoded); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%v\n%s%s", err, once, twice)
		}
	})
}
