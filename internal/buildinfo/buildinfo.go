// SPDX-License-Identifier: Apache-2.0

// Package buildinfo describes how a program was built.
package buildinfo

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"time"
)

// Unset is the version of a program whose build set none.
const Unset = "dev"

// Unknown is a fact that the build did not record.
const Unknown = "unknown"

// Info describes a build.
type Info struct {
	Version string `json:"version"` // of the release, such as v0.2.0; of the module if it was built with go install; else Unset
	Commit  string `json:"commit"`  // of the source, in full; Unknown if it was built outside of a checkout

	// Modified reports that the source differed from the commit. No release is.
	Modified bool `json:"modified"`

	Go       string `json:"go"`       // version of Go, such as go1.26.8
	Platform string `json:"platform"` // such as linux/amd64

	// Time of the commit, in UTC. It is zero if it is unknown.
	Time time.Time `json:"-"`
}

// Read describes the running program. The version is that of the linker's flags.
func Read(version string) Info {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		build = &debug.BuildInfo{}
	}
	return describe(version, build)
}

func describe(version string, build *debug.BuildInfo) Info {
	info := Info{Version: version, Go: cmp.Or(build.GoVersion, runtime.Version()), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if v := build.Main.Version; version == Unset && v != "" && v != "(devel)" {
		info.Version = v
	}
	for _, s := range build.Settings {
		switch s.Key {
		case "vcs.revision":
			info.Commit = s.Value
		case "vcs.modified":
			info.Modified = s.Value == "true"
		case "vcs.time":
			if t, err := time.Parse(time.RFC3339, s.Value); err == nil {
				info.Time = t.UTC()
			}
		}
	}
	info.Commit = cmp.Or(info.Commit, Unknown)
	return info
}
