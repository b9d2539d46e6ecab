// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/cluster"
	"github.com/castai/privatelink-webhook/internal/doctor/page"
	"github.com/castai/privatelink-webhook/internal/doctor/topology"
	"github.com/castai/privatelink-webhook/internal/htmlreport"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/redact"
	"github.com/castai/privatelink-webhook/internal/textreport"
)

// JUnit is a format of reports for CI systems.
const JUnit output.Format = "junit"

// report returns what the formats show of results. The network is read for HTML only.
func (s *Suite) report(ctx context.Context, format output.Format, results []doctor.Result) (page.Report, error) {
	r := page.Report{Target: s.Target(), Results: results}
	if s.engine == cluster.Webhook {
		r.Namespace = s.namespace
	}
	if format == output.HTML {
		r.Network = s.network(ctx, results)
		r.Facts = append([]htmlreport.Fact{{Name: "Kubernetes", Value: s.kubernetesVersion()}, {Name: "engine", Value: string(s.engine)}}, htmlreport.RunFacts(s.UserAgent, time.Now())...)
	}
	if s.Redact {
		return s.redacted(ctx, r)
	}
	return r, nil
}

// network describes the network within the time of a check.
func (s *Suite) network(ctx context.Context, results []doctor.Result) topology.Network {
	ctx, cancel := context.WithTimeout(ctx, s.Run.Timeout)
	defer cancel()
	return s.describe(ctx, results)
}

// kubernetesVersion returns the version of the API server.
func (s *Suite) kubernetesVersion() string {
	if s.clusterErr != nil {
		return "not known"
	}
	v, err := s.client.Discovery().ServerVersion()
	if err != nil {
		return "not known"
	}
	return v.GitVersion
}

// redacted returns the report with placeholders. It fails if the names of nodes cannot be
// read, because they could remain in a text.
func (s *Suite) redacted(ctx context.Context, r page.Report) (page.Report, error) {
	var nodes []string
	if s.clusterErr == nil {
		list, err := s.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return r, fmt.Errorf("--redact needs the names of the nodes, to replace them: %w: grant list on nodes, see --cluster-roles", err)
		}
		for _, n := range list.Items {
			nodes = append(nodes, n.Name)
		}
	}
	return redactReport(r, nodes), nil
}

// redactReport replaces the originals in all texts that are not part of the program.
func redactReport(r page.Report, nodes []string) page.Report {
	x := redact.New()
	x.Add("cluster", r.Target.Cluster)
	x.Add("account", r.Target.Account)
	x.Add("node", nodes...)
	x.Add("vpc", r.Network.VPC, r.Network.Name)
	if u, err := url.Parse(r.Target.Server); err == nil {
		x.Add("server", u.Hostname())
	}
	host, _, _ := strings.Cut(r.Target.Registry, "/")
	x.AddHost(strings.Split(host, ":")[0])
	for _, n := range r.Network.Subnets {
		x.Add("subnet", n.ID, n.Name)
	}
	for _, res := range r.Results {
		for _, text := range append([]string{res.Found, res.Remedy}, res.Details...) {
			x.Learn(text)
		}
	}
	x.Learn(r.Target.Context)
	x.Add("context", r.Target.Context)
	r.Results = slices.Clone(r.Results)
	for i := range r.Results {
		f := &r.Results[i].Finding
		f.Found, f.Remedy, f.Details = x.Text(f.Found), x.Text(f.Remedy), texts(x, f.Details)
		f.Elements = texts(x, f.Elements)
	}
	t := &r.Target
	t.Context, t.Server, t.Cluster, t.Account, t.Registry = x.Text(t.Context), x.Text(t.Server), x.Text(t.Cluster), x.Text(t.Account), x.Text(t.Registry)
	n := &r.Network
	n.VPC, n.Name, n.Blocks, n.SubnetsUnknown, n.EndpointsUnknown = x.Text(n.VPC), x.Text(n.Name), texts(x, n.Blocks), x.Text(n.SubnetsUnknown), x.Text(n.EndpointsUnknown)
	n.Subnets, n.Endpoints = slices.Clone(n.Subnets), slices.Clone(n.Endpoints)
	for i, s := range n.Subnets {
		n.Subnets[i] = topology.Subnet{ID: x.Text(s.ID), Name: x.Text(s.Name), Zone: s.Zone, CIDR: x.Text(s.CIDR)}
	}
	for i, e := range n.Endpoints {
		n.Endpoints[i].ID = x.Text(e.ID)
	}
	return r
}

// texts returns the list with placeholders.
func texts[T ~string](x *redact.Redactor, list []T) (redacted []T) {
	for _, s := range list {
		redacted = append(redacted, T(x.Text(string(s))))
	}
	return redacted
}

func (o Options) write(w io.Writer, format output.Format, r page.Report) error {
	switch format {
	case output.Text:
		return doctor.Text(w, textreport.Header{Program: o.Program, Target: r.Target}, r.Results)
	case output.HTML:
		return page.Write(w, r)
	case JUnit:
		return doctor.JUnit(w, r.Target, r.Results)
	}
	return doctor.Document(w, format, r.Target, r.Results)
}
