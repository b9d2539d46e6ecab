// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

// pullPolicy is the AWS managed policy for nodes that pull from ECR.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/security-iam-awsmanpol.html
const pullPolicy = "policy/AmazonEC2ContainerRegistryPullOnly"

func (c *checker) checkNodeRoles(ctx context.Context) doctor.Finding {
	if c.Cluster == "" {
		return doctor.Skippedf("no EKS cluster was given: name it with --eks-cluster to run this check")
	}
	roles, err := c.gatherNodeRoles(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	if len(roles) == 0 {
		return doctor.Unknownf("start a node, and run the check again", "cluster %s has no node group, and no running node with a role", c.Cluster)
	}
	f := c.reportNodeRoles(roles)
	for _, r := range roles {
		if undecided, ok := r.undecided(r.arn); ok && f.Status == doctor.OK {
			f = undecided
		}
	}
	return f
}

// nodeRole is a role of nodes.
type nodeRole struct {
	arn        string
	source     string // the node group or node that has it
	simulation        // of actions for pulling
}

func (c *checker) gatherNodeRoles(ctx context.Context) (roles []nodeRole, err error) {
	sources, err := c.nodeRoleSources(ctx)
	if err != nil {
		return nil, err
	}
	for _, role := range slices.Sorted(maps.Keys(sources)) {
		s, err := c.simulateAll(ctx, role, pullActions())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", role, err)
		}
		roles = append(roles, nodeRole{role, sources[role], s})
	}
	return roles, nil
}

func (c Config) reportNodeRoles(roles []nodeRole) doctor.Finding {
	var failed, details, lines []string
	for _, r := range roles {
		if len(r.denied) == 0 {
			continue
		}
		role, err := arn.Parse(r.arn)
		if err != nil {
			role.Resource = r.arn // the SDK returns none
		}
		name := resourceName(role)
		policy := fmt.Sprintf("arn:%s:iam::aws:%s", c.Partition, pullPolicy)
		failed = append(failed, name)
		details = append(details, fmt.Sprintf("%s (%s): %s", r.arn, r.source, strings.Join(actions(r.denied), ", ")))
		lines = append(lines, remedies(role, r.denied, fmt.Sprintf("aws iam attach-role-policy --role-name %s --policy-arn %s\nTerraform: resource \"aws_iam_role_policy_attachment\" { role = %q, policy_arn = %q }", name, policy, name, policy)))
	}
	if len(failed) > 0 {
		return doctor.Failf(strings.Join(lines, "\n"), "no permission to pull from %s: %s", c.repositories(), doctor.List(failed, 4)).With(details...)
	}
	f := doctor.OKf("%d roles may pull from %s", len(roles), c.repositories())
	for _, r := range roles {
		if parsed, err := arn.Parse(r.arn); err != nil || parsed.AccountID != c.Account {
			return f.With(repositoryPoliciesApply)
		}
	}
	return f
}

// nodeRoleSources returns the ARNs of the roles of nodes, each with the node group
// or node that has it. Both are read: a node group may have no node yet, and nodes
// of CAST AI belong to no group.
func (c *checker) nodeRoleSources(ctx context.Context) (map[string]string, error) {
	sources := map[string]string{}
	cluster, err := awsapi.DescribeCluster(ctx, c.AWS, c.Cluster, c.Expected)
	if err != nil {
		return nil, err
	}
	if compute := cluster.ComputeConfig; compute != nil && compute.NodeRoleArn != nil {
		sources[*compute.NodeRoleArn] = "EKS Auto Mode"
	}
	groups, err := awsapi.NodeGroups(ctx, c.eks, c.Cluster)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if role := aws.ToString(g.NodeRole); role != "" {
			sources[role] = "node group " + aws.ToString(g.NodegroupName)
		}
	}
	nodes, err := awsapi.Nodes(ctx, c.ec2, c.Cluster)
	if err != nil {
		return nil, err
	}
	profiles := map[string]string{} // an instance by the ARN of its profile
	for _, n := range nodes {
		if n.IamInstanceProfile != nil {
			profiles[aws.ToString(n.IamInstanceProfile.Arn)] = aws.ToString(n.InstanceId)
		}
	}
	for profile, instance := range profiles {
		name := profile[strings.LastIndex(profile, "/")+1:]
		out, err := c.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &name})
		if err != nil {
			return nil, awsapi.NewError("iam:GetInstanceProfile", err)
		}
		for _, r := range out.InstanceProfile.Roles {
			if role := aws.ToString(r.Arn); sources[role] == "" {
				sources[role] = "node " + instance
			}
		}
	}
	return sources, nil
}
