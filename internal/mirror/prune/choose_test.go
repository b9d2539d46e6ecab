// SPDX-License-Identifier: Apache-2.0

package prune

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func id(name string) digest.Digest { return digest.FromString(name) }

func hours(n int) time.Time { return now.Add(-time.Duration(n) * time.Hour) }

// old, mid and new are indexes with two images each, one of which mid and new
// share; old is signed in both ways.
func repository() ([]candidate, childrenFunc) {
	images := []candidate{
		{Digest: id("new"), Tags: []string{"v3", "latest"}, IsIndex: true, Pushed: hours(48), Size: 1},
		{Digest: id("mid"), Tags: []string{"v2"}, IsIndex: true, Pushed: hours(72), Size: 1},
		{Digest: id("old"), Tags: []string{"v1"}, IsIndex: true, Pushed: hours(96), Size: 1},
		{Digest: id("new-amd64"), Pushed: hours(48)}, {Digest: id("shared-arm64"), Pushed: hours(72)},
		{Digest: id("mid-amd64"), Pushed: hours(72)}, {Digest: id("old-amd64"), Pushed: hours(96)}, {Digest: id("old-arm64"), Pushed: hours(96)},
		{Digest: id("old-sig"), Tags: []string{strings.Replace(id("old").String(), ":", "-", 1) + ".sig"}, Pushed: hours(96)},
		{Digest: id("old-sbom"), Subject: id("old"), Pushed: hours(1)},
		{Digest: id("old-sbom-sig"), Subject: id("old-sbom"), Pushed: hours(1)},
		{Digest: id("orphan"), Pushed: hours(1000)},
		{Digest: id("recent-push"), Pushed: hours(1)},
	}
	below := map[digest.Digest][]digest.Digest{
		id("new"): {id("new-amd64"), id("shared-arm64")}, id("mid"): {id("mid-amd64"), id("shared-arm64")}, id("old"): {id("old-amd64"), id("old-arm64")},
	}
	return images, func(_ context.Context, _ string, c candidate) ([]digest.Digest, error) { return below[c.Digest], nil }
}

func unused(string, candidate) bool { return false }

func TestChoose(t *testing.T) {
	uses := func(names ...string) func(string, candidate) bool {
		return func(_ string, c candidate) bool {
			return slices.ContainsFunc(names, func(n string) bool { return id(n) == c.Digest })
		}
	}
	for name, tc := range map[string]struct {
		policy retentionPolicy
		want   []string // in groups, by the order
	}{
		"the newest is retained": {retentionPolicy{KeepNewest: 1, InUse: unused}, []string{"old-sig", "old-sbom", "old-sbom-sig", "|", "mid", "old", "|", "mid-amd64", "old-amd64", "old-arm64", "orphan"}},
		"the newest two are retained, with the images that they share": {retentionPolicy{KeepNewest: 2, InUse: unused}, []string{"old-sig", "old-sbom", "old-sbom-sig", "|", "old", "|", "old-amd64", "old-arm64", "orphan"}},
		"KeepNewest exceeds the number of images":                      {retentionPolicy{KeepNewest: 9, InUse: unused}, []string{"|", "|", "orphan"}},
		"an image in use is retained, with its referrers and theirs":   {retentionPolicy{KeepNewest: 1, InUse: uses("old")}, []string{"|", "mid", "|", "mid-amd64", "orphan"}},
		"one platform of an index is in use":                           {retentionPolicy{KeepNewest: 1, InUse: uses("old-arm64")}, []string{"old-sig", "old-sbom", "old-sbom-sig", "|", "mid", "old", "|", "mid-amd64", "old-amd64", "orphan"}},
		"only locked images are retained":                              {retentionPolicy{Locked: map[string]bool{"r@" + id("mid").String(): true, "other@" + id("old").String(): true}, InUse: unused}, []string{"old-sig", "old-sbom", "old-sbom-sig", "|", "new", "old", "|", "new-amd64", "old-amd64", "old-arm64", "orphan"}},
		"newest and locked images are retained":                        {retentionPolicy{KeepNewest: 1, Locked: map[string]bool{"r@" + id("mid").String(): true, "other@" + id("old").String(): true}, InUse: unused}, []string{"old-sig", "old-sbom", "old-sbom-sig", "|", "old", "|", "old-amd64", "old-arm64", "orphan"}},
	} {
		t.Run(name, func(t *testing.T) {
			images, children := repository()
			tc.policy.MinAge = 24 * time.Hour
			c, err := choose(t.Context(), "r", images, tc.policy, children, now)
			if err != nil {
				t.Fatal(err)
			}
			var want [][]digest.Digest
			group := []digest.Digest{}
			for _, n := range append(tc.want, "|") {
				if n == "|" {
					slices.Sort(group)
					want, group = append(want, group), nil
					continue
				}
				group = append(group, id(n))
			}
			var got []digest.Digest
			for _, i := range c.Delete {
				got = append(got, i.Digest)
			}
			if !slices.Equal(got, slices.Concat(want...)) {
				t.Errorf("got %d, want %d images, in this order:\n%v\n%v", len(got), len(tc.want), got, want)
			}
			if c.Kept+len(c.Delete) != len(images) {
				t.Errorf("%d kept and %d deleted of %d", c.Kept, len(c.Delete), len(images))
			}
		})
	}
}

// The same SBOM of several images is one manifest with a tag for each.
func TestSBOMOfSeveralImages(t *testing.T) {
	tag := func(name string) string { return strings.Replace(id(name).String(), ":", "-", 1) + ".sbom" }
	for name, tc := range map[string]struct {
		tags   []string
		pushed time.Time
		kept   bool
	}{
		"of a retained image and another": {[]string{tag("mid"), tag("new")}, hours(2), true},
		"of a platform that is retained":  {[]string{tag("old"), tag("new-amd64")}, hours(2), true},
		"with another tag":                {[]string{"sbom", tag("new")}, hours(999), true},
		"of images that are deleted":      {[]string{tag("old"), tag("mid")}, hours(2), false},
	} {
		t.Run(name, func(t *testing.T) {
			images, children := repository()
			sbom := candidate{Digest: id("sbom"), Tags: tc.tags, Pushed: tc.pushed}
			c, err := choose(t.Context(), "r", append(images, sbom), retentionPolicy{KeepNewest: 1, InUse: unused}, children, now)
			if err != nil {
				t.Fatal(err)
			}
			deleted := func(d digest.Digest) bool {
				return slices.ContainsFunc(c.Delete, func(c candidate) bool { return c.Digest == d })
			}
			if deleted(sbom.Digest) == tc.kept || deleted(id("new")) {
				t.Errorf("deleted: %+v", c.Delete)
			}
		})
	}
}

// For random repositories, a retained index keeps all images that it lists, and
// a retained image keeps the subject of its referrers.
func TestRetainedImagesAreComplete(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		var images []candidate
		below := map[digest.Digest][]digest.Digest{}
		for n := range 2 + r.IntN(12) {
			i := candidate{Digest: id(fmt.Sprint(n)), Pushed: hours(r.IntN(100)), IsIndex: n > 3 && r.IntN(2) == 0}
			if r.IntN(2) == 0 {
				i.Tags = []string{fmt.Sprint("v", n)}
			}
			if n > 0 && r.IntN(4) == 0 {
				i.Subject = images[r.IntN(n)].Digest
			}
			for range r.IntN(4) {
				if i.IsIndex {
					below[i.Digest] = append(below[i.Digest], images[r.IntN(n)].Digest)
				}
			}
			images = append(images, i)
		}
		used := images[r.IntN(len(images))].Digest
		policy := retentionPolicy{KeepNewest: 1 + r.IntN(3), MinAge: 24 * time.Hour, InUse: func(_ string, c candidate) bool { return c.Digest == used }}
		c, err := choose(t.Context(), "r", images, policy, func(_ context.Context, _ string, c candidate) ([]digest.Digest, error) { return below[c.Digest], nil }, now)
		if err != nil {
			t.Fatal(err)
		}
		deleted := map[digest.Digest]bool{}
		for _, i := range c.Delete {
			deleted[i.Digest] = true
		}
		if deleted[used] {
			t.Fatalf("seed %d: the image in use is deleted", seed)
		}
		for index, names := range below {
			for _, d := range names {
				if deleted[d] && !deleted[index] {
					t.Fatalf("seed %d: a retained index loses an image", seed)
				}
			}
		}
		for _, i := range images {
			if deleted[i.Digest] && i.Subject != "" && !deleted[i.Subject] {
				t.Fatalf("seed %d: a referrer is deleted although its subject is retained", seed)
			}
		}
	}
}

func TestUnreadableIndexIsAnError(t *testing.T) {
	images, _ := repository()
	_, err := choose(t.Context(), "r", images, retentionPolicy{KeepNewest: 1, InUse: unused}, func(context.Context, string, candidate) ([]digest.Digest, error) { return nil, errors.New("boom") }, now)
	if err == nil || !strings.Contains(err.Error(), "r@sha256:") {
		t.Errorf("error %v", err)
	}
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		policy retentionPolicy
		want   string
	}{
		{retentionPolicy{InUse: unused}, "nothing selects the images to keep"}, {retentionPolicy{KeepNewest: -1, InUse: unused}, "keep one or more"}, {retentionPolicy{KeepNewest: 1}, "InUse"},
	} {
		if err := tc.policy.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: error %v, want %q", tc.policy, err, tc.want)
		}
	}
	if err := (retentionPolicy{Locked: map[string]bool{}, InUse: unused}).Validate(); err != nil {
		t.Error(err)
	}
}
