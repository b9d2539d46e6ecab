// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"
)

func TestVersionAsJSON(t *testing.T) {
	code, stdout, stderr := call(t, nil, "", "version", "-o", "json")
	var got map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || stderr != "" {
		t.Fatalf("code %d, %v, %q, %q", code, err, stdout, stderr)
	}
	for key, want := range map[string]any{"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "modified": false} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	if got["commit"] == "" || len(got["catalogDate"].(string)) != len("2006-01-02") || len(got) != 6 {
		t.Errorf("%v", got)
	}
	if code, _, stderr := call(t, nil, "", "version", "-o", "xml"); code != 2 || !strings.Contains(stderr, "json") {
		t.Errorf("code %d, %q", code, stderr)
	}
}
