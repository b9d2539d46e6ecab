// SPDX-License-Identifier: Apache-2.0

// Package page turns the results of the doctor into an HTML report with a picture of the
// network.
package page

import (
	"fmt"
	"io"
	"strings"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/topology"
	"github.com/castai/privatelink-webhook/internal/htmlreport"
	"github.com/castai/privatelink-webhook/internal/target"
)

// Report is what a report shows.
type Report struct {
	Target  target.Target
	Results []doctor.Result
	Network topology.Network
	// Namespace is that of the webhook. It is "" if the engine is a policy, which has no pods.
	Namespace string
	// Facts are lines for the header after those of the target, such as versions.
	Facts []htmlreport.Fact
}

// Write writes the report.
func Write(w io.Writer, in Report) error {
	parts := newParts(in)
	r := htmlreport.Report{
		Title: strings.TrimSpace("PrivateLink report " + in.Target.Cluster), Facts: append(htmlreport.TargetFacts(in.Target), in.Facts...),
		Attention: "Findings", Calm: "No check failed, warns or is unknown.", Picture: parts.picture(),
	}
	for i, res := range in.Results {
		if i == 0 || res.Group != in.Results[i-1].Group {
			r.Groups = append(r.Groups, htmlreport.Group{Name: "Checks of " + res.Group})
		}
		g := &r.Groups[len(r.Groups)-1]
		g.Entries = append(g.Entries, htmlreport.Entry{
			Number: i + 1, Name: res.ID(), State: stateOf(res.Status), Found: res.Found, Expected: res.What, Why: res.Why, Remedy: res.Remedy, Details: res.Details,
			NeedsAction: res.Cause == "" && res.Status != doctor.OK && res.Status != doctor.Skipped, Parts: parts.of(i),
		})
	}
	r.State, r.Summary = summarize(in.Results)
	for _, s := range []doctor.Status{doctor.Failed, doctor.Warning, doctor.Unknown, doctor.Skipped, doctor.OK} {
		r.Counts = append(r.Counts, htmlreport.Count{State: stateOf(s), N: doctor.Count(in.Results, s)})
	}
	return htmlreport.Write(w, r)
}

// summarize returns the most severe state, and the result in a sentence.
func summarize(results []doctor.Result) (htmlreport.State, string) {
	failed, warnings, unknown := doctor.Count(results, doctor.Failed), doctor.Count(results, doctor.Warning), doctor.Count(results, doctor.Unknown)
	switch {
	case failed > 0:
		return htmlreport.Failed, fmt.Sprintf("%d of %d checks failed. Follow the remedies below, and run privatelink doctor again.", failed, len(results))
	case unknown > 0:
		return htmlreport.Unknown, fmt.Sprintf("%d of %d checks could not run, and none failed. What they check is not known to work.", unknown, len(results))
	case warnings > 0:
		return htmlreport.Warning, fmt.Sprintf("no check failed; %d of %d warn of what may fail later.", warnings, len(results))
	}
	return htmlreport.OK, fmt.Sprintf("%d checks passed.", doctor.Count(results, doctor.OK))
}

// stateOf returns the state of a check with a status.
func stateOf(s doctor.Status) htmlreport.State {
	if s == doctor.Skipped {
		return htmlreport.NotChecked
	}
	return htmlreport.State(s)
}
