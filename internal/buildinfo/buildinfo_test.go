// SPDX-License-Identifier: Apache-2.0

package buildinfo

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDescribe(t *testing.T) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	stamped := []debug.BuildSetting{
		{Key: "vcs", Value: "git"},
		{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"},
		{Key: "vcs.time", Value: "2026-11-28T10:00:00Z"},
		{Key: "vcs.modified", Value: "false"},
	}
	commit, at := stamped[1].Value, time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		version string
		build   debug.BuildInfo
		want    Info
	}{
		"a release": {
			"v0.1.0", debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v0.1.0"}, Settings: stamped},
			Info{Version: "v0.1.0", Commit: commit, Go: "go1.26.8", Platform: platform, Time: at},
		},
		"a snapshot keeps the version that the linker set": {
			"v0.1.0", debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v0.0.0-20261128100000-0123456789ab"}, Settings: stamped},
			Info{Version: "v0.1.0", Commit: commit, Go: "go1.26.8", Platform: platform, Time: at},
		},
		"go install has the version of the module": {
			Unset, debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v0.2.0"}},
			Info{Version: "v0.2.0", Commit: Unknown, Go: "go1.26.8", Platform: platform},
		},
		"a build in a folder that git does not know": {
			Unset, debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "(devel)"}},
			Info{Version: Unset, Commit: Unknown, Go: "go1.26.8", Platform: platform},
		},
		"changed source": {
			Unset, debug.BuildInfo{GoVersion: "go1.26.8", Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: commit}, {Key: "vcs.modified", Value: "true"}}},
			Info{Version: Unset, Commit: commit, Modified: true, Go: "go1.26.8", Platform: platform},
		},
		"no information at all": {Unset, debug.BuildInfo{}, Info{Version: Unset, Commit: Unknown, Go: runtime.Version(), Platform: platform}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, describe(tc.version, &tc.build)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
