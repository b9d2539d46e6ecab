// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
	"github.com/castai/privatelink-webhook/internal/doctor/identity"
	"github.com/castai/privatelink-webhook/internal/doctor/network"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// awsFlags name the cluster and its network as AWS knows them.
type awsFlags struct {
	profile, region string
	cluster, vpc    string
	subnets         []string
	services        map[string]string
}

func (f *awsFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.profile, "profile", "", "AWS `PROFILE` (default: as the AWS CLI)")
	flags.StringVar(&f.region, "region", "", "`REGION` of the cluster (default: that of the registry)")
	flags.StringVar(&f.cluster, "eks-cluster", "", "`NAME` of the EKS cluster (default: as the kubeconfig tells)")
	flags.StringVar(&f.vpc, "vpc", "", "`ID` of the VPC, before there is a cluster in it")
	flags.StringSliceVar(&f.subnets, "subnet", nil, "`ID` of a subnet of the nodes (default: those of the cluster); may be repeated")
	flags.StringToStringVar(&f.services, "castai-service", nil, "`NAME=SERVICE` of CAST AI's PrivateLink, such as api=com.amazonaws.vpce.eu-central-1.vpce-svc-0123456789abcdef0, for a region that is not known here; may be repeated")
}

// awsChecks are those of network and identity, and that of the nodes' role,
// which belongs with the registry and needs the network's.
func (p *patient) awsChecks(ctx context.Context) (checks, nodeRole []doctor.Check, err error) {
	registry, err := p.registry()
	if err != nil {
		return nil, nil, err
	}
	region := cmp.Or(p.aws.region, registry.Region)
	if p.aws.cluster == "" && p.aws.vpc == "" {
		p.aws.cluster = p.of.eksName()
	}
	loaded, fault := awsapi.Load(ctx, region, p.aws.profile)
	table, err := deploy.NeededEndpoints()
	if err != nil {
		return nil, nil, err
	}
	services, castai, err := network.NeededServices(table, region, p.aws.services)
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("--castai-service: %w", err)}
	}
	_, prefix, _ := strings.Cut(p.rules.Registry(), "/")
	who := identity.Config{AWS: loaded, Account: registry.Account, Region: registry.Region, Partition: registry.Partition, Prefix: prefix, Cluster: p.aws.cluster}
	checks = append(network.Checks(network.Config{
		AWS: loaded, Partition: registry.Partition, Cluster: p.aws.cluster, VPC: p.aws.vpc, Subnets: p.aws.subnets, Services: services, CASTAI: castai,
	}), identity.Checks(who)...)
	nodeRole = []doctor.Check{identity.NodeRole(who, network.Group+"/cluster-vpc", identity.Group+"/caller")}
	switch {
	case fault != nil:
		blind := doctor.Unknownf("see --profile", "%v", fault)
		return doctor.Unavailable(checks, blind), doctor.Unavailable(nodeRole, blind), nil
	case region == "":
		blind := doctor.Unknownf("name the region with --region, or leave it out with --skip network,identity,registry/node-role", "the registry %s is none of ECR, and does not tell the region", p.rules.Registry())
		return doctor.Unavailable(checks, blind), doctor.Unavailable(nodeRole, blind), nil
	}
	return checks, nodeRole, nil
}

// registry takes the registry's name apart, which tells nothing where it is not
// ECR.
func (p *patient) registry() (rewrite.ECRHost, error) {
	if !p.rules.OnECR() {
		return rewrite.ECRHost{Partition: "aws", Domain: "amazonaws.com"}, nil
	}
	return rewrite.ParseECRHost(p.rules.Registry())
}
