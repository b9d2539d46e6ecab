// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Verdict is what is to be acted on.
type Verdict struct {
	// Faults are found: replicas not ready, images missing, a refused or differing
	// configuration, expired certificates.
	Faults []string
	// Unseen could not be asked. What was not wanted is not in it.
	Unseen []string
}

// Judge says what is wrong at a time.
func (s *Status) Judge(now time.Time) (v Verdict) {
	ready := 0
	for _, r := range s.Replicas {
		if r.Ready {
			ready++
		}
		if r.Error != "" {
			v.Unseen = append(v.Unseen, r.Pod+": "+r.Error)
			continue
		}
		if r.ConfigRefused {
			v.Faults = append(v.Faults, r.Pod+" refused the newest configuration; its log says why")
		} else if s.ConfigHash != "" && r.ConfigHash != s.ConfigHash {
			v.Faults = append(v.Faults, fmt.Sprintf("%s has configuration %s, the ConfigMap is %s; the kubelet takes up to two minutes to bring it", r.Pod, r.ConfigHash, s.ConfigHash))
		}
		for _, c := range []struct {
			name string
			ends time.Time
		}{{"certificate", r.LeafEnds}, {"CA", r.CAEnds}} {
			if !c.ends.IsZero() && !now.Before(c.ends) {
				v.Faults = append(v.Faults, fmt.Sprintf("the %s of %s expired on %s", c.name, r.Pod, c.ends.Format(time.DateTime)))
			}
		}
	}
	if ready < s.Wanted || ready == 0 {
		v.Faults = append(v.Faults, fmt.Sprintf("%d of %d replicas are ready", ready, s.Wanted))
	}
	if s.ConfigError != "" {
		v.Unseen = append(v.Unseen, "ConfigMap: "+s.ConfigError)
	}
	if n := len(s.Registry.Missing); n > 0 {
		v.Faults = append(v.Faults, fmt.Sprintf("%d images are missing in the registry", n))
	}
	if n := len(s.Registry.Differs); n > 0 {
		v.Faults = append(v.Faults, fmt.Sprintf("%d images have another digest than in the lock file", n))
	}
	v.Unseen = append(v.Unseen, s.Registry.Failed...)
	return v
}

// Screen writes the status for a person, as of now.
func (s *Status) Screen(out io.Writer, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "REPLICA\tREADY\tVERSION\tUP\tREVIEWS\tPANICS\tDISTRUSTED")
	for _, r := range s.Replicas {
		if r.Error != "" {
			fmt.Fprintf(w, "%s\t%s\tnot seen: %s\n", r.Pod, yes(r.Ready), r.Error)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\n", r.Pod, yes(r.Ready), r.Version, since(r.Started, now), tally(r.Reviews, false), r.Panics, r.Distrusted)
	}
	fmt.Fprintln(w)
	fmt.Fprintf(w, "rewritten since start\t%s%s\n", tally(s.Rewritten, true), s.silent())
	fmt.Fprintf(w, "registry\t%s\n", s.Registry.line())
	fmt.Fprintf(w, "certificate\t%s\n", ends(s.Replicas, now, func(r Replica) time.Time { return r.LeafEnds }))
	fmt.Fprintf(w, "CA\t%s\n", ends(s.Replicas, now, func(r Replica) time.Time { return r.CAEnds }))
	fmt.Fprintf(w, "configuration\t%s\n", s.configuration(now))
	v := s.Judge(now)
	for _, fault := range v.Faults {
		fmt.Fprintf(w, "FAULT\t%s\n", fault)
	}
	for _, unseen := range v.Unseen {
		fmt.Fprintf(w, "NOT SEEN\t%s\n", unseen)
	}
	return w.Flush()
}

// silent says that sums are not complete.
func (s *Status) silent() string {
	n := 0
	for _, r := range s.Replicas {
		if r.Error != "" {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (without the %d of %d replicas that were not seen)", n, len(s.Replicas))
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}

// tally is "12 rewritten, 3 unchanged", the greatest first; with total, their
// sum before it.
func tally(n map[string]int, total bool) string {
	names := slices.SortedFunc(maps.Keys(n), func(a, b string) int { return cmp.Or(cmp.Compare(n[b], n[a]), cmp.Compare(a, b)) })
	var parts []string
	sum := 0
	for _, name := range names {
		if sum += n[name]; n[name] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[name], name))
		}
	}
	switch {
	case len(parts) == 0:
		return "none"
	case total:
		return fmt.Sprintf("%d: %s", sum, strings.Join(parts, ", "))
	}
	return strings.Join(parts, ", ")
}

func (r Registry) line() string {
	if r.NotAsked != "" {
		return "not asked: " + r.NotAsked
	}
	line := fmt.Sprintf("%d of %d images missing", len(r.Missing), r.Images)
	if len(r.Missing) > 0 {
		line += ": " + strings.Join(r.Missing[:min(3, len(r.Missing))], ", ")
		if more := len(r.Missing) - 3; more > 0 {
			line += fmt.Sprintf(" and %d more", more)
		}
	}
	if n := len(r.Differs); n > 0 {
		line += fmt.Sprintf("; %d with another digest", n)
	}
	if n := len(r.Failed); n > 0 {
		line += fmt.Sprintf("; %d could not be asked about", n)
	}
	return line
}

// ends is the first end among the replicas.
func ends(replicas []Replica, now time.Time, of func(Replica) time.Time) string {
	var soonest time.Time
	for _, r := range replicas {
		if t := of(r); !t.IsZero() && (soonest.IsZero() || t.Before(soonest)) {
			soonest = t
		}
	}
	switch {
	case soonest.IsZero():
		return "not known"
	case !now.Before(soonest):
		return "EXPIRED on " + soonest.Format(time.DateTime) + " UTC"
	}
	return fmt.Sprintf("until %s UTC, in %s", soonest.Format(time.DateTime), since(now, soonest))
}

// configuration is what is in force, and whether all agree with the ConfigMap.
func (s *Status) configuration(now time.Time) string {
	hashes := map[string]int{}
	var loaded time.Time
	refused := 0
	for _, r := range s.Replicas {
		if r.Error == "" {
			hashes[cmp.Or(r.ConfigHash, "none")]++
			if r.ConfigRefused {
				refused++
			}
			if r.ConfigLoaded.After(loaded) {
				loaded = r.ConfigLoaded
			}
		}
	}
	if len(hashes) == 0 {
		return "not known"
	}
	line := strings.Join(slices.Sorted(maps.Keys(hashes)), " and ") + ", loaded " + since(loaded, now) + " ago"
	switch {
	case refused > 0:
		line += fmt.Sprintf("; %d replicas refused a newer one and keep it", refused)
	case len(hashes) > 1:
		line += "; the replicas differ"
	case s.ConfigHash == "":
		line += "; the ConfigMap could not be read"
	case hashes[s.ConfigHash] > 0:
		line += ", equal to the ConfigMap"
	default:
		line += ", but the ConfigMap is " + s.ConfigHash
	}
	return line
}

// since is a duration as people say it: 3d4h, 2h5m, 40s.
func since(from, to time.Time) string {
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
