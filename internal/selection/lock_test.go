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

// foreignLock writes a lock file for another registry.
func foreignLock(t *testing.T) selection.LockFile {
	t.Helper()
	return writeLock(t, "registry.example.com/other", lock.Entry{Source: agent, Target: "registry.example.com/other/agent:v1", Digest: agentEntry.Digest})
}

func TestReadLockFile(t *testing.T) {
	l, err := writeLock(t, registry, agentEntry).Read(t.Context(), rules(t))
	if err != nil || len(l.Images) != 1 || l.Images[0].Digest != agentEntry.Digest {
		t.Errorf("%+v, %v", l, err)
	}
	missing := selection.LockFile{Name: filepath.Join(t.TempDir(), "none")}
	if _, err := missing.Read(t.Context(), rules(t)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
	for name, tc := range map[string]struct {
		file selection.LockFile
		want string
	}{
		"missing":             {missing, "none"},
		"of another registry": {foreignLock(t), "is for the registry registry.example.com/other, not for " + registry + ": name another file with --lock"},
		"of another kind":     {selection.LockFile{Name: write(t, "lock.yaml", "kind: Pod\n")}, "lock.yaml: "},
	} {
		if _, err := tc.file.Read(t.Context(), rules(t)); exitcode.Code(err) != exitcode.Usage || !strings.Contains(fmt.Sprint(err), tc.want) {
			t.Errorf("%s: exit code %d, error %v, want %q", name, exitcode.Code(err), err, tc.want)
		}
	}
}

func TestJobsWithoutSourcesAreThoseOfTheLockFile(t *testing.T) {
	file := writeLock(t, registry, agentEntry, otherEntry)
	selected, err := selection.Sources{}.Jobs(t.Context(), rules(t), file)
	if err != nil || len(selected.Lock.Images) != 2 {
		t.Fatalf("%+v, %v", selected.Lock, err)
	}
	want := []mirror.Job{
		{Source: agent, Target: registry + "/agent:v1", Why: agentEntry.Why, Locked: &mirror.Locked{Digest: agentEntry.Digest, SourceDigest: agentEntry.SourceDigest}},
		{Source: otherEntry.Source, Target: otherEntry.Target, Locked: &mirror.Locked{Digest: otherEntry.Digest}},
	}
	if !reflect.DeepEqual(selected.Jobs, want) {
		t.Errorf("jobs %+v, want %+v", selected.Jobs, want)
	}

	file.Update = true
	selected, err = selection.Sources{}.Jobs(t.Context(), rules(t), file)
	if err != nil || selected.Lock == nil || len(selected.Jobs) != 2 || selected.Jobs[0].Locked != nil || selected.Jobs[1].Locked != nil {
		t.Errorf("with Update, jobs are %+v, error %v; want no digests", selected.Jobs, err)
	}

}

func TestAnEmptyLockFileIsRefused(t *testing.T) {
	const header = "apiVersion: privatelink.cast.ai/v1alpha1\nkind: Lock\nregistry: " + registry + "\n"
	for name, text := range map[string]string{"no images": header + "images: []\n", "no field": header, "an empty file": ""} {
		file := selection.LockFile{Name: write(t, "lock.yaml", text)}
		for _, s := range []selection.Sources{{}, {Sets: []string{"phase1"}}} {
			if jobs, err := s.Jobs(t.Context(), rules(t), file); exitcode.Code(err) != exitcode.Usage || !strings.Contains(fmt.Sprint(err), "write it again with `privatelink mirror`") {
				t.Errorf("%s: %v, %v", name, jobs, err)
			}
		}
	}
}

func TestJobsOfALockFileThatDiffersFromTheRules(t *testing.T) {
	renamed, kept := agentEntry, otherEntry
	renamed.Target = registry + "/renamed:v1"
	kept.Source, kept.Target = "quay.io/kept/x:v1", registry+"/quay.io/kept/x:v1"
	file := filepath.Join(t.TempDir(), "lock.yaml")
	l := lock.Lock{Registry: registry, Images: []lock.Entry{renamed, kept}, NotCopied: []lock.NotCopied{{Source: otherEntry.Source, Why: []string{"pod"}}, {Source: "X Y"}}}
	if err := l.Write(file); err != nil {
		t.Fatal(err)
	}
	selected, err := selection.Sources{}.Jobs(t.Context(), rules(t), selection.LockFile{Name: file})
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []struct{ source, target, refused string }{
		{renamed.Source, renamed.Target, "the lock file has it at " + renamed.Target + ", and the configuration maps it to " + agentEntry.Target},
		{kept.Source, kept.Target, "maps it to " + kept.Source},
		{"X Y", "", "not an image reference"},
		{otherEntry.Source, otherEntry.Target, ""},
	} {
		j := selected.Jobs[n]
		if j.Source != want.source || j.Target != want.target || j.Locked != nil || (j.Refused == nil) != (want.refused == "") || want.refused != "" && !strings.Contains(j.Refused.Error(), want.refused) {
			t.Errorf("%+v, want %+v", j, want)
		}
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
			selected, err := s.Jobs(t.Context(), rules(t), tc.file)
			if err != nil || len(selected.Jobs) != 1 || selected.Jobs[0].Source != agent || selected.Jobs[0].Target != agentEntry.Target || len(selected.Jobs[0].Why) != 1 {
				t.Fatalf("jobs %+v, error %v", selected.Jobs, err)
			}
			if got := selected.Jobs[0].Locked != nil && selected.Jobs[0].Locked.Digest == agentEntry.Digest; got != tc.locked {
				t.Errorf("locked %+v, want %v; lock file %+v", selected.Jobs[0].Locked, tc.locked, selected.Lock)
			}
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
		"a lock file of another registry": {selection.Sources{Sets: []string{"phase1"}}, foreignLock(t), "is for the registry"},
		"the same with Update":            {selection.Sources{Sets: []string{"phase1"}}, selection.LockFile{Name: foreignLock(t).Name, Update: true}, "is for the registry"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := tc.sources.Jobs(t.Context(), rules(t), tc.file); exitcode.Code(err) != exitcode.Usage || !strings.Contains(fmt.Sprint(err), tc.want) {
				t.Errorf("exit code %d, error %v, want %q", exitcode.Code(err), err, tc.want)
			}
		})
	}
}

func TestToCopy(t *testing.T) {
	var s selection.Sources
	warnings := recordWarnings(&s)
	jobs := s.ToCopy([]catalog.Entry{
		{Source: agent, Target: agentEntry.Target, Copy: true, Origins: []catalog.Origin{{From: catalog.Embedded, Name: "castai-agent"}, {From: catalog.Manifest, Name: "a.yaml", Line: 7}}},
		{Source: "ghcr.io/castai/live/kubectl", Outcome: rewrite.Rewritten, Note: "no tag is known"},
		{Source: "X Y", Target: "X Y", Outcome: rewrite.Unmapped, Reason: rewrite.Unparsable, Rule: "not rewritten: not an image reference", Origins: []catalog.Origin{{From: catalog.Manifest, Name: "b.yaml"}}},
		{Source: registry + "/x:v1", Outcome: rewrite.Private, Note: "already private"},
		{Source: "quay.io/kept/x:v1", Outcome: rewrite.Kept, Note: "kept"},
	})
	want := []mirror.Job{
		{Source: agent, Target: agentEntry.Target, Why: []string{"catalog castai-agent", "a.yaml:7"}},
		{Source: "X Y", Why: []string{"b.yaml"}, Refused: errors.New("not rewritten: not an image reference")},
	}
	if !reflect.DeepEqual(jobs, want) {
		t.Errorf("jobs %+v, want %+v", jobs, want)
	}
	if want := []string{"not copied: ghcr.io/castai/live/kubectl: no tag is known"}; !slices.Equal(*warnings, want) {
		t.Errorf("warnings %q, want %q", *warnings, want)
	}
	if jobs := s.ToCopy(nil); jobs != nil {
		t.Errorf("no images give jobs %+v", jobs)
	}
}
