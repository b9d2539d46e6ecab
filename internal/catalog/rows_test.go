// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distribution/reference"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

func TestEveryRowOfTheCatalogParsesAndMaps(t *testing.T) {
	r := rules(t, rewrite.Config{})
	rows := Rows()
	if len(rows) < 100 {
		t.Fatalf("only %d rows", len(rows))
	}
	seen := map[string]bool{}
	for _, row := range rows {
		refs := []string{row.Repository}
		if row.Alias != "" {
			refs = append(refs, row.Alias)
		}
		for _, ref := range refs {
			if row.Tag != "" {
				ref = row.reference(ref)
			}
			named, err := reference.ParseNormalizedNamed(ref)
			if err != nil || named.String() != ref {
				t.Errorf("%s is not written in full: %v, %v", ref, named, err)
			}
			if got := r.Image(ref); !got.Changed() {
				t.Errorf("%s: %s", ref, got.Rule)
			}
		}
		if key := row.Repository + ":" + row.Tag; seen[key] {
			t.Errorf("%s stands twice", key)
		} else {
			seen[key] = true
		}
		if !slices.Contains([]string{"seen", "older-copy", "unverified"}, row.Certainty) {
			t.Errorf("%s: certainty %q", row.Repository, row.Certainty)
		}
	}
}

// A change of the table changes the golden file, and its review asks for the day.
func TestTheDateBelongsToTheTable(t *testing.T) {
	if _, err := time.Parse(time.DateOnly, Date); err != nil {
		t.Error(err)
	}
	golden.Compare(t, "testdata/date.txt", fmt.Appendf(nil, "Set Date in rows.go to the day of the comparison when images.tsv changes.\n%s  sha256:%x\n", Date, sha256.Sum256([]byte(table))))
}

func TestTheSetsOfTheCatalog(t *testing.T) {
	want := []string{"optional", "phase1", "phase2", "retired", "terraform", "umbrella"}
	if got := slices.Sorted(slices.Values(Sets())); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if err := New(rules(t, rewrite.Config{})).AddSet("phase3"); err == nil || !strings.Contains(err.Error(), "there are only phase1,") {
		t.Error(err)
	}
}

// All that a set yields is a row's own name and tag, or follows from one.
func TestASetAddsNoUnknownTag(t *testing.T) {
	tags := map[string]bool{}
	for _, row := range Rows() {
		tags[row.Repository+":"+row.Tag] = true
	}
	for _, set := range Sets() {
		l := New(rules(t, rewrite.Config{}))
		if err := l.AddSet(set); err != nil {
			t.Fatal(err)
		}
		images := l.Images()
		if len(images) < 5 {
			t.Errorf("%s: only %d images", set, len(images))
		}
		targets := map[string]bool{}
		for _, i := range images {
			switch {
			case targets[i.Target]:
				t.Errorf("%s: %s is listed twice", set, i.Target)
			case i.Unmapped():
				t.Errorf("%s: %s: %s", set, i.Source, i.Rule)
			case i.Copy && !tags[i.Source]:
				t.Errorf("%s: %s is no row of the catalog", set, i.Source)
			case !i.Copy && (rewrite.SplitReference(i.Source).Tag != "" || !strings.Contains(i.Note, "no tag is known")):
				t.Errorf("%s: %s: %q", set, i.Source, i.Note)
			}
			targets[i.Target] = true
		}
	}
}

func TestComponentsOfUnknownImagesAreNoRows(t *testing.T) {
	for _, set := range Sets() {
		for _, component := range Unknown(set) {
			for _, row := range Rows() {
				if slices.Contains(row.Components, component) && row.NamedIn != "literal" { // a hook's image
					t.Errorf("%s: %s has a row: %s", set, component, row.Repository)
				}
			}
		}
	}
	for _, set := range []string{"phase2", "umbrella", "terraform"} {
		if !slices.Contains(Unknown(set), "castai-live") {
			t.Errorf("%s says nothing of castai-live", set)
		}
	}
	if got := Unknown("phase1"); got != nil {
		t.Errorf("phase1: %q", got)
	}
}

func TestTheVendorsSecondNameIsNoEntryOfItsOwn(t *testing.T) {
	l := New(rules(t, rewrite.Config{}))
	if err := l.AddSet("phase1"); err != nil {
		t.Fatal(err)
	}
	for _, i := range l.Images() {
		if strings.HasPrefix(i.Source, ghcr) {
			t.Errorf("%s is listed in addition to its first name", i.Source)
		}
		if strings.HasPrefix(i.Source, gar+"/agent:") && (len(i.Also) != 1 || !strings.HasPrefix(i.Also[0], ghcr+"/agent:")) {
			t.Errorf("also: %v", i.Also)
		}
	}
}

func TestAKnownTagReplacesAnUnknownOne(t *testing.T) {
	l := New(rules(t, rewrite.Config{}))
	l.addUntagged(gar+"/x", here)
	if got := l.Images(); len(got) != 1 || got[0].Copy || got[0].Source != gar+"/x" {
		t.Errorf("%+v", got)
	}
	l.Add(ghcr+"/x:v1", here)
	if got := l.Images(); len(got) != 1 || !got[0].Copy || got[0].Source != ghcr+"/x:v1" {
		t.Errorf("%+v", got)
	}
}

func TestABrokenTableIsReportedByLine(t *testing.T) {
	head := strings.Join(columns, "\t") + "\n"
	for text, want := range map[string]string{
		"a\tb\n":                               "images.tsv:1: 2 columns",
		head + "a\tb\n":                        "images.tsv:2: 2 columns",
		strings.Replace(head, "alias", "x", 1): "images.tsv:1: the columns",
	} {
		if _, err := parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
