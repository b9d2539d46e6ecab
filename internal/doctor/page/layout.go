// SPDX-License-Identifier: Apache-2.0

package page

import (
	"fmt"
	"slices"
	"strings"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/htmlreport"
)

// The columns of the picture from the left to the right: the control plane and the
// credentials, the nodes with their subnets, the endpoints, and what is beyond the VPC.
const (
	width     = 1400
	leftX     = 10
	leftW     = 250
	vpcX      = 330
	vpcW      = 780
	computeX  = 350
	computeW  = 290
	egressX   = 660
	egressW   = 175
	endpointX = 860
	endpointW = 230
	rightX    = 1150
	rightW    = 240
	boxH      = 54
	gap       = 10
	headingH  = 28 // of a frame
)

// picture places the elements.
func (p *parts) picture() *htmlreport.Picture {
	pic := &htmlreport.Picture{Title: "Network of " + strings.TrimSpace("the cluster "+p.Target.Cluster), Width: width, Note: p.note()}
	vpc := &htmlreport.Frame{X: vpcX, Y: 1, W: vpcW, Label: "Network in AWS"}
	p.place(doctor.VPC, computeX, headingH, computeW)
	vpc.H = max(p.placeCompute(pic), p.placeEndpoints(pic)) + gap
	pic.Frames = append([]htmlreport.Frame{*vpc}, pic.Frames...)
	pic.Height = vpc.H + gap
	p.placeOutside(pic)
	p.connect()
	for _, e := range p.all {
		pic.Elements = append(pic.Elements, e.Element)
	}
	return pic
}

// note says why parts of the network are not known.
func (p *parts) note() string {
	var reasons []string
	for _, r := range []string{p.Network.SubnetsUnknown, p.Network.EndpointsUnknown} {
		if r != "" && !slices.Contains(reasons, r) {
			reasons = append(reasons, r)
		}
	}
	if len(reasons) == 0 {
		return ""
	}
	return fmt.Sprintf("Parts of the network are not known: %s", strings.Join(reasons, "; "))
}

func (p *parts) find(e doctor.Element) *part {
	return &p.all[slices.IndexFunc(p.all, func(o part) bool { return o.element == e })]
}

func (p *parts) place(e doctor.Element, x, y, w int) {
	part := p.find(e)
	part.X, part.Y, part.W, part.H = x, y, w, boxH
}

// placeCompute places what is in the VPC left of the endpoints, and returns the bottom.
func (p *parts) placeCompute(pic *htmlreport.Picture) (y int) {
	y = headingH + boxH + gap
	for _, e := range []doctor.Element{doctor.Webhook, doctor.Pods, doctor.Nodes, doctor.PrivateDNS} {
		p.place(e, computeX, y, computeW)
		y += boxH + gap
	}
	if len(p.Network.Subnets) == 0 {
		p.place(doctor.Subnets, computeX, y, computeW)
		return y + boxH
	}
	for i, s := range p.Network.Subnets {
		if i == 0 || s.Zone != p.Network.Subnets[i-1].Zone {
			pic.Frames = append(pic.Frames, htmlreport.Frame{X: computeX - gap, Y: y, W: computeW + 2*gap, H: headingH, Label: "Zone " + s.Zone})
			y += headingH
		}
		p.place(doctor.Subnet(s.ID), computeX, y, computeW)
		y += boxH + gap
		zone := &pic.Frames[len(pic.Frames)-1]
		zone.H = y - zone.Y
		if i+1 < len(p.Network.Subnets) && p.Network.Subnets[i+1].Zone != s.Zone {
			y += gap
		}
	}
	return y
}

// placeEndpoints places the endpoints of AWS and CAST AI below each other, and draws
// where they lead to. It returns the bottom.
func (p *parts) placeEndpoints(pic *htmlreport.Picture) (y int) {
	y = headingH
	for _, kind := range []struct {
		element        doctor.Element
		name, provider string
	}{{doctor.AWSEndpoints, "Endpoints of AWS", "AWS: ECR, S3, STS, EC2"}, {doctor.CASTAIEndpoints, "Endpoints of CAST AI", "CAST AI"}} {
		frame := htmlreport.Frame{X: endpointX - gap, Y: y, W: endpointW + 2*gap, Label: kind.name}
		y += headingH
		for _, e := range p.all {
			if e.kind == kind.element {
				p.place(e.element, endpointX, y, endpointW)
				y += boxH + gap
			}
		}
		frame.H = y - frame.Y
		provider := htmlreport.Frame{X: rightX, Y: frame.Y, W: rightW, H: headingH, Label: kind.provider}
		pic.Frames = append(pic.Frames, frame, provider)
		pic.Lines = append(pic.Lines, [2]htmlreport.Point{{X: frame.X + frame.W, Y: frame.Y + headingH/2}, {X: rightX, Y: frame.Y + headingH/2}})
		y += gap
	}
	return y
}

// placeOutside places what is not in the VPC.
func (p *parts) placeOutside(pic *htmlreport.Picture) {
	p.place(doctor.ControlPlane, leftX, p.find(doctor.VPC).Y, leftW)
	p.place(doctor.Admission, leftX, p.find(doctor.Webhook).Y, leftW)
	p.place(doctor.Caller, leftX, pic.Height-boxH-gap, leftW)
	p.place(doctor.Registry, rightX, 2*headingH+gap, rightW)
	p.place(doctor.Internet, rightX, pic.Height-boxH-gap, rightW)
	p.place(doctor.Egress, egressX, p.find(doctor.Nodes).Y, egressW)
}

// connect draws the two connections that are checked.
func (p *parts) connect() {
	middle := func(e doctor.Element) int { return p.find(e).Y + boxH/2 }
	p.find(doctor.Admission).Path = []htmlreport.Point{{X: leftX + leftW/2, Y: p.find(doctor.ControlPlane).Y + boxH}, {X: leftX + leftW/2, Y: middle(doctor.Webhook)}, {X: computeX, Y: middle(doctor.Webhook)}}
	p.find(doctor.Egress).Path = []htmlreport.Point{{X: computeX + computeW, Y: middle(doctor.Nodes)}, {X: endpointX - gap, Y: middle(doctor.Nodes)}}
}
