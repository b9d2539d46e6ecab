// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/castai/privatelink-webhook/internal/htmlreport"
)

// writeHTML writes the status as a report, as of now: the findings, the replicas, and the
// images that are missing or that pods wait for.
func (s *Status) writeHTML(w io.Writer, userAgent string, now time.Time) error {
	findings := s.Evaluate(now)
	r := htmlreport.Report{
		Title: strings.TrimSpace("PrivateLink status " + s.Target.Cluster), Attention: "Findings", Calm: "There is no error, and no state is unknown.",
		Facts: append(htmlreport.TargetFacts(s.Target), htmlreport.RunFacts(userAgent, now)...),
		State: htmlreport.OK, Summary: "no errors.",
		Groups: []htmlreport.Group{{Name: "States"}, {Name: "Replicas"}, {Name: "Images"}},
	}
	add := func(group int, e htmlreport.Entry) {
		e.Number = 1
		for _, g := range r.Groups {
			e.Number += len(g.Entries)
		}
		r.Groups[group].Entries = append(r.Groups[group].Entries, e)
	}
	for _, e := range findings.Errors {
		add(0, htmlreport.Entry{Name: "error", State: htmlreport.Failed, Found: e, NeedsAction: true})
	}
	for _, u := range findings.Unknown {
		add(0, htmlreport.Entry{Name: "unknown", State: htmlreport.Unknown, Found: u, NeedsAction: true})
	}
	add(0, htmlreport.Entry{Name: "mirror", State: s.Mirror.state(now), Found: s.Mirror.describe(now)})
	for _, replica := range s.Replicas {
		add(1, replica.entry(now))
	}
	for _, e := range s.imageEntries() {
		add(2, e)
	}
	switch {
	case len(findings.Errors) > 0:
		r.State, r.Summary = htmlreport.Failed, fmt.Sprintf("%d errors need action.", len(findings.Errors))
	case len(findings.Unknown) > 0:
		r.State, r.Summary = htmlreport.Unknown, fmt.Sprintf("no errors, and %d states are unknown.", len(findings.Unknown))
	}
	return htmlreport.Write(w, r)
}

// entry returns the replica as an entry.
func (r Replica) entry(now time.Time) htmlreport.Entry {
	e := htmlreport.Entry{Name: r.Pod, State: htmlreport.OK, Found: fmt.Sprintf("%s, up %s, reviews: %s", r.Version, duration(r.Started, now), list(r.Reviews))}
	switch {
	case !r.Ready:
		e.State = htmlreport.Failed
	case r.Error != "":
		e.State = htmlreport.Unknown
	}
	if r.Error != "" {
		e.Found = r.Error
	}
	return e
}

// imageEntries returns the images that are missing or differ, and those that pods wait for.
func (s *Status) imageEntries() (entries []htmlreport.Entry) {
	state := htmlreport.OK
	if s.Registry.NotChecked != "" {
		state = htmlreport.NotChecked
	}
	if len(s.Registry.Missing)+len(s.Registry.Differs) > 0 {
		state = htmlreport.Failed
	}
	entries = append(entries, htmlreport.Entry{Name: "registry", State: state, Found: s.Registry.String()})
	for _, list := range []struct {
		found  string
		images []string
	}{{"missing from the registry", s.Registry.Missing}, {"another digest than in the lock file", s.Registry.Differs}, {"a pod waits for it", s.Waiting.Images}} {
		for _, image := range list.images {
			entries = append(entries, htmlreport.Entry{Name: image, State: htmlreport.Failed, Found: list.found})
		}
	}
	return entries
}
