// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/castai/privatelink-webhook/internal/htmlreport"
	"github.com/castai/privatelink-webhook/internal/mirror"
)

// writeHTML writes a plan that will not be run as a report, with one group for each
// component that needs images.
func (r *Reporter) writeHTML(p *mirror.Plan, now time.Time) error {
	report := htmlreport.Report{
		Title: strings.TrimSpace("PrivateLink images " + r.Target.Cluster), Attention: "Missing images", Calm: "All images are in the private registry.",
		Facts: append(htmlreport.TargetFacts(r.Target), htmlreport.RunFacts("privatelink "+r.Version, now)...),
		State: htmlreport.OK, Summary: fmt.Sprintf("%d images are in the private registry.", len(p.Items)),
	}
	failed, action := p.Count(mirror.StateFailed), p.Count(mirror.StateMissing)+p.Count(mirror.StateDiffers)+p.Count(mirror.StateIncomplete)
	switch {
	case action > 0:
		report.State, report.Summary = htmlreport.Failed, fmt.Sprintf("%d of %d images are missing, incomplete or different. Copy them: privatelink mirror", action, len(p.Items))
	case failed > 0:
		report.State, report.Summary = htmlreport.Unknown, fmt.Sprintf("%d of %d images could not be compared.", failed, len(p.Items))
	}
	items := byState(p)
	slices.SortStableFunc(items, func(a, b *mirror.Item) int { return cmp.Compare(component(a), component(b)) })
	for n, i := range items {
		if n == 0 || component(i) != component(items[n-1]) {
			report.Groups = append(report.Groups, htmlreport.Group{Name: component(i)})
		}
		g := &report.Groups[len(report.Groups)-1]
		g.Entries = append(g.Entries, entry(n+1, i))
	}
	return htmlreport.Write(r.Out, report)
}

// component returns what needs an image.
func component(i *mirror.Item) string {
	if len(i.Why) == 0 {
		return "Images of the lock file"
	}
	return "Images of " + i.Why[0]
}

// entry returns an image as an entry of the report.
func entry(number int, i *mirror.Item) htmlreport.Entry {
	e := htmlreport.Entry{Number: number, Name: i.Target, State: htmlreport.Failed, Found: string(i.State), Expected: "from " + i.Source, NeedsAction: true, Details: i.Why}
	switch i.State {
	case mirror.StatePresent:
		e.State, e.NeedsAction, e.Details = htmlreport.OK, false, nil
	case mirror.StateIncomplete:
		e.Found = "incomplete: " + i.DescribeLacks()
	case mirror.StateDiffers:
		e.Found = fmt.Sprintf("is %s, and the source is %s", i.Found, i.Digest())
	case mirror.StateFailed:
		e.State = htmlreport.Unknown
		if i.Err != nil {
			e.Found = i.Err.Error()
		}
	}
	return e
}
