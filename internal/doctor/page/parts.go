// SPDX-License-Identifier: Apache-2.0

package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/topology"
	"github.com/castai/privatelink-webhook/internal/htmlreport"
)

// part is an element of the picture and the checks that concern it.
type part struct {
	element doctor.Element
	kind    doctor.Element // all endpoints of a kind, all subnets; "" for the others
	htmlreport.Element
}

// parts are all elements of the picture.
type parts struct {
	Report
	all []part
}

// newParts creates the elements, and gives each the state of the checks that concern it.
func newParts(in Report) *parts {
	in.Network.Subnets = slices.SortedFunc(slices.Values(in.Network.Subnets), func(a, b topology.Subnet) int { return cmp.Or(cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.ID, b.ID)) })
	p := &parts{Report: in}
	p.addFixed()
	p.addSubnets()
	p.addEndpoints()
	for i := range p.all {
		p.all[i].Number = i + 1
		p.all[i].State = htmlreport.NotChecked
	}
	for i, r := range in.Results {
		for _, j := range p.concerned(r) {
			p.all[j].add(htmlreport.Reference{Number: i + 1, Name: r.ID()}, stateOf(r.Status))
		}
	}
	return p
}

// addFixed adds the elements that every network has.
func (p *parts) addFixed() {
	n := p.Network
	webhook, admission := "in "+p.Namespace, fmt.Sprintf("port %d", n.Port)
	if p.Namespace == "" {
		webhook, admission = "none: a policy rewrites", "by a policy, without a connection"
	}
	nodes := "their number is not known"
	if n.Nodes >= 0 {
		nodes = fmt.Sprintf("%d in EC2", n.Nodes)
	}
	for _, f := range []struct {
		element     doctor.Element
		label, text string
	}{
		{doctor.ControlPlane, "Control plane", "API server of EKS"},
		{doctor.Caller, "AWS credentials", "of this command"},
		{doctor.Admission, "Control plane to webhook", admission},
		{doctor.VPC, strings.TrimSpace("VPC " + n.VPC), vpcText(n)},
		{doctor.Webhook, "Webhook", webhook},
		{doctor.Pods, "Pods of CAST AI", ""},
		{doctor.Nodes, "Nodes", nodes},
		{doctor.Egress, "Nodes to endpoints", "port 443"},
		{doctor.PrivateDNS, "Private DNS", "resolver of the VPC"},
		{doctor.Registry, "Private registry", p.Target.Registry},
		{doctor.Internet, "Internet", "must have no route"},
	} {
		p.all = append(p.all, part{element: f.element, Element: htmlreport.Element{Label: f.label, Text: f.text}})
	}
}

func vpcText(n topology.Network) string {
	if len(n.Blocks) == 0 {
		return "its addresses are not known"
	}
	return strings.TrimSpace(strings.Join(n.Blocks, ", ") + " " + n.Name)
}

func (p *parts) addSubnets() {
	for _, s := range p.Network.Subnets {
		label := "Subnet " + s.ID
		text := s.CIDR
		if s.Name != "" {
			text += " " + s.Name
		}
		p.all = append(p.all, part{element: doctor.Subnet(s.ID), kind: doctor.Subnets, Element: htmlreport.Element{Label: label, Text: text}})
	}
	if len(p.Network.Subnets) == 0 {
		p.all = append(p.all, part{element: doctor.Subnets, kind: doctor.Subnets, Element: htmlreport.Element{Label: "Subnets", Text: "not known"}})
	}
}

func (p *parts) addEndpoints() {
	hasCASTAI := false
	for _, e := range p.Network.Endpoints {
		kind, label := doctor.AWSEndpoints, "Endpoint "+e.Service
		if e.IsCASTAI {
			kind, label, hasCASTAI = doctor.CASTAIEndpoints, "CAST AI endpoint "+e.Service, true
		}
		text := strings.TrimSpace(e.ID + " " + e.State)
		switch {
		case text != "":
		case p.Network.EndpointsUnknown != "":
			text = "not known"
		default:
			text = "missing"
		}
		p.all = append(p.all, part{element: doctor.Endpoint(e.Service), kind: kind, Element: htmlreport.Element{Label: label, Text: text}})
	}
	if !hasCASTAI {
		p.all = append(p.all, part{element: doctor.CASTAIEndpoints, kind: doctor.CASTAIEndpoints, Element: htmlreport.Element{Label: "CAST AI endpoints", Text: "services not known"}})
	}
}

// concerned returns the indices of the elements of a result. An element that is not drawn,
// such as a subnet of another VPC, is part of the VPC.
func (p *parts) concerned(r doctor.Result) (indices []int) {
	for _, e := range r.Concerned() {
		if e == doctor.NoElement {
			continue
		}
		isDrawn := false
		for i, part := range p.all {
			if part.element == e || part.kind == e {
				isDrawn = true
				indices = append(indices, i)
			}
		}
		if !isDrawn {
			indices = append(indices, slices.IndexFunc(p.all, func(o part) bool { return o.element == doctor.VPC }))
		}
	}
	slices.Sort(indices)
	return slices.Compact(indices)
}

// of returns the elements of a result.
func (p *parts) of(result int) (references []htmlreport.Reference) {
	for _, i := range p.concerned(p.Results[result]) {
		references = append(references, htmlreport.Reference{Number: p.all[i].Number, Name: p.all[i].Label})
	}
	return references
}

// severities are the states from the mildest to the most severe.
var severities = []htmlreport.State{htmlreport.NotChecked, htmlreport.OK, htmlreport.Warning, htmlreport.Unknown, htmlreport.Failed}

// add adds a check. The most severe ones give the element its state.
func (p *part) add(check htmlreport.Reference, s htmlreport.State) {
	p.Checks = append(p.Checks, check)
	switch old, new := slices.Index(severities, p.State), slices.Index(severities, s); {
	case new > old:
		p.State, p.Causes = s, []htmlreport.Reference{check}
	case new == old:
		p.Causes = append(p.Causes, check)
	}
}
