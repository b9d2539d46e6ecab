// SPDX-License-Identifier: Apache-2.0

// Package identity looks at who asks AWS, and at who may do what: the caller with
// the repositories that he fills, and the nodes that pull from them.
//
// It asks IAM to simulate its policies, which changes nothing. Policies of
// repositories are no part of that: where registry and principal are in
// different accounts, they decide as well.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
package identity

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

// Group is the name of the group.
const Group = "identity"

// Config is what the checks need.
type Config struct {
	// AWS has the region of the cluster; for IAM and STS any of its partition will
	// do.
	AWS aws.Config
	// Account, Region and Partition (default: aws) are the registry's.
	Account, Region, Partition string
	// Prefix of the repositories, without the host: "castai", or "" for all.
	Prefix string
	// Cluster is the name of the EKS cluster, for NodeRole.
	Cluster string
}

// repositories is the ARN of those that the product uses.
func (c Config) repositories() string {
	path := "*"
	if c.Prefix != "" {
		path = strings.Trim(c.Prefix, "/") + "/*"
	}
	return fmt.Sprintf("arn:%s:ecr:%s:%s:repository/%s", c.Partition, c.Region, c.Account, path)
}

// asker keeps what several checks ask.
type asker struct {
	Config
	iam    *iam.Client
	sts    *sts.Client
	eks    *eks.Client
	ec2    *ec2.Client
	caller doctor.Once[arn.ARN]
}

func newAsker(c Config) *asker {
	if c.Partition == "" {
		c.Partition = "aws"
	}
	return &asker{Config: c, iam: iam.NewFromConfig(c.AWS), sts: sts.NewFromConfig(c.AWS), eks: eks.NewFromConfig(c.AWS), ec2: ec2.NewFromConfig(c.AWS)}
}

// Checks returns the checks of the group.
func Checks(c Config) []doctor.Check {
	a := newAsker(c)
	return []doctor.Check{
		{Group: Group, Name: "caller", Run: a.who,
			What: "AWS knows who asks",
			Why:  "without credentials nothing can be mirrored, or looked at in AWS"},
		{Group: Group, Name: "mirror-permissions", Needs: []string{Group + "/caller"}, Run: a.mirrorPermissions,
			What: "the caller may do all that mirroring into the registry takes",
			Why:  "privatelink mirror would stop halfway"},
	}
}

// NodeRole returns the check registry/node-role. Needs are IDs of checks that
// stand before it, such as that of the cluster's being there.
func NodeRole(c Config, needs ...string) doctor.Check {
	return doctor.Check{Group: "registry", Name: "node-role", Needs: needs, Run: newAsker(c).nodeRole,
		What: "the roles of the nodes may pull from the registry",
		Why:  "the kubelet logs in to ECR with the role of its node, and images do not start without"}
}

// whoAsks is the ARN of the caller.
func (a *asker) whoAsks(ctx context.Context) (arn.ARN, error) {
	return a.caller.Get(ctx, func(ctx context.Context) (arn.ARN, error) {
		out, err := a.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return arn.ARN{}, err
		}
		return arn.Parse(aws.ToString(out.Arn))
	})
}

func (a *asker) who(ctx context.Context) doctor.Finding {
	caller, err := a.whoAsks(ctx)
	if err != nil {
		return awsapi.Unseen("sts:GetCallerIdentity", err)
	}
	if caller.AccountID != a.Account {
		return doctor.OKf("%s; the registry is of another account, %s", caller, a.Account).With(otherAccount)
	}
	return doctor.OKf("%s, in the account of the registry", caller)
}

// otherAccount is what a simulation leaves out.
const otherAccount = "in another account the policies of the repositories decide as well, and are not looked at here"
