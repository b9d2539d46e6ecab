// SPDX-License-Identifier: Apache-2.0

package network

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/organizations"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

// checkEndpointPolicies checks the policies of the interface endpoints of AWS. Endpoints
// of other services have none.
// https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-access.html
func (c *checker) checkEndpointPolicies(ctx context.Context) doctor.Finding {
	endpoints, err := c.endpoints(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	var guarded []serviceEndpoints
	for _, s := range groupByService(c.Services, c.region, endpoints) {
		if s.endpoints = filter(s.active(), endpoint.isInterface); len(s.endpoints) > 0 {
			guarded = append(guarded, s)
		}
	}
	if len(guarded) == 0 {
		return skippedWithoutEndpoints()
	}
	facts, err := c.gatherRequesters(ctx, guarded)
	if err != nil {
		return awsapi.Unknown(err)
	}
	var v policyVerdict
	for _, s := range guarded {
		for _, e := range s.endpoints {
			if err := v.evaluate(facts, s.Service, e); err != nil {
				return unreadablePolicy(c.region, e, err)
			}
		}
	}
	return v.report(c.region)
}

// requesters are the facts about those who send requests through the endpoints.
type requesters struct {
	region, partition, vpc string
	cluster                string
	account                string // of the cluster
	repositories           string // as in request
	registryAccount        string
	organization           string   // "" if it is not known
	nodeRoles              []string // ARNs; without one, all roles of the account
	caller                 string   // ARN of its user or role, or ""
}

func (c *checker) gatherRequesters(ctx context.Context, guarded []serviceEndpoints) (r requesters, err error) {
	r = requesters{region: c.region, partition: c.Partition, cluster: c.Cluster}
	if r.vpc, err = c.vpcID(ctx); err != nil {
		return r, err
	}
	if r.account, err = c.account(ctx); err != nil {
		return r, err
	}
	host, prefix, _ := strings.Cut(c.Registry, "/")
	r.registryAccount, _, _ = strings.Cut(cmp.Or(host, r.account), ".")
	r.repositories = fmt.Sprintf("arn:%s:ecr:%s:%s:repository/%s", c.Partition, c.region, r.registryAccount, prefix)
	if prefix != "" {
		r.repositories += "/"
	}
	r.repositories += "*"
	if !slices.ContainsFunc(guarded, func(s serviceEndpoints) bool { return slices.ContainsFunc(s.endpoints, endpoint.hasOwnPolicy) }) {
		return r, nil
	}
	if c.NodeRoles != nil {
		if r.nodeRoles, err = c.NodeRoles(ctx); err != nil {
			return r, err
		}
	}
	if c.Caller != nil {
		if r.caller, err = c.Caller(ctx); err != nil {
			return r, err
		}
	}
	if slices.ContainsFunc(guarded, func(s serviceEndpoints) bool { return slices.ContainsFunc(s.endpoints, endpoint.dependsOnOrganization) }) {
		out, err := c.organizations.DescribeOrganization(ctx, &organizations.DescribeOrganizationInput{})
		if err != nil {
			return r, awsapi.NewError("organizations:DescribeOrganization", err)
		}
		r.organization = aws.ToString(out.Organization.Id)
	}
	return r, nil
}

// hasOwnPolicy reports whether an endpoint has a policy, as far as its text shows. The
// default policy of AWS allows all.
func (e endpoint) hasOwnPolicy() bool {
	p, err := parsePolicy([]byte(e.policy))
	return e.policy != "" && (err != nil || len(p.Statement) != 1 || p.Statement[0].matchesPrincipal(principal{}) != yes || p.Statement[0].Effect != "Allow" || p.Statement[0].Condition != nil ||
		!slices.Contains(p.Statement[0].Action, "*") || !slices.Contains(p.Statement[0].Resource, "*"))
}

func (e endpoint) dependsOnOrganization() bool {
	return strings.Contains(strings.ToLower(e.policy), "orgid")
}

// need is a request that must be allowed.
type need struct {
	request
	from string // who sends it
	// isPartial is set if a policy that allows only some of the resources may be correct.
	isPartial bool
	// isOptional is set if the cluster works without.
	isOptional bool
}

// needs returns what nodes, pods and the caller request through an endpoint of a service.
func (r requesters) needs(service, endpoint string) (needs []need) {
	clusterARN := fmt.Sprintf("arn:%s:eks:%s:%s:cluster/%s", r.partition, r.region, r.account, r.cluster)
	switch service {
	case "ecr.api":
		needs = r.byNodes(endpoint, "*", r.registryAccount, "ecr:GetAuthorizationToken")
		return append(needs, r.byCaller(endpoint, r.repositories, "ecr:DescribeRepositories", "ecr:CreateRepository")...)
	case "ecr.dkr":
		needs = r.byNodes(endpoint, r.repositories, r.registryAccount, "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
		return append(needs, r.byCaller(endpoint, r.repositories, "ecr:InitiateLayerUpload", "ecr:PutImage")...)
	case "ec2":
		return r.byNodes(endpoint, "*", r.account, "ec2:DescribeInstances")
	case "eks":
		return r.byNodes(endpoint, clusterARN, r.account, "eks:DescribeCluster")
	case "eks-auth":
		return r.byNodes(endpoint, clusterARN, r.account, "eks-auth:AssumeRoleForPodIdentity")
	case "sts":
		// Pods have no credentials before this request, so it has no principal.
		keys := networkKeys(r.region, r.vpc, endpoint)
		for _, key := range []string{"aws:principalaccount", "aws:principalorgid", "aws:principalarn"} {
			keys[key] = nil
		}
		r.ofResource(keys, r.account)
		return []need{{request: request{"sts:AssumeRoleWithWebIdentity", fmt.Sprintf("arn:%s:iam::%s:role/*", r.partition, r.account), principal{}, keys}, from: "pods with an IAM role", isPartial: true}}
	case "logs":
		return r.byPods(endpoint, fmt.Sprintf("arn:%s:logs:%s:%s:log-group:*", r.partition, r.region, r.account), "logs:PutLogEvents")
	case "elasticloadbalancing":
		return r.byPods(endpoint, "*", "elasticloadbalancing:DescribeLoadBalancers")
	case "autoscaling":
		return r.byPods(endpoint, "*", "autoscaling:DescribeAutoScalingGroups")
	}
	return nil
}

// byNodes returns requests that are signed with the roles of nodes.
func (r requesters) byNodes(endpoint, resources, resourceAccount string, actions ...string) (needs []need) {
	roles := r.nodeRoles
	if len(roles) == 0 {
		roles = []string{""}
	}
	for _, role := range roles {
		for _, action := range actions {
			needs = append(needs, need{request: r.signed(role, endpoint, resources, resourceAccount, action), from: cmp.Or(role, "nodes"), isPartial: resources == r.repositories})
		}
	}
	return needs
}

// byPods returns requests that are signed with roles of pods, which are not known.
func (r requesters) byPods(endpoint, resources string, actions ...string) (needs []need) {
	for _, action := range actions {
		needs = append(needs, need{request: r.signed("", endpoint, resources, r.account, action), from: "pods", isPartial: true, isOptional: true})
	}
	return needs
}

// byCaller returns requests of privatelink mirror, which may run elsewhere.
func (r requesters) byCaller(endpoint, resources string, actions ...string) (needs []need) {
	if r.caller == "" {
		return nil
	}
	for _, action := range actions {
		needs = append(needs, need{request: r.signed(r.caller, endpoint, resources, r.registryAccount, action), from: callerName, isPartial: true, isOptional: true})
	}
	return needs
}

// callerName stands for the caller in from.
const callerName = "the caller"

func (r requesters) signed(arn, endpoint, resources, resourceAccount, action string) request {
	keys := networkKeys(r.region, r.vpc, endpoint)
	p := principal{account: r.account, arn: arn}
	if arn != "" {
		p.account = strings.Split(arn, ":")[4]
		keys["aws:principalarn"] = &p.arn
	}
	keys["aws:principalaccount"] = &p.account
	keys["aws:principalisawsservice"], keys["aws:viaawsservice"] = aws.String("false"), aws.String("false")
	if r.organization != "" && p.account == r.account {
		keys["aws:principalorgid"] = &r.organization
	}
	r.ofResource(keys, resourceAccount)
	return request{action, resources, p, keys}
}

// ofResource adds the keys of a resource of an account.
func (r requesters) ofResource(keys map[string]*string, account string) {
	keys["aws:resourceaccount"] = &account
	if r.organization != "" && account == r.account {
		keys["aws:resourceorgid"] = &r.organization
	}
}

// networkKeys returns the keys of all requests through an endpoint. They have no public
// address.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
func networkKeys(region, vpc, endpoint string) map[string]*string {
	return map[string]*string{
		"aws:requestedregion": &region, "aws:sourcevpc": &vpc, "aws:sourcevpce": &endpoint, "aws:securetransport": aws.String("true"), "aws:sourceip": nil,
	}
}

// policyVerdict lists what the policies do not allow.
type policyVerdict struct {
	endpoints int
	blocked   []blockedRequest
	notes     []string // about the caller
}

// blockedRequest is one that an endpoint does not allow, or may not allow.
type blockedRequest struct {
	need
	Service
	endpoint endpoint
	decision decision
	reason   string
}

func (v *policyVerdict) evaluate(r requesters, s Service, e endpoint) error {
	v.endpoints++
	if e.policy == "" { // allows all
		return nil
	}
	policy, err := parsePolicy([]byte(e.policy))
	if err != nil {
		return err
	}
	for _, n := range r.needs(s.Name, e.id) {
		d, reason := policy.evaluate(n.request)
		switch {
		case d == allowed, d == partial && n.isPartial, d == conditional && n.isOptional:
		case n.from == callerName:
			v.notes = append(v.notes, fmt.Sprintf("%s does not allow the caller %s: mirror from a machine that does not use it", e.id, n.action))
		default:
			v.blocked = append(v.blocked, blockedRequest{n, s, e, d, reason})
		}
	}
	return nil
}

func (v policyVerdict) report(region string) doctor.Finding {
	var failed, warned, unknown, details, remedies []string
	for _, b := range v.blocked {
		details = append(details, fmt.Sprintf("%s %s: %s from %s: %s", b.Name, b.endpoint.id, b.action, b.from, b.reason))
		switch {
		case b.decision == conditional:
			unknown = append(unknown, b.Name)
			continue
		case b.isOptional || !b.Required:
			warned = append(warned, b.Name)
		default:
			failed = append(failed, b.Name)
		}
		remedies = append(remedies, b.remedy(region))
	}
	details = append(doctor.Distinct(details), doctor.Distinct(v.notes)...)
	remedy := strings.Join(doctor.Distinct(remedies), "\n")
	switch {
	case len(failed) > 0:
		return doctor.Failf(remedy, "not allowed: %s", doctor.List(doctor.Distinct(failed), 5)).With(details...).At(doctor.Endpoints(doctor.Distinct(failed)...)...)
	case len(warned) > 0:
		return doctor.Warnf(remedy, "not allowed, needed by some clusters: %s", doctor.List(doctor.Distinct(warned), 5)).With(details...).At(doctor.Endpoints(doctor.Distinct(warned)...)...)
	case len(unknown) > 0:
		return doctor.Unknownf("compare the named conditions with the requests of the nodes; allow these without conditions that depend on other facts", "it depends: %s", doctor.List(doctor.Distinct(unknown), 5)).With(details...).At(doctor.Endpoints(doctor.Distinct(unknown)...)...)
	}
	return doctor.OKf("%d endpoints allow what nodes and pods request", v.endpoints).With(details...)
}

func (b blockedRequest) remedy(region string) string {
	if b.decision == denied {
		return exemptFromDeny(region, b.endpoint, b.request)
	}
	a := policyAddition{Principal: "*", Action: []string{b.action}, Resource: []string{b.resource}}
	if b.principal.account != "" {
		a.Principal = map[string]string{"AWS": cmp.Or(b.principal.arn, b.principal.account)}
	}
	for _, other := range []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"} { // both are needed for a pull
		if b.Name == "ecr.dkr" && other != b.action {
			a.Action = append(a.Action, other)
		}
	}
	slices.Sort(a.Action)
	return allowInPolicy(region, b.endpoint, a)
}

// policyAddition is a statement that allows a request.
type policyAddition struct {
	Effect    string
	Principal any
	Action    []string
	Resource  []string
}

// allowInPolicy returns the command that adds a statement to the policy of an endpoint.
func allowInPolicy(region string, e endpoint, a policyAddition) string {
	a.Effect = "Allow"
	var p map[string]json.RawMessage
	var statements oneOrMore[json.RawMessage]
	statement, err := json.Marshal(a)
	if err == nil {
		err = json.Unmarshal([]byte(e.policy), &p)
	}
	if err == nil {
		err = json.Unmarshal(p["Statement"], &statements)
	}
	if err == nil {
		p["Statement"], err = json.Marshal(append(statements, statement))
	}
	text, marshalErr := json.Marshal(p)
	if err != nil || marshalErr != nil { // e.policy was parsed before
		return fmt.Sprintf("add to the policy of %s: %s", e.id, statement)
	}
	return fmt.Sprintf("aws ec2 modify-vpc-endpoint --region %s --vpc-endpoint-id %s --policy-document %s\nTerraform: policy of the aws_vpc_endpoint: add %s", region, e.id, shellQuote(string(text)), statement)
}

// shellQuote quotes text for a POSIX shell.
func shellQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// exemptFromDeny is the remedy for a statement that denies a request. What else it
// denies is a decision of its authors, so it is not removed by a command.
func exemptFromDeny(region string, e endpoint, r request) string {
	return fmt.Sprintf("remove this from the denying statement of %s: %s on %s; see aws ec2 describe-vpc-endpoints --region %s --vpc-endpoint-ids %s --query 'VpcEndpoints[].PolicyDocument'", e.id, r.action, r.resource, region, e.id)
}

// unreadablePolicy is the finding for a policy that is not valid.
func unreadablePolicy(region string, e endpoint, err error) doctor.Finding {
	return doctor.Unknownf(fmt.Sprintf("aws ec2 describe-vpc-endpoints --region %s --vpc-endpoint-ids %s --query 'VpcEndpoints[].PolicyDocument'", region, e.id),
		"the policy of %s: %v", e.id, err)
}
