// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"slices"
	"strings"

	"github.com/castai/privatelink-webhook/deploy"
)

// Service is a service that is reached through a VPC endpoint.
type Service struct {
	// Name is short: ecr.api, or api for that of CAST AI.
	Name string
	// FullName is the service name of the endpoint. Default: that of the AWS service
	// Name.
	FullName string
	// Host is the public name of a service of CAST AI; "" if it is not known.
	Host string
	// Gateway is set if the endpoint is a gateway in route tables, as for S3.
	Gateway bool
	// Required is set if no isolated cluster works without the service.
	Required bool
	// Why names the clients of the service.
	Why string
}

// NeededServices returns the services of the table that need an endpoint in a
// region. castaiNames are full service names of CAST AI by short name, for
// regions that the table does not have; if there are any, those of the table are
// not used.
func NeededServices(table deploy.Endpoints, region string, castaiNames map[string]string) (aws, castai []Service, err error) {
	for _, s := range table.AWS {
		aws = append(aws, Service{Name: s.Service, Gateway: s.Type == "Gateway", Required: s.Required, Why: s.Why})
	}
	fullNames := castaiNames
	if len(fullNames) == 0 {
		fullNames = table.Regions[region]
	}
	var known []string
	for _, s := range table.CASTAI {
		known = append(known, s.Name)
		if fullName, ok := fullNames[s.Name]; ok {
			castai = append(castai, Service{Name: s.Name, FullName: fullName, Host: s.Host, Required: true, Why: s.Why})
		}
	}
	for name := range castaiNames {
		if !slices.Contains(known, name) {
			return nil, nil, fmt.Errorf("CAST AI has no service %q: use one of %s", name, strings.Join(known, ", "))
		}
	}
	return aws, castai, nil
}

// matches reports whether serviceName, as in an endpoint, is that of s. AWS names
// begin with com.amazonaws in most partitions, and with cn.com.amazonaws for some
// services in China.
// https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html
func (s Service) matches(region, serviceName string) bool {
	if s.FullName != "" {
		return serviceName == s.FullName
	}
	return strings.HasSuffix(serviceName, "com.amazonaws."+region+"."+s.Name)
}

// serviceName returns the name for creating an endpoint.
func (s Service) serviceName(region string) string {
	if s.FullName != "" {
		return s.FullName
	}
	return "com.amazonaws." + region + "." + s.Name
}

// serviceEndpoints are the endpoints of one service in the VPC.
type serviceEndpoints struct {
	Service
	endpoints []endpoint
}

// groupByService returns the endpoints of each service, in the order of services.
func groupByService(services []Service, region string, endpoints []endpoint) (grouped []serviceEndpoints) {
	for _, s := range services {
		g := serviceEndpoints{Service: s}
		for _, e := range endpoints {
			if s.matches(region, e.service) {
				g.endpoints = append(g.endpoints, e)
			}
		}
		grouped = append(grouped, g)
	}
	return grouped
}

// active returns the endpoints that nodes use: the available ones and, of
// several, those that the name of the service resolves to.
func (s serviceEndpoints) active() []endpoint {
	available := filter(s.endpoints, endpoint.isAvailable)
	if resolved := filter(available, endpoint.hasServiceName); len(resolved) > 0 {
		return resolved
	}
	return available
}

func filter[T any](all []T, keep func(T) bool) (kept []T) {
	for _, v := range all {
		if keep(v) {
			kept = append(kept, v)
		}
	}
	return kept
}
