// SPDX-License-Identifier: Apache-2.0

// Package identity checks the AWS caller and its permissions to mirror, and the
// permissions of nodes to pull.
//
// It lets IAM simulate the policies of a principal, which changes nothing. The
// simulation does not include repository policies, which also apply if the
// registry is in another account than the principal.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
package identity

import (
	"context"
	"fmt"
	"maps"
	"slices"
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

// Config configures the checks.
type Config struct {
	// AWS is the configuration of the SDK, with the region of the cluster. IAM and
	// STS have the same content in all regions of a partition.
	AWS aws.Config
	// Account, Region and Partition (default: aws) are those of the registry.
	Account, Region, Partition string
	// Prefix of the repositories without the host, such as castai; "" for all.
	Prefix string
	// Cluster is the name of the EKS cluster, for NodeRole, and Expected what the
	// kubeconfig tells about it.
	Cluster  string
	Expected awsapi.Expected
}

// repositories returns the ARN pattern of the repositories with the prefix.
func (c Config) repositories() string {
	path := "*"
	if c.Prefix != "" {
		path = strings.Trim(c.Prefix, "/") + "/*"
	}
	return fmt.Sprintf("arn:%s:ecr:%s:%s:repository/%s", c.Partition, c.Region, c.Account, path)
}

// checker gathers facts from AWS. Those that several checks need are read once.
type checker struct {
	Config
	iam        *iam.Client
	sts        *sts.Client
	eks        *eks.Client
	ec2        *ec2.Client
	callerOnce doctor.Once[arn.ARN]
}

func newChecker(c Config) *checker {
	if c.Partition == "" {
		c.Partition = "aws"
	}
	return &checker{Config: c, iam: iam.NewFromConfig(c.AWS), sts: sts.NewFromConfig(c.AWS), eks: eks.NewFromConfig(c.AWS), ec2: ec2.NewFromConfig(c.AWS)}
}

// Checks returns the checks of the group.
func Checks(config Config) []doctor.Check {
	c := newChecker(config)
	return []doctor.Check{
		{Group: Group, Name: "caller", Elements: []doctor.Element{doctor.Caller}, Access: true, Run: c.checkCaller,
			What: "AWS accepts the credentials of the caller",
			Why:  "mirroring and all checks of AWS need credentials"},
		{Group: Group, Name: "mirror-permissions", Elements: []doctor.Element{doctor.Caller}, Needs: []string{Group + "/caller"}, Run: c.checkMirrorPermissions,
			What: "the caller has all permissions to mirror into the registry",
			Why:  "otherwise privatelink mirror stops halfway"},
	}
}

// NodeRole returns the check registry/node-role. needs are the IDs of checks that
// must pass before it.
func NodeRole(config Config, needs ...string) doctor.Check {
	return doctor.Check{Group: "registry", Name: "node-role", Elements: []doctor.Element{doctor.Nodes}, Needs: needs, Run: newChecker(config).checkNodeRoles,
		What: "the roles of the nodes have the permissions to pull from the registry",
		Why:  "the kubelet authenticates to ECR with the role of its node; otherwise no image can be pulled"}
}

// NodeRoles returns the ARNs of the roles of nodes, in order.
func NodeRoles(ctx context.Context, config Config) ([]string, error) {
	if config.Cluster == "" {
		return nil, nil
	}
	sources, err := newChecker(config).nodeRoleSources(ctx)
	return slices.Sorted(maps.Keys(sources)), err
}

// Caller returns the ARN of the user or role that is the caller, or "" if it is neither.
func Caller(ctx context.Context, config Config) (string, error) {
	c := newChecker(config)
	caller, err := c.caller(ctx)
	if err != nil {
		return "", err
	}
	principal, ok := c.principal(ctx, caller)
	if !ok {
		return "", nil
	}
	return principal.String(), nil
}

func (c *checker) caller(ctx context.Context) (arn.ARN, error) {
	return c.callerOnce.Get(ctx, func(ctx context.Context) (caller arn.ARN, err error) {
		out, err := c.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err == nil {
			caller, err = arn.Parse(aws.ToString(out.Arn))
		}
		return caller, awsapi.NewError("sts:GetCallerIdentity", err)
	})
}

func (c *checker) checkCaller(ctx context.Context) doctor.Finding {
	caller, err := c.caller(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	return c.reportCaller(caller)
}

func (c Config) reportCaller(caller arn.ARN) doctor.Finding {
	if caller.AccountID != c.Account {
		return doctor.OKf("%s; the registry is in another account, %s", caller, c.Account).With(repositoryPoliciesApply)
	}
	return doctor.OKf("%s, in the account of the registry", caller)
}

// repositoryPoliciesApply is a detail if the registry is in another account.
const repositoryPoliciesApply = "the registry is in another account: its repository policies apply as well, and are not checked"
