// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

// table is the embedded catalog: a line of column names, then one line an image, with
// tabs between the columns and "-" for what is unknown or does not exist.
//
//go:embed images.tsv
var table string

// Date is the day on which the table was last compared with the vendor's published
// charts, as YYYY-MM-DD.
const Date = "2026-11-28"

// columns are those of the table, in its order.
var columns = []string{"repository", "alias", "component", "namespace", "how", "set", "example_tag", "named_in", "certainty"}

// Retired is the set of images that only older releases of the vendor's charts
// have. Nothing that is installed today brings them.
const Retired = "retired"

// Row is an image of the embedded catalog.
type Row struct {
	Repository string
	Alias      string   // the vendor's second name of the same image, "" for none
	Components []string // whose image it is
	Sets       []string // installations that include it
	Tag        string   // when the catalog was written, "" if not known
	NamedIn    string   // where its name stands: manifest, literal, derived or env:NAME
	Certainty  string   // of name and use: seen, older-copy or unverified
}

// Rows returns the images of the embedded catalog.
func Rows() []Row {
	rows, err := parse(table)
	if err != nil {
		panic(err) // the table is part of the program, and a test reads it
	}
	return rows
}

// parse reads a table and reports the first line that is not as it should be.
func parse(table string) (rows []Row, err error) {
	for i, line := range strings.Split(strings.TrimSuffix(table, "\n"), "\n") {
		field := strings.Split(line, "\t")
		if len(field) != len(columns) {
			return nil, fmt.Errorf("images.tsv:%d: %d columns, want %d", i+1, len(field), len(columns))
		}
		if i == 0 {
			if !slices.Equal(field, columns) {
				return nil, fmt.Errorf("images.tsv:1: the columns are not %s", strings.Join(columns, ", "))
			}
			continue
		}
		for j := range field {
			if field[j] == "-" {
				field[j] = ""
			}
		}
		r := Row{Repository: field[0], Alias: field[1], Components: strings.Split(field[2], ","), Sets: strings.Split(field[5], ","),
			Tag: field[6], NamedIn: field[7], Certainty: field[8]}
		if component, ok := strings.CutPrefix(field[2], Retired+":"); ok {
			r.Components[0] = component
			r.Sets = []string{Retired}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// Sets returns the names that AddSet takes, in the order of the catalog.
func Sets() (sets []string) {
	for _, r := range Rows() {
		for _, s := range r.Sets {
			if !slices.Contains(sets, s) {
				sets = append(sets, s)
			}
		}
	}
	return sets
}

// Unknown returns the components of a set whose images are in no public source, as
// their charts are called. The catalog has none of them.
func Unknown(set string) []string {
	switch set {
	case "phase2", "umbrella", "terraform":
		return []string{"castai-live"}
	case "optional":
		return []string{
			"apa-agent", "castai-ai-optimizer-batch-processor", "castai-cluster-agent", "castai-node-storage-agent", "dbo-cache",
			"gcp-disk-compatibility-webhook", "oci-csi-driver", "pv-monitor",
		}
	}
	return nil
}

// Umbrella is the chart that installs all others.
const Umbrella = "castai"

// Charts returns the names of the charts that install the sets, the umbrella's without
// any. Some of the names are of subcharts, which a repository does not have.
func Charts(sets []string) (charts []string) {
	if len(sets) == 0 {
		sets = []string{"umbrella"}
	}
	for _, r := range Rows() {
		for _, set := range r.Sets {
			if !slices.Contains(sets, set) {
				continue
			}
			if set == "umbrella" {
				charts = append(charts, Umbrella)
				continue
			}
			for _, c := range r.Components {
				if !strings.HasPrefix(c, "retired:") {
					charts = append(charts, c)
				}
			}
		}
	}
	slices.Sort(charts)
	return slices.Compact(charts)
}

// AddSet adds a set of the embedded catalog. It fails for a name that is none
// of Sets.
func (l *List) AddSet(set string) error {
	if err := CheckSet(set); err != nil {
		return err
	}
	for _, r := range Rows() {
		if slices.Contains(r.Sets, set) {
			l.addRow(r)
		}
	}
	return nil
}

// CheckSet returns an error if there is no set of this name.
func CheckSet(set string) error {
	if !slices.Contains(Sets(), set) {
		return fmt.Errorf("set %q: there are only %s", set, strings.Join(Sets(), ", "))
	}
	return nil
}

func (l *List) addRow(r Row) {
	label := strings.Join(r.Sets, ",")
	switch r.Certainty {
	case "older-copy":
		label = "of an older release; " + label
	case "unverified":
		label = "in no public source; " + label
	}
	origin := Origin{From: Embedded, Name: strings.Join(r.Components, ","), Object: "(" + label + ")"}
	add := func(repository string) {
		if r.Tag == "" {
			l.addUntagged(repository, origin)
		} else {
			l.Add(r.reference(repository), origin)
		}
	}
	add(r.Repository)
	// The second name is the same image. If the rules map it elsewhere it is
	// omitted: a source that uses it will name it.
	if r.Alias != "" && l.rules.Image(r.Alias).Target == l.rules.Image(r.Repository).Target {
		add(r.Alias)
	}
}

// reference is the row's tag behind one of its names.
func (r Row) reference(repository string) string { return repository + ":" + r.Tag }
