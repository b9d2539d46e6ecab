// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"io"
	"slices"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/cluster"
	"github.com/castai/privatelink-webhook/internal/doctor/identity"
	"github.com/castai/privatelink-webhook/internal/doctor/inside"
	"github.com/castai/privatelink-webhook/internal/doctor/network"
	"github.com/castai/privatelink-webhook/internal/doctor/registry"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// List writes the checks that Run would run with an engine or, if o names none, with any.
// It needs no cluster, configuration or credentials.
func List(w io.Writer, format output.Format, o Options) error {
	if format == JUnit || format == output.HTML {
		return exitcode.Usagef("--list has no results, which --output %s is for: use json or yaml", format)
	}
	checks, err := Catalog(o.Engine)
	if err != nil {
		return err
	}
	return exitcode.AsUsage(doctor.Describe(w, format, checks, o.Run))
}

// Names returns the groups and the IDs of all checks, the latter followed by a tab and the
// expectation.
func Names() (names []string) {
	checks, err := Catalog("")
	if err != nil {
		return nil
	}
	for _, c := range checks {
		if !slices.Contains(names, c.Group) {
			names = append(names, c.Group)
		}
	}
	for _, c := range checks {
		names = append(names, c.ID()+"\t"+c.What)
	}
	return names
}

// Catalog returns the checks of an engine or, if it is "", those of all engines. They can
// be described and not be run.
func Catalog(engine string) ([]doctor.Check, error) {
	if engine != "" {
		e, err := parseEngine(engine)
		if err != nil {
			return nil, err
		}
		return describable(e)
	}
	all, err := describable(cluster.Webhook)
	if err != nil {
		return nil, err
	}
	others, err := describable(cluster.Policy)
	for _, c := range others {
		isSame := func(o doctor.Check) bool { return o.ID() == c.ID() }
		if slices.ContainsFunc(all, isSame) {
			continue
		}
		end := len(all)
		for i, o := range all {
			if o.Group == c.Group {
				end = i + 1
			}
		}
		all = slices.Insert(all, end, c)
	}
	return all, err
}

// describable returns the checks of an engine for a registry that does not exist.
func describable(engine cluster.Engine) ([]doctor.Check, error) {
	rules, err := rewrite.New(rewrite.Config{Registry: "registry.invalid/castai"})
	if err != nil {
		return nil, err
	}
	return arrange(engine, cluster.Checks(cluster.Config{Rules: rules, Engine: engine, Names: cluster.Names{Namespace: deploy.Namespace}}), network.Checks(network.Config{}), identity.Checks(identity.Config{}),
		registry.Checks(registry.Config{}), []doctor.Check{identity.NodeRole(identity.Config{})}, inside.Checks(inside.Config{Probe: inside.Local})), nil
}
