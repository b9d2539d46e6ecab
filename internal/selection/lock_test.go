// SPDX-License-Identifier: Apache-2.0

package selection_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/selection"
)

var (
	agentEntry = lock.Entry{Source: agent, Target: registry + "/agent:v1", Digest: digest.FromString("agent"), SourceDigest: digest.FromString("source"), Why: []string{"catalog castai-agent"}}
	otherEntry = lock.Entry{Source: "quay.io/acme/other:v1", Target: registry + "/quay.io/acme/other:v1", Digest: digest.FromString("other")}
)

func writeLock(t *testing.T, registry string, entries ...lock.Entry) selection.LockFile {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lock.yaml")
	if err := (&lock.Lock{Registry: registry, Images: entries}).Write(file); err != nil {
		t.Fatal(err)
	}
	return selection.LockFile{Name: file}
}

func TestReadLockFile(t *testing.T) {
	l, err := writeLock(t, registry, agentEntry).Read(rules(t))
	if err != nil || len(l.Images) != 1 || l.Images[0].Digest != agentEntry.Digest {
		t.Errorf("%+v, %v", l, err)
	}
	missing := selection.LockFile{Name: filepath.Join(t.TempDir(), "none")}
	if _, err := missing.Read(rules(t)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
	for name, tc := range map[string]struct {
		file selection.LockFile
		want string
	}{
		"missing":             {missing, "none"},
		"of another registry": {writeLock(t, "registry.example.com/other"), "is for the registry registry.example.com/other, not for " + registry + ": name another file with --lock"},
		"of another kind":     {selection.LockFile{Name: write(t, "lock.yaml", "kind: Pod\n")}, "lock.yaml: "},
	} {
		if _, err := tc.file.Read(rules(t)); exitcode.Code(err) != exitcode.Usage || !strings.Contains(fmt.Sprint(err), tc.want) {
			t.Errorf("%s: exit code %d, error %v, want %q", name, exitcode.Code(err), err, tc.want)
		}
	}
}

func TestJobsWithoutSourcesAreThoseOfTheLockFile(t *testing.T) {
	file := writeLock(t, registry, agentEntry, otherEntry)
	jobs, known, err := selection.Sources{}.Jobs(t.Context(), rules(t), file)
	if err != nil || len(known.Images) != 2 {
		t.Fatalf("%+v, %v", known, err)
	}
	want := []mirror.Job{
		{Source: agent, Target: registry + "/agent:v1", Why: agentEntry.Why, Locked: &mirror.Locked{Digest: agentEntry.Digest, SourceDigest: agentEntry.SourceDigest}},
		{Source: otherEntry.Source, Target: otherEntry.Target, Locked: &mirror.Locked{Digest: otherEntry.Digest}},
	}
	if !reflect.DeepEqual(jobs, want) {
		t.Errorf("jobs %+v, want %+v", jobs, want)
	}

	file.Update = true
	jobs, known, err = selection.Sources{}.Jobs(t.Context(), rules(t), file)
	if err != nil || known == nil || len(jobs) != 2 || jobs[0].Locked != nil || jobs[1].Locked != nil {
		t.Errorf("with Update, jobs are %+v, error %v; want no digests", jobs, err)
	}

	if jobs, _, err := (selection.Sources{}).Jobs(t.Context(), rules(t), writeLock(t, registry)); err != nil || len(jobs) != 0 {
		t.Errorf("an empty lock file gives %v, %v", jobs, err)
	}
}

func TestJobsOfSources(t *testing.T) {
	for name, tc := range map[string]struct {
		file   selection.LockFile
		locked bool
	}{
		"without a lock file":             {selection.LockFile{Name: filepath.Join(t.TempDir(), "none")}, false},
		"with an entry in the lock file":  {writeLock(t, registry, agentEntry, otherEntry), true},
		"without one":                     {writeLock(t, registry, otherEntry), false},
		"with an entry of the same image": {writeLock(t, registry, lock.Entry{Source: "us-docker.pkg.dev/castai-hub/library/agent:v1", Target: agentEntry.Target, Digest: agentEntry.Digest}), true},
	} {
		t.Run(name, func(t *testing.T) {
			s := selection.Sources{Files: []string{"-"}, Stdin: strings.NewReader(pod(agent))}
			warnings := recordWarnings(&s)
			jobs, known, err := s.Jobs(t.Context(), rules(t), tc.file)
			if err != nil || len(jobs) != 1 || jobs[0].Source != agent || jobs[0].Target != agentEntry.Target || len(jobs[0].Why) != 1 {
				t.Fatalf("jobs %+v, error %v", jobs, err)
			}
			if got := jobs[0].Locked != nil && jobs[0].Locked.Digest == agentEntry.Digest; got != tc.locked {
				t.Errorf("locked %+v, want %v; lock file %+v", jobs[0].Locked, tc.locked, known)
			}
			// The webhook's own image is pushed, not mirrored.
			if len(*warnings) > 0 {
				t.Errorf("warnings %q", *warnings)
			}
		})
	}
}

func TestJobsErrors(t *testing.T) {
	missing := selection.LockFile{Name: filepath.Join(t.TempDir(), "none")}
	for name, tc := range map[string]struct {
		sources selection.Sources
		file    selection.LockFile
		want    string
	}{
		"neither sources nor a lock file": {selection.Sources{}, missing, "there is no lock file " + missing.Name},
		"an unknown set":                  {selection.Sources{Sets: []string{"phase9"}}, missing, "phase9"},
		"a lock file of another registry": {selection.Sources{Sets: []string{"phase1"}}, writeLock(t, "registry.example.com/other"), "is for the registry"},
		"the same with Update":            {selection.Sources{Sets: []string{"phase1"}}, selection.LockFile{Name: writeLock(t, "registry.example.com/other").Name, Update: true}, "is for the registry"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := tc.sources.Jobs(t.Context(), rules(t), tc.file); exitcode.Code(err) != exitcode.Usage || !strings.Contains(fmt.Sprint(err), tc.want) {
				t.Errorf("exit code %d, error %v, want %q", exitcode.Code(err), err, tc.want)
			}
		})
	}
}

func TestToCopyReportsPublicImagesThatAreNotCopied(t *testing.T) {
	var s selection.Sources
	warnings := recordWarnings(&s)
	jobs := s.ToCopy([]catalog.Entry{
		{Source: agent, Target: agentEntry.Target, Copy: true, Origins: []catalog.Origin{{From: catalog.Embedded, Name: "castai-agent"}, {From: catalog.Manifest, Name: "a.yaml", Line: 7}}},
		{Source: "ghcr.io/castai/live/kubectl", Outcome: rewrite.Rewritten, Note: "no tag is known"},
		{Source: "X Y", Outcome: rewrite.Unmapped, Reason: rewrite.Unparsable},
		{Source: registry + "/x:v1", Outcome: rewrite.Private, Note: "already private"},
		{Source: "quay.io/kept/x:v1", Outcome: rewrite.Kept, Note: "kept"},
	})
	want := []mirror.Job{{Source: agent, Target: agentEntry.Target, Why: []string{"catalog castai-agent", "a.yaml:7"}}}
	if !reflect.DeepEqual(jobs, want) {
		t.Errorf("jobs %+v, want %+v", jobs, want)
	}
	wantWarnings := []string{"not copied: ghcr.io/castai/live/kubectl: no tag is known", "not copied: X Y: " + string(rewrite.Unparsable)}
	if !slices.Equal(*warnings, wantWarnings) {
		t.Errorf("warnings %q, want %q", *warnings, wantWarnings)
	}
	if jobs := s.ToCopy(nil); jobs != nil {
		t.Errorf("no images give jobs %+v", jobs)
	}
}
