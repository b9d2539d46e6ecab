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
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

// pullOnly is the policy of AWS that lets nodes pull.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/security-iam-awsmanpol.html
const pullOnly = "policy/AmazonEC2ContainerRegistryPullOnly"

func (a *asker) nodeRole(ctx context.Context) doctor.Finding {
	if a.Cluster == "" {
		return doctor.Finding{Status: doctor.Skipped, Found: "no cluster was named: name the EKS cluster to have it"}
	}
	roles, action, err := a.nodeRoles(ctx)
	if err != nil {
		return awsapi.Unseen(action, err)
	}
	if len(roles) == 0 {
		return doctor.Unknownf("start a node, and look again", "cluster %s has no node group, and no running node with a role", a.Cluster)
	}
	var bad, details, remedies []string
	for _, role := range slices.Sorted(maps.Keys(roles)) {
		no, err := a.simulate(ctx, role, pulls)
		if err != nil {
			return awsapi.Unseen("iam:SimulatePrincipalPolicy", fmt.Errorf("%s: %w", role, err))
		}
		if no.any() {
			name := role[strings.LastIndex(role, "/")+1:]
			bad = append(bad, name)
			details = append(details, fmt.Sprintf("%s (%s): %s", role, roles[role], strings.Join(no.all(), ", ")))
			policy := fmt.Sprintf("arn:%s:iam::aws:%s", a.Partition, pullOnly)
			remedies = append(remedies, fmt.Sprintf("aws iam attach-role-policy --role-name %s --policy-arn %s\nTerraform: resource \"aws_iam_role_policy_attachment\" { role = %q, policy_arn = %q }", name, policy, name, policy))
		}
	}
	if len(bad) > 0 {
		return doctor.Failf(strings.Join(remedies, "\n"), "may not pull from %s: %s", a.repositories(), doctor.List(bad, 4)).With(details...)
	}
	f := doctor.OKf("%d roles may pull from %s", len(roles), a.repositories())
	for role := range roles {
		if parsed, err := arn.Parse(role); err != nil || parsed.AccountID != a.Account {
			return f.With(otherAccount)
		}
	}
	return f
}

// nodeRoles are the ARNs of the roles of nodes, with where they were found: node
// groups may have no node yet, and CAST AI's nodes are of no group. If it fails,
// action is the one that did.
func (a *asker) nodeRoles(ctx context.Context) (roles map[string]string, action string, err error) {
	roles = map[string]string{}
	action = "eks:DescribeCluster"
	cluster, err := a.eks.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &a.Cluster})
	if err != nil {
		return nil, action, err
	}
	if c := cluster.Cluster.ComputeConfig; c != nil && c.NodeRoleArn != nil {
		roles[*c.NodeRoleArn] = "EKS Auto Mode"
	}
	for pages := eks.NewListNodegroupsPaginator(a.eks, &eks.ListNodegroupsInput{ClusterName: &a.Cluster}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, "eks:ListNodegroups", err
		}
		for _, name := range page.Nodegroups {
			out, err := a.eks.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: &a.Cluster, NodegroupName: &name})
			if err != nil {
				return nil, "eks:DescribeNodegroup", err
			}
			if role := aws.ToString(out.Nodegroup.NodeRole); role != "" {
				roles[role] = "node group " + name
			}
		}
	}
	nodes, err := awsapi.Nodes(ctx, a.ec2, a.Cluster)
	if err != nil {
		return nil, "ec2:DescribeInstances", err
	}
	profiles := map[string]string{}
	for _, n := range nodes {
		if n.IamInstanceProfile != nil {
			profiles[aws.ToString(n.IamInstanceProfile.Arn)] = aws.ToString(n.InstanceId)
		}
	}
	for profile, instance := range profiles {
		name := profile[strings.LastIndex(profile, "/")+1:]
		out, err := a.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &name})
		if err != nil {
			return nil, "iam:GetInstanceProfile", err
		}
		for _, r := range out.InstanceProfile.Roles {
			if roles[aws.ToString(r.Arn)] == "" {
				roles[aws.ToString(r.Arn)] = "node " + instance
			}
		}
	}
	return roles, "", nil
}
