// SPDX-License-Identifier: Apache-2.0

package selection_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/selection"
	"github.com/castai/privatelink-webhook/internal/webhookimage"
)

// webhookTag returns the tag of the webhook's image in the bundle of this version.
func webhookTag(t *testing.T) string {
	t.Helper()
	image, err := deploy.WebhookImage(rules(t))
	if err != nil {
		t.Fatal(err)
	}
	return rewrite.SplitReference(image).Tag
}

func TestTheWebhooksImageBelongsToTheSelection(t *testing.T) {
	tag := webhookTag(t)
	const other = "quay.io/acme/webhook"
	pinned := other + "@" + digest.FromString("x").String()
	for name, tc := range map[string]struct {
		webhook, source string
		without, held   bool
	}{
		"as the command carries it":          {webhook: webhookimage.Repository, source: webhookimage.Repository + ":" + tag, held: true},
		"from a registry":                    {webhook: other + ":approved", source: other + ":approved"},
		"from a registry, with the same tag": {webhook: other, source: other + ":" + tag},
		"by its digest":                      {webhook: pinned, source: pinned},
		"by a short name":                    {webhook: "acme/webhook", source: "docker.io/acme/webhook:" + tag},
		"excluded":                           {webhook: webhookimage.Repository, without: true},
		"not named":                          {},
	} {
		t.Run(name, func(t *testing.T) {
			s := selection.Sources{Files: []string{"-"}, Stdin: strings.NewReader(pod(agent)), Webhook: tc.webhook, WithoutWebhook: tc.without}
			recordWarnings(&s)
			images, _, err := s.Images(t.Context(), rules(t))
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(images, func(e catalog.Entry) bool { return e.Target == registry+"/privatelink-webhook:"+tag })
			switch {
			case i < 0 && tc.source != "":
				t.Errorf("%+v", images)
			case i >= 0 && (images[i].Source != tc.source || images[i].Carried != tc.held || !images[i].Copy):
				t.Errorf("%+v, want %s", images[i], tc.source)
			}
		})
	}
}

func TestInvalidWebhookImages(t *testing.T) {
	for name, tc := range map[string]struct {
		sources selection.Sources
		want    string
	}{
		"not a reference":       {selection.Sources{Webhook: "https://quay.io/acme/webhook:v1"}, "--webhook-image \"https://quay.io/acme/webhook:v1\": invalid reference format: give it as REPOSITORY:TAG"},
		"where it is copied to": {selection.Sources{Webhook: registry + "/privatelink-webhook:v9"}, "the image is copied to this repository"},
		"excluded as well":      {selection.Sources{Webhook: "quay.io/acme/webhook:v1", WithoutWebhook: true}, "exclude each other"},
	} {
		file := writeLock(t, registry, agentEntry)
		if _, err := tc.sources.Jobs(t.Context(), rules(t), file); exitcode.Code(err) != exitcode.Usage || !strings.Contains(fmt.Sprint(err), tc.want) {
			t.Errorf("%s, with a lock file: %v, want %q", name, err, tc.want)
		}
		tc.sources.Files, tc.sources.Stdin = []string{"-"}, strings.NewReader(pod(agent))
		recordWarnings(&tc.sources)
		if _, _, err := tc.sources.Images(t.Context(), rules(t)); exitcode.Code(err) != exitcode.Usage || !strings.Contains(fmt.Sprint(err), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// carriedEntry is the entry of the webhook's image of a version in a lock file.
func carriedEntry(version string) lock.Entry {
	return lock.Entry{Source: webhookimage.Repository + ":" + version, Target: registry + "/privatelink-webhook:" + version, Digest: digest.FromString(version), Why: []string{"bundle privatelink install"}}
}

func TestTheWebhooksImageInALockFile(t *testing.T) {
	tag := webhookTag(t)
	const own, other, update = webhookimage.Repository, "quay.io/acme/webhook:approved", true
	target := registry + "/privatelink-webhook:" + tag
	otherEntry := carriedEntry(tag)
	otherEntry.Source = other
	for name, tc := range map[string]struct {
		entries []lock.Entry // besides agentEntry
		webhook string
		update  bool
		source  string // of the webhook's job, "" for none
		target  string // target unless set
		locked  bool
		warning string
	}{
		"this version":                      {entries: []lock.Entry{carriedEntry(tag)}, webhook: own, source: own + ":" + tag, locked: true},
		"this version, updated":             {entries: []lock.Entry{carriedEntry(tag)}, webhook: own, update: update, source: own + ":" + tag},
		"another version":                   {entries: []lock.Entry{carriedEntry("v0.0.9")}, webhook: own, source: own + ":v0.0.9", target: registry + "/privatelink-webhook:v0.0.9", locked: true, warning: "lists " + registry + "/privatelink-webhook:v0.0.9, and this privatelink installs " + target + ": replace it with --update"},
		"another version, updated":          {entries: []lock.Entry{carriedEntry("v0.0.9")}, webhook: own, update: update, source: own + ":" + tag},
		"another version, excluded":         {entries: []lock.Entry{carriedEntry("v0.0.9")}},
		"a registry's":                      {entries: []lock.Entry{otherEntry}, webhook: own, source: other, locked: true},
		"a registry's, updated":             {entries: []lock.Entry{otherEntry}, webhook: own, update: update, source: other},
		"this version, from a registry now": {entries: []lock.Entry{carriedEntry(tag)}, webhook: other, source: other},
		"two versions, from a registry now": {entries: []lock.Entry{carriedEntry("v0.0.9"), carriedEntry(tag)}, webhook: other, source: other},
		"none":                              {webhook: own},
		"none, from a registry now":         {webhook: other, source: other},
	} {
		t.Run(name, func(t *testing.T) {
			file := writeLock(t, registry, append([]lock.Entry{agentEntry}, tc.entries...)...)
			file.Update = tc.update
			s := selection.Sources{Webhook: tc.webhook}
			warnings := recordWarnings(&s)
			selected, err := s.Jobs(t.Context(), rules(t), file)
			if err != nil || selected.Jobs[0].Source != agent {
				t.Fatalf("%+v, %v", selected.Jobs, err)
			}
			selected.Jobs = selected.Jobs[1:]
			if tc.target == "" {
				tc.target = target
			}
			switch {
			case tc.source == "" && len(selected.Jobs) > 0, tc.source != "" && len(selected.Jobs) != 1:
				t.Fatalf("%+v", selected.Jobs)
			case tc.source == "":
			case selected.Jobs[0].Source != tc.source || selected.Jobs[0].Target != tc.target || selected.Jobs[0].Refused != nil || len(selected.Jobs[0].Why) != 1 || (selected.Jobs[0].Locked != nil) != tc.locked:
				t.Errorf("%+v", selected.Jobs[0])
			}
			if got := strings.Join(*warnings, "\n"); (got == "") != (tc.warning == "") || !strings.Contains(got, tc.warning) {
				t.Errorf("warnings %q, want %q", got, tc.warning)
			}
		})
	}
}

// The sources of the webhook's image are different images, which have one target.
func TestTheWebhooksImageOfASelectionAndALockFile(t *testing.T) {
	tag := webhookTag(t)
	const own, other = webhookimage.Repository, "quay.io/acme/webhook:approved"
	carried, approved := carriedEntry(tag), carriedEntry(tag)
	approved.Source = other
	for name, tc := range map[string]struct {
		entry           lock.Entry
		webhook, source string
		locked          bool
	}{
		"the carried one":                   {carried, own, own + ":" + tag, true},
		"the carried one, a registry's now": {carried, other, other, false},
		"a registry's":                      {approved, other, other, true},
		"a registry's, and none is named":   {approved, own, other, true},
		"another registry's now":            {approved, "quay.io/acme/webhook:next", "quay.io/acme/webhook:next", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := selection.Sources{Files: []string{"-"}, Stdin: strings.NewReader(pod(agent)), Webhook: tc.webhook}
			recordWarnings(&s)
			selected, err := s.Jobs(t.Context(), rules(t), writeLock(t, registry, agentEntry, tc.entry))
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(selected.Jobs, func(j mirror.Job) bool { return j.Target == tc.entry.Target })
			if i < 0 || selected.Jobs[i].Source != tc.source || (selected.Jobs[i].Locked != nil) != tc.locked {
				t.Errorf("%+v", selected.Jobs)
			}
		})
	}
}

func TestTheWebhooksImageThatWasNotCopied(t *testing.T) {
	tag := webhookTag(t)
	file := filepath.Join(t.TempDir(), "lock.yaml")
	e := carriedEntry(tag)
	l := lock.Lock{Registry: registry, Images: []lock.Entry{agentEntry}, NotCopied: []lock.NotCopied{{Source: e.Source, Target: e.Target, Why: e.Why}}}
	if err := l.Write(file); err != nil {
		t.Fatal(err)
	}
	selected, err := selection.Sources{Webhook: webhookimage.Repository}.Jobs(t.Context(), rules(t), selection.LockFile{Name: file})
	if err != nil || len(selected.Jobs) != 2 || selected.Jobs[1].Source != e.Source || selected.Jobs[1].Target != e.Target || selected.Jobs[1].Refused != nil || selected.Jobs[1].Locked != nil {
		t.Errorf("%+v, %v", selected.Jobs, err)
	}
}

func TestTarget(t *testing.T) {
	l := &lock.Lock{Registry: "registry.example.com/other"}
	for name, tc := range map[string]struct {
		source, locked, want string
		outcome              rewrite.Outcome
	}{
		"an image":                                {agent, l.Registry + "/agent:v1", registry + "/agent:v1", rewrite.Rewritten},
		"an image somewhere else":                 {agent, l.Registry + "/renamed:v1", registry + "/agent:v1", rewrite.Rewritten},
		"a kept image":                            {"quay.io/kept/x:v1", l.Registry + "/quay.io/kept/x:v1", "quay.io/kept/x:v1", rewrite.Kept},
		"the webhook's":                           {webhookimage.Repository + ":v1", l.Registry + "/privatelink-webhook:v1", registry + "/privatelink-webhook:v1", rewrite.Rewritten},
		"the webhook's of a registry":             {"quay.io/kept/webhook:x", l.Registry + "/privatelink-webhook:v1", registry + "/privatelink-webhook:v1", rewrite.Rewritten},
		"below the webhook's repository":          {agent, l.Registry + "/privatelink-webhook/x:v1", registry + "/agent:v1", rewrite.Rewritten},
		"the webhook's of a third registry":       {agent, "registry.example.com/third/privatelink-webhook:v1", registry + "/agent:v1", rewrite.Rewritten},
		"an image that has no target in the lock": {agent, "", registry + "/agent:v1", rewrite.Rewritten},
	} {
		if got := selection.Target(l, rules(t), tc.source, tc.locked); got.Target != tc.want || got.Outcome != tc.outcome || got.Source != tc.source {
			t.Errorf("%s: %+v, want %s", name, got, tc.want)
		}
	}
}

func TestWebhookImageOfALockFile(t *testing.T) {
	e := carriedEntry(webhookTag(t))
	missing := selection.LockFile{Name: filepath.Join(t.TempDir(), "none")}
	for name, tc := range map[string]struct {
		file selection.LockFile
		want string // an image, or a part of an error
	}{
		"with the image":          {writeLock(t, registry, agentEntry, e), e.Target + "@" + e.Digest.String()},
		"with another version":    {writeLock(t, registry, agentEntry, carriedEntry("v0.0.9")), "does not list " + e.Target + ": copy it with privatelink mirror"},
		"without the image":       {writeLock(t, registry, agentEntry), "does not list " + e.Target},
		"of another registry":     {foreignLock(t), "is for the registry"},
		"that does not exist":     {missing, missing.Name},
		"that is not a lock file": {selection.LockFile{Name: write(t, "lock.yaml", "kind: Pod\n")}, "lock.yaml: "},
	} {
		image, err := tc.file.WebhookImage(t.Context(), rules(t))
		switch {
		case err == nil && image == tc.want:
		case err == nil || image != "" || exitcode.Code(err) != exitcode.Usage || !strings.Contains(err.Error(), tc.want):
			t.Errorf("%s: %q, %v, want %q", name, image, err, tc.want)
		}
		if isMissing := tc.file == missing; errors.Is(err, fs.ErrNotExist) != isMissing {
			t.Errorf("%s: %v", name, err)
		}
	}
}
