// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/table"
	"github.com/castai/privatelink-webhook/internal/terminal"
	"github.com/castai/privatelink-webhook/internal/textreport"
)

// Screen writes the status in groups, as of now. The last line says what to do next.
func (s *Status) Screen(out io.Writer, program string, now time.Time) error {
	findings := s.Evaluate(now)
	if err := (textreport.Header{Program: program, Target: s.Target}).Write(out); err != nil {
		return err
	}
	states := table.NewUncut(out)
	if s.Policy != "" {
		textreport.AddGroup(states, "policy")
		states.Row("engine", "MutatingAdmissionPolicy "+s.Policy+", which has no replicas")
	} else if err := s.writeReplicas(out, now); err != nil {
		return err
	}
	textreport.AddGroup(states, "images")
	if s.Policy == "" {
		states.Row("rewritten since start", s.rewritten())
	}
	states.Row("registry", s.Registry.String())
	states.Row("pods that wait", s.Waiting.String())
	states.Row("mirror", s.Mirror.describe(now))
	if s.Policy == "" {
		textreport.AddGroup(states, "configuration")
		states.Row("certificate", expiry(s.Replicas, now, func(r Replica) time.Time { return r.LeafEnds }))
		states.Row("CA", expiry(s.Replicas, now, func(r Replica) time.Time { return r.CAEnds }))
		states.Row("configuration", s.configuration(now))
	}
	findings.add(states)
	states.Text("")
	return errors.Join(states.Flush(), s.writeNext(out, findings, now))
}

// writeReplicas writes a row for each replica.
func (s *Status) writeReplicas(out io.Writer, now time.Time) error {
	replicas := table.New(out)
	textreport.AddGroup(replicas, "replicas")
	replicas.Row("REPLICA", "READY", "VERSION", "UP", "REVIEWS", "PANICS", "TLS REJECTED")
	for _, r := range s.Replicas {
		if r.Error != "" {
			replicas.Row(r.Pod, yesNo(r.Ready), "unknown: "+r.Error)
		} else {
			replicas.Row(r.Pod, yesNo(r.Ready), r.Version, duration(r.Started, now), list(r.Reviews), strconv.Itoa(r.Panics), strconv.Itoa(r.TLSRejected))
		}
		if !r.Ready {
			replicas.Style(1, terminal.Red)
		}
	}
	return replicas.Flush()
}

// rewritten returns the number of images that were rewritten, by source.
func (s *Status) rewritten() string {
	text := list(s.Rewritten)
	if sum := sum(s.Rewritten); sum > 0 {
		text = fmt.Sprintf("%d: %s", sum, text)
	}
	unknown := 0
	for _, r := range s.Replicas {
		if r.Error != "" {
			unknown++
		}
	}
	if unknown > 0 {
		text += fmt.Sprintf(" (without %d of %d replicas, which are unknown)", unknown, len(s.Replicas))
	}
	return text
}

// add adds a row for each finding.
func (f Findings) add(states *table.Table) {
	if len(f.Errors)+len(f.Unknown) > 0 {
		textreport.AddGroup(states, "findings")
	}
	for _, e := range f.Errors {
		states.Row("ERROR", e)
		states.Style(0, terminal.Red)
	}
	for _, u := range f.Unknown {
		states.Row("UNKNOWN", u)
		states.Style(0, terminal.Yellow)
	}
}

// writeNext writes the command that helps with the findings.
func (s *Status) writeNext(out io.Writer, f Findings, now time.Time) error {
	switch {
	case len(s.Waiting.Missing) > 0:
		return textreport.WriteNext(out, textreport.Faulty, "copy the images that pods wait for: privatelink mirror --config privatelink.yaml --missing")
	case len(s.Registry.Missing) > 0:
		command := "privatelink mirror --config privatelink.yaml"
		if s.lockFile != "" && s.lockFile != lock.DefaultFile {
			command += " --lock " + s.lockFile
		}
		return textreport.WriteNext(out, textreport.Faulty, "copy the missing images: "+command)
	case len(f.Errors) > 0 && len(f.Errors) == len(s.Mirror.evaluate(now)):
		return textreport.WriteNext(out, textreport.Faulty, "copy what is new until the schedule works again: privatelink mirror --config privatelink.yaml --set umbrella --track")
	case len(f.Errors) > 0:
		return textreport.WriteNext(out, textreport.Faulty, "find the cause and the remedy: privatelink doctor")
	case len(f.Unknown) > 0:
		return textreport.WriteNext(out, textreport.Unclear, "find out why states are unknown: privatelink doctor")
	}
	return textreport.WriteNext(out, textreport.Nothing, "nothing to do, there is no error")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}

// list returns "12 rewritten, 3 unchanged", the greatest count first.
func list(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	var parts []string
	for _, name := range names {
		if counts[name] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[name], name))
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "none")
}

func sum(counts map[string]int) (sum int) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

// String returns one line.
func (r Registry) String() string {
	if r.NotChecked != "" {
		return "not checked: " + r.NotChecked
	}
	line := fmt.Sprintf("%d of %d images missing", len(r.Missing), r.Images)
	if n := len(r.Missing); n > 0 {
		line += ": " + doctor.List(r.Missing, 3)
	}
	if n := len(r.Differs); n > 0 {
		line += fmt.Sprintf("; %d with another digest", n)
	}
	if n := len(r.Failed); n > 0 {
		line += fmt.Sprintf("; %d unknown", n)
	}
	return line
}

// expiry returns the earliest expiry time over all replicas.
func expiry(replicas []Replica, now time.Time, ends func(Replica) time.Time) string {
	var earliest time.Time
	for _, r := range replicas {
		if t := ends(r); !t.IsZero() && (earliest.IsZero() || t.Before(earliest)) {
			earliest = t
		}
	}
	switch {
	case earliest.IsZero():
		return "unknown"
	case !now.Before(earliest):
		return "EXPIRED on " + earliest.Format(time.DateTime) + " UTC"
	}
	return fmt.Sprintf("until %s UTC, in %s", earliest.Format(time.DateTime), duration(now, earliest))
}

// configuration returns the configurations in force, and compares them with the
// ConfigMap.
func (s *Status) configuration(now time.Time) string {
	hashes := map[string]bool{}
	var loaded time.Time
	refused, ignoring := 0, 0
	for _, r := range s.Replicas {
		if r.Error != "" {
			continue
		}
		hashes[cmp.Or(r.ConfigHash, "none")] = true
		if r.ConfigRefused {
			refused++
		}
		if r.ConfigIgnoredKeys > 0 {
			ignoring++
		}
		if r.ConfigLoaded.After(loaded) {
			loaded = r.ConfigLoaded
		}
	}
	if len(hashes) == 0 {
		return "unknown"
	}
	line := strings.Join(slices.Sorted(maps.Keys(hashes)), " and ") + ", loaded " + duration(loaded, now) + " ago"
	switch {
	case refused > 0:
		return line + fmt.Sprintf("; %d replicas refused a newer one and keep it", refused)
	case ignoring > 0:
		return line + fmt.Sprintf("; %d replicas ignore keys that their version does not know", ignoring)
	case len(hashes) > 1:
		return line + "; the replicas differ"
	case s.ConfigHash == "":
		return line + "; the ConfigMap could not be read"
	case hashes[s.ConfigHash]:
		return line + ", equal to the ConfigMap"
	}
	return line + ", but the ConfigMap is " + s.ConfigHash
}

// duration returns the time between two times with two units at most: 3d4h,
// 2h5m, 40s.
func duration(from, to time.Time) string {
	if from.IsZero() {
		return "?"
	}
	d := max(0, to.Sub(from).Round(time.Second))
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return d.String()
}
