// SPDX-License-Identifier: Apache-2.0

// Package goreleaser checks the configuration of releases with GoReleaser's own types.
// They refuse unknown and misspelled keys, as `goreleaser check` does, and take seconds
// to compile, not minutes.
package goreleaser

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
)

const root = "../../.."

func load(t *testing.T) config.Project {
	t.Helper()
	c, err := config.Load(filepath.Join(root, ".goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Builds) != 1 || len(c.Archives) != 1 || len(c.Krews) != 1 || len(c.Signs) != 1 {
		t.Fatalf("%d builds, %d archives, %d krew manifests, %d signatures; want one of each", len(c.Builds), len(c.Archives), len(c.Krews), len(c.Signs))
	}
	return c
}

func TestEveryTimeIsThatOfTheCommit(t *testing.T) {
	c := load(t)
	const epoch = "{{ .Env.SOURCE_DATE_EPOCH }}"
	if c.Builds[0].ModTimestamp != epoch || c.Metadata.ModTimestamp != epoch {
		t.Errorf("times of programs %q and of metadata %q", c.Builds[0].ModTimestamp, c.Metadata.ModTimestamp)
	}
	for _, f := range c.Archives[0].Files {
		if f.Info.MTime != "{{ .Env.SOURCE_DATE }}" || f.Info.Owner != "root" || f.Info.Group != "root" {
			t.Errorf("%s: time or owner are those of the machine: %+v", f.Source, f.Info)
		}
		if want := map[bool]os.FileMode{true: 0o755, false: 0o644}[strings.HasSuffix(f.Source, "/kubectl_complete-privatelink")]; f.Info.Mode != want {
			t.Errorf("%s has the mode %o, want %o", f.Source, f.Info.Mode, want)
		}
	}
	if info := c.Archives[0].BuildsInfo; info.Owner != "root" || info.Group != "root" {
		t.Errorf("the program's owner is that of the machine: %+v", info)
	}
	for _, flag := range []string{"-trimpath", "-buildvcs=true", "-tags=webhookimage"} {
		if !slices.Contains(c.Builds[0].Flags, flag) {
			t.Errorf("%s is missing in the flags of the build", flag)
		}
	}
}

func TestEveryFileOfTheArchivesHasASource(t *testing.T) {
	for _, f := range load(t).Archives[0].Files {
		if strings.HasPrefix(f.Source, "dist/inputs/") { // built by make release-inputs
			continue
		}
		if _, err := os.Stat(filepath.Join(root, f.Source)); err != nil {
			t.Errorf("%v: GoReleaser would warn and go on", err)
		}
	}
}

func TestReleasesAreDraftsWithEveryFileInTheChecksums(t *testing.T) {
	c := load(t)
	if !c.Release.Draft {
		t.Error("the release is published before the workflow has verified it")
	}
	if !slices.Equal(c.Release.ExtraFiles, c.Checksum.ExtraFiles) || len(c.Checksum.ExtraFiles) == 0 {
		t.Errorf("files of the release %v, of the checksums %v", c.Release.ExtraFiles, c.Checksum.ExtraFiles)
	}
	if s := c.Signs[0]; s.Artifacts != "checksum" || s.Cmd != "bin/cosign" {
		t.Errorf("the list of checksums is not signed with the pinned cosign: %+v", s)
	}
}

// Krew's index refuses longer descriptions.
func TestTheKrewManifestFitsTheIndex(t *testing.T) {
	k := load(t).Krews[0]
	if len(k.ShortDescription) > 50 {
		t.Errorf("the short description has %d characters", len(k.ShortDescription))
	}
	for line := range strings.Lines(k.Description) {
		if len(line) > 81 {
			t.Errorf("line of %d characters: %s", len(line)-1, line)
		}
	} // Krew links no second program, so that it cannot install this one.
	if !strings.Contains(k.Caveats, "kubectl privatelink completion kubectl > ") {
		t.Errorf("the manifest does not say how to complete the plugin: %q", k.Caveats)
	}
}
