// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"cmp"
	"context"
	"strings"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
	"github.com/castai/privatelink-webhook/internal/doctor/cluster"
	"github.com/castai/privatelink-webhook/internal/doctor/identity"
	"github.com/castai/privatelink-webhook/internal/doctor/network"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
)

// AWS selects the cluster and its network in AWS.
type AWS struct {
	Profile string
	Region  string   // default: as in the kubeconfig, or else that of the registry
	Cluster string   // name in EKS; default: as in the kubeconfig
	VPC     string   // ID, if there is no cluster yet
	Subnets []string // IDs; default: those of the cluster
	// Services are the endpoint services of CAST AI by name, for a region that is
	// not known.
	Services map[string]string
}

// region returns the region of the cluster. The kubeconfig knows that of its own cluster.
func (s *Suite) region() string {
	var known string
	if t := s.Cluster.Target(); s.AWS.VPC == "" && (s.AWS.Cluster == "" || s.AWS.Cluster == t.Cluster) {
		known = t.Region
	}
	return cmp.Or(s.AWS.Region, known, s.registry.Region)
}

// expectedCluster returns what the kubeconfig tells about a cluster in EKS: nothing, if
// that is not its own cluster.
func (s *Suite) expectedCluster(name string) awsapi.Expected {
	t := s.Cluster.Target()
	if name == "" || name != t.Cluster {
		return awsapi.Expected{}
	}
	return awsapi.Expected{Account: t.Account, Host: kubeconfig.EKSHost(t.Server)}
}

// awsChecks returns the checks of network and identity, and that of the node
// role, which belongs to the registry group and needs the other two.
func (s *Suite) awsChecks(ctx context.Context) (checks, nodeRole []doctor.Check, err error) {
	name := s.AWS.Cluster
	if name == "" && s.AWS.VPC == "" {
		name = s.Cluster.EKSCluster()
	}
	expected := s.expectedCluster(name)
	config, configErr := awsapi.Load(ctx, s.region(), s.AWS.Profile)
	endpoints, err := deploy.NeededEndpoints()
	if err != nil {
		return nil, nil, err
	}
	services, castai, err := network.NeededServices(endpoints, s.region(), s.AWS.Services)
	if err != nil {
		return nil, nil, exitcode.Usagef("--castai-service: %w", err)
	}
	_, prefix, _ := strings.Cut(s.Rules.Registry(), "/")
	ids := identity.Config{AWS: config, Account: s.registry.Account, Region: s.registry.Region, Partition: s.registry.Partition, Prefix: prefix, Cluster: name, Expected: expected}
	n := network.Config{
		AWS: config, Partition: s.registry.Partition, Cluster: name, Expected: expected, VPC: s.AWS.VPC, Subnets: s.AWS.Subnets, Services: services, CASTAI: castai, Port: s.port,
		NodeRoles: func(ctx context.Context) ([]string, error) { return identity.NodeRoles(ctx, ids) },
		Caller:    func(ctx context.Context) (string, error) { return identity.Caller(ctx, ids) },
	}
	n.Install = cluster.InstallCommand(s.engine, s.release)
	if s.registry.Region != "" {
		n.Registry, n.RegistryRegion = s.Rules.Registry(), s.registry.Region
	}
	checks, s.describe = network.Inspect(n)
	checks = append(checks, identity.Checks(ids)...)
	nodeRole = []doctor.Check{identity.NodeRole(ids, network.Group+"/cluster-vpc", identity.Group+"/caller")}
	var unknown doctor.Finding
	switch {
	case configErr != nil:
		unknown = doctor.Unknownf("see --profile", "%v", configErr)
	case s.region() == "":
		unknown = doctor.Unknownf("set --region, or exclude these checks with --skip network,identity,registry/node-role", "the region is unknown: registry %s is not in ECR", s.Rules.Registry())
	default:
		return checks, nodeRole, nil
	}
	return doctor.Unavailable(checks, unknown), doctor.Unavailable(nodeRole, unknown), nil
}
