// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/cluster"
	"github.com/castai/privatelink-webhook/internal/doctor/inside"
	"github.com/castai/privatelink-webhook/internal/doctor/probe"
)

// archives is the host of the archives in CAST AI's public index. It redirects to others.
const archives = "github.com"

// chartHosts returns the hosts from which CAST AI's operator fetches charts.
func (s *Suite) chartHosts(ctx context.Context) (c inside.Charts) {
	if s.clusterErr != nil {
		return inside.Charts{Err: s.clusterErr}
	}
	ctx, cancel := context.WithTimeout(ctx, s.Run.Timeout)
	defer cancel()
	repositories, err := cluster.ChartRepositories(ctx, s.client)
	if err != nil {
		return inside.Charts{Err: cluster.WithRemedy(err)}
	}
	for _, r := range repositories {
		host, ok := chartHost(r)
		if !ok {
			c.IsUnusable = true
			continue
		}
		if s.Inside && strings.HasSuffix(host.Host, ".svc") {
			return inside.Charts{Err: doctor.NewError(fmt.Errorf("%s is a Service: only pods resolve it", host.Host), "probe from a pod, with --probe instead of --inside")}
		}
		if c.Remedy == "" {
			c.Remedy = r.Remedy()
		}
		if c.Hosts = append(c.Hosts, host); r.IsPublic() {
			c.Hosts = append(c.Hosts, probe.Target{Host: archives, Port: 443})
		}
	}
	slices.SortFunc(c.Hosts, func(a, b probe.Target) int { return strings.Compare(a.String(), b.String()) })
	c.Hosts = slices.Compact(c.Hosts)
	return c
}

// chartHost returns what the operator connects to. Names of Services are completed: the
// probe runs in another namespace. It returns false if the operator cannot use the address.
func chartHost(r cluster.ChartRepository) (probe.Target, bool) {
	u := r.Server()
	if u == nil {
		return probe.Target{}, false
	}
	host := strings.TrimSuffix(strings.TrimSuffix(u.Hostname(), "."), ".cluster.local")
	if _, err := netip.ParseAddr(host); err != nil && !strings.Contains(host, ".") {
		host += "." + r.Namespace + ".svc"
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	switch {
	case err == nil && port > 0:
	case u.Scheme == "http":
		port = 80
	default:
		port = 443
	}
	return probe.Target{Host: host, Port: uint16(port)}, true
}
