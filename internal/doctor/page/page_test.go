// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/page"
	"github.com/castai/privatelink-webhook/internal/doctor/suite"
	"github.com/castai/privatelink-webhook/internal/doctor/topology"
	"github.com/castai/privatelink-webhook/internal/htmlreport"
	"github.com/castai/privatelink-webhook/internal/target"
)

// sample returns a network with one subnet and all endpoints.
func sample(t *testing.T) topology.Network {
	t.Helper()
	needed, err := deploy.NeededEndpoints()
	if err != nil {
		t.Fatal(err)
	}
	n := topology.Network{VPC: "vpc-1", Name: "production", Blocks: []string{"10.0.0.0/16"}, Nodes: 3, Port: 9443, Subnets: []topology.Subnet{{ID: "subnet-1", Name: "private", Zone: "us-east-1a", CIDR: "10.0.1.0/24"}}}
	for _, s := range needed.AWS {
		n.Endpoints = append(n.Endpoints, topology.Endpoint{Service: s.Service, ID: "vpce-1", State: "available"})
	}
	for _, s := range needed.CASTAI {
		n.Endpoints = append(n.Endpoints, topology.Endpoint{Service: s.Name, IsCASTAI: true, ID: "vpce-1", State: "available"})
	}
	return n
}

// results returns those of all checks of an engine.
func results(t *testing.T, engine string, find func(doctor.Check) doctor.Finding) []doctor.Result {
	t.Helper()
	checks, err := suite.Catalog(engine)
	if err != nil {
		t.Fatal(err)
	}
	var all []doctor.Result
	for _, c := range checks {
		all = append(all, doctor.Result{Check: c, Finding: find(c)})
	}
	return all
}

func render(t *testing.T, r page.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := page.Write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func fine(doctor.Check) doctor.Finding { return doctor.OKf("fine") }

// Each check names a part of the picture, or that it concerns none. The part turns red
// alone with those of its kind.
func TestEachCheckConcernsAPart(t *testing.T) {
	failed := regexp.MustCompile(`aria-label="([^"]*): failed, check \d+"`)
	for _, engine := range []string{"webhook", "policy"} {
		for _, c := range results(t, engine, fine) {
			all := results(t, engine, func(o doctor.Check) doctor.Finding {
				if o.ID() == c.ID() {
					return doctor.Failf("mend it", "broken")
				}
				return doctor.OKf("fine")
			})
			var names []string
			for _, m := range failed.FindAllStringSubmatch(render(t, page.Report{Results: all, Network: sample(t), Namespace: "castai-elsewhere"}), -1) {
				names = append(names, m[1])
			}
			isNone := slices.Equal(c.Check.Elements, []doctor.Element{doctor.NoElement})
			isVPC := slices.Contains(c.Check.Elements, doctor.VPC)
			if isNone != (len(names) == 0) || slices.Contains(names, "VPC vpc-1") != isVPC || len(c.Check.Elements) == 0 {
				t.Errorf("%s names %q, and the red parts are %q", c.ID(), c.Check.Elements, names)
			}
		}
	}
}

// A finding narrows what its check concerns, and what is not drawn belongs to the VPC.
func TestFindingsNarrowParts(t *testing.T) {
	for id, want := range map[string][]string{"ecr.api": {"Endpoint ecr.api"}, "elsewhere": {"VPC vpc-1"}} {
		all := results(t, "webhook", func(c doctor.Check) doctor.Finding {
			if c.ID() == "network/endpoint-state" {
				return doctor.Failf("", "pending").At(doctor.Endpoint(id))
			}
			return doctor.OKf("fine")
		})
		got := regexp.MustCompile(`aria-label="([^"]*): failed`).FindAllStringSubmatch(render(t, page.Report{Results: all, Network: sample(t)}), -1)
		if len(got) != len(want) || got[0][1] != want[0] {
			t.Errorf("%s: %q", id, got)
		}
	}
}

var (
	tags    = regexp.MustCompile(`<[^<>]*>`)
	names   = regexp.MustCompile(`^</?[a-zA-Z0-9!]+`)
	anyHref = regexp.MustCompile(`(?:href|src)="([^"]*)"`)
)

// structure returns the names of all tags in order.
func structure(document string) (all []string) {
	for _, t := range tags.FindAllString(document, -1) {
		all = append(all, names.FindString(t))
	}
	return all
}

// filled returns a report in which every text from elsewhere is s.
func filled(t *testing.T, s string) page.Report {
	n := sample(t)
	n.VPC, n.Name, n.Blocks, n.SubnetsUnknown, n.EndpointsUnknown = s, s, []string{s}, s, s+"2"
	n.Subnets = []topology.Subnet{{ID: s, Name: s, Zone: s, CIDR: s}}
	n.Endpoints = append(n.Endpoints, topology.Endpoint{Service: s, ID: s, State: s})
	i := 0
	return page.Report{
		Target: target.Target{Context: s, Server: s, Cluster: s, Account: s, Region: s, Registry: s}, Network: n, Namespace: "castai-elsewhere", Facts: []htmlreport.Fact{{Name: "version", Value: s}},
		Results: results(t, "webhook", func(doctor.Check) doctor.Finding {
			i++
			return doctor.Finding{Status: []doctor.Status{doctor.OK, doctor.Failed, doctor.Warning, doctor.Unknown, doctor.Skipped}[i%5], Found: s, Details: []string{s, s}, Remedy: s}
		}),
	}
}

// Markup in texts from a cluster and from AWS changes no tag, and adds no reference.
func TestMarkupIsText(t *testing.T) {
	want := structure(render(t, filled(t, "x")))
	if len(want) < 500 {
		t.Fatalf("%d tags", len(want))
	}
	for _, hostile := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onload='alert(1)`, `</title></svg></style><svg onload=alert(1)>`, `javascript:alert(1)`, `]]><!--`, `url(https://example.com/x)`, `{{.}}`,
	} {
		document := render(t, filled(t, hostile))
		if got := structure(document); !slices.Equal(got, want) {
			t.Errorf("%s changes the tags: %d instead of %d", hostile, len(got), len(want))
		}
		for _, m := range anyHref.FindAllStringSubmatch(document, -1) {
			if !strings.HasPrefix(m[1], "#") && m[1] != "data:," {
				t.Errorf("%s adds a reference to %s", hostile, m[1])
			}
		}
	}
}

// Characters that hide or reorder text are shown as codes.
func TestInvisibleCharactersAreCodes(t *testing.T) {
	document := render(t, filled(t, "a\u202eb\u200bc\x1b[31m"))
	if strings.ContainsAny(document, "\u202e\u200b\x1b") || !strings.Contains(document, `a\u202eb\u200bc`) {
		t.Error("they are in the document as they are")
	}
}

// What is not known is drawn as not known.
func TestUnknownNetwork(t *testing.T) {
	n := sample(t)
	n.VPC, n.Name, n.Blocks, n.Subnets = "", "", nil, nil
	for i := range n.Endpoints {
		n.Endpoints[i].ID, n.Endpoints[i].State = "", ""
	}
	unknown := func(c doctor.Check) doctor.Finding { return doctor.Unknownf("log in", "no credentials") }
	document := render(t, page.Report{Results: results(t, "webhook", unknown), Network: n.WithoutAccess("no <credentials>")})
	for _, want := range []string{
		`Parts of the network are not known: no &lt;credentials&gt;`, `aria-label="VPC: unknown, check `, `aria-label="Subnets: unknown, checks `, `aria-label="Endpoint ecr.api: unknown, checks `,
		`Endpoint s3 <small>not known</small>`, `Nodes <small>their number is not known</small>`,
	} {
		if !strings.Contains(document, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(document, "missing") {
		t.Error("an endpoint is called missing")
	}
}

// The summary is that of the worst status.
func TestSummary(t *testing.T) {
	for status, want := range map[doctor.Status]string{
		doctor.OK: "<strong>ok</strong>", doctor.Warning: "<strong>warning</strong>", doctor.Unknown: "<strong>unknown</strong>", doctor.Failed: "<strong>failed</strong>",
	} {
		all := results(t, "policy", fine)
		all[3].Status = status
		document := render(t, page.Report{Results: all, Network: sample(t)})
		if !strings.Contains(document, want) || strings.Contains(document, "No check failed, warns or is unknown.") != (status == doctor.OK) {
			t.Errorf("%s: no %s", status, want)
		}
	}
}

// The report stays small with many subnets and details.
func TestSize(t *testing.T) {
	r := filled(t, "a text of some length, as findings have it, with 60 letters")
	for i := range 60 {
		r.Network.Subnets = append(r.Network.Subnets, topology.Subnet{ID: fmt.Sprintf("subnet-%017d", i), Zone: "us-east-1a", CIDR: "10.0.0.0/24"})
	}
	if n := len(render(t, r)); n > 300_000 {
		t.Errorf("%d bytes", n)
	}
}
