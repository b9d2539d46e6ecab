// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

func TestEndpointPolicies(t *testing.T) {
	const role, caller = "arn:aws:iam::123456789012:role/eks/node", "arn:aws:iam::123456789012:user/ann"
	statement := func(effect, principal, action, rest string) string {
		return `{"Effect": "` + effect + `", "Principal": ` + principal + `, "Action": ` + action + `, "Resource": "*"` + rest + `}`
	}
	all := statement("Allow", `"*"`, `"*"`, "")
	condition := func(operator, key, value string) string {
		return `, "Condition": {"` + operator + `": {"` + key + `": "` + value + `"}}`
	}
	for name, c := range map[string]struct {
		service    string
		statements string
		status     doctor.Status
		detail     string // part of the only detail, if any
		remedy     string
	}{
		"the default of AWS":                       {"ecr.dkr", all, doctor.OK, "", ""},
		"the role by name":                         {"ecr.dkr", statement("Allow", `{"AWS": "`+role+`"}`, `"*"`, ""), doctor.OK, "does not allow the caller ecr:InitiateLayerUpload", ""},
		"the role by a pattern":                    {"ecr.api", statement("Allow", `"*"`, `"ecr:*"`, condition("ArnLike", "aws:PrincipalArn", "arn:aws:iam::123456789012:role/*")), doctor.OK, "the caller", ""},
		"the account":                              {"ecr.api", statement("Allow", `{"AWS": "123456789012"}`, `"*"`, ""), doctor.OK, "", ""},
		"the root of the account":                  {"ecr.api", statement("Allow", `{"AWS": ["arn:aws:iam::123456789012:root"]}`, `"*"`, ""), doctor.OK, "", ""},
		"the caller only":                          {"ecr.api", statement("Allow", `{"AWS": "`+caller+`"}`, `"*"`, ""), doctor.Failed, "ecr:GetAuthorizationToken from " + role + ": no statement allows it", `"Principal":{"AWS":"` + role + `"},"Action":["ecr:GetAuthorizationToken"],"Resource":["*"]`},
		"sessions of the role":                     {"ecr.api", statement("Allow", `{"AWS": "arn:aws:sts::123456789012:assumed-role/node/i-1"}`, `"*"`, ""), doctor.Unknown, "depending on its principals", "compare the named conditions"},
		"another account's roles are denied":       {"ecr.api", all + "," + statement("Deny", `"*"`, `"*"`, condition("StringNotEquals", "aws:PrincipalAccount", "123456789012")), doctor.OK, "", ""},
		"all but a role are denied":                {"ecr.api", all + "," + statement("Deny", `"*"`, `"*"`, condition("ArnNotEquals", "aws:PrincipalArn", "arn:aws:iam::123456789012:role/ci")), doctor.Failed, "a statement denies it", "remove this from the denying statement of vpce-9: ecr:GetAuthorizationToken on *"},
		"the organization":                         {"ecr.api", statement("Allow", `"*"`, `"*"`, condition("StringEquals", "aws:PrincipalOrgID", "o-1")), doctor.OK, "", ""},
		"another organization":                     {"ecr.api", statement("Allow", `"*"`, `"*"`, condition("StringEquals", "aws:PrincipalOrgID", "o-2")), doctor.Failed, "no statement allows it", "modify-vpc-endpoint"},
		"a tag of the role":                        {"ecr.api", statement("Allow", `"*"`, `"*"`, condition("StringEquals", "aws:PrincipalTag/team", "platform")), doctor.Unknown, "depending on aws:PrincipalTag/team [platform]", "compare"},
		"a required service without all":           {"sts", statement("Deny", `"*"`, `"sts:GetSessionToken"`, ""), doctor.Failed, "sts:AssumeRoleWithWebIdentity from pods with an IAM role", `"Principal":"*","Action":["sts:AssumeRoleWithWebIdentity"],"Resource":["arn:aws:iam::123456789012:role/*"]`},
		"roles of the organization, for pods":      {"sts", statement("Allow", `"*"`, `"sts:AssumeRoleWithWebIdentity"`, condition("StringEquals", "aws:ResourceOrgID", "o-1")), doctor.OK, "", ""},
		"an optional service that is denied":       {"logs", all + "," + statement("Deny", `"*"`, `"logs:Put*"`, ""), doctor.Warning, "logs:PutLogEvents from pods", "remove this"},
		"an optional service for one role of pods": {"logs", statement("Allow", `{"AWS": "arn:aws:iam::123456789012:role/fluent-bit"}`, `"*"`, ""), doctor.OK, "", ""},
		"not a policy":                             {"ecr.api", `{"Effect": "Maybe"}`, doctor.Unknown, "", "describe-vpc-endpoints"},
		"the cluster by name":                      {"eks", `{"Effect": "Allow", "Principal": "*", "Action": "eks:*", "Resource": "arn:aws:eks:us-east-1:123456789012:cluster/prod"}`, doctor.OK, "", ""},
		"the cluster that is not this one":         {"eks", `{"Effect": "Allow", "Principal": "*", "Action": "eks:*", "Resource": "arn:aws:eks:us-east-1:123456789012:cluster/staging"}`, doctor.Warning, "eks:DescribeCluster from " + role, `"Resource":["arn:aws:eks:us-east-1:123456789012:cluster/prod"]`},
	} {
		t.Run(name, func(t *testing.T) {
			responses := healthyVPC()
			policy := strings.NewReplacer(`"`, "&#34;").Replace(`{"Statement": [` + c.statements + `]}`)
			endpoint := `<item><vpcEndpointId>vpce-9</vpcEndpointId><serviceName>com.amazonaws.us-east-1.` + c.service + `</serviceName><vpcEndpointType>Interface</vpcEndpointType><state>available</state><privateDnsEnabled>true</privateDnsEnabled><policyDocument>` + policy + `</policyDocument></item>`
			responses["ec2:DescribeVpcEndpoints"] = `<vpcEndpointSet>` + endpoint + `</vpcEndpointSet>`
			responses["organizations:DescribeOrganization"] = `{"Organization": {"Id": "o-1"}}`
			config := testConfig(t, responses)
			config.Services = []Service{{Name: c.service, Required: c.service != "logs" && c.service != "eks"}}
			config.NodeRoles = func(context.Context) ([]string, error) { return []string{role}, nil }
			config.Caller = func(context.Context) (string, error) { return caller, nil }
			r := find(t, config, "endpoint-policies")
			if r.Status != c.status || !strings.Contains(strings.Join(r.Details, "\n"), c.detail) || (c.detail == "") != (len(r.Details) == 0) || !strings.Contains(r.Remedy, c.remedy) {
				t.Errorf("%s: %s %q; %s", r.Status, r.Found, r.Details, r.Remedy)
			}
		})
	}
}

// find returns the result of one check.
func find(t *testing.T, c Config, name string) doctor.Result {
	t.Helper()
	results, err := doctor.Run(t.Context(), Checks(c), doctor.Options{Only: []string{Group + "/" + name}})
	if err != nil || len(results) != 1 {
		t.Fatal(results, err)
	}
	return results[0]
}

func TestEndpointPoliciesWithoutFacts(t *testing.T) {
	const own = `<policyDocument>{&#34;Statement&#34;: {&#34;Effect&#34;: &#34;Allow&#34;, &#34;Principal&#34;: &#34;*&#34;, &#34;Action&#34;: &#34;*&#34;, &#34;Resource&#34;: &#34;*&#34;, &#34;Condition&#34;: {&#34;StringEquals&#34;: {&#34;aws:PrincipalOrgID&#34;: &#34;o-1&#34;}}}}</policyDocument>`
	responses := healthyVPC()
	responses["ec2:DescribeVpcEndpoints"] = strings.Replace(responses["ec2:DescribeVpcEndpoints"], "<vpcEndpointId>vpce-1</vpcEndpointId>", "<vpcEndpointId>vpce-1</vpcEndpointId>"+own, 1)
	c := testConfig(t, responses)
	if r := find(t, c, "endpoint-policies"); r.Status != doctor.Unknown || !strings.Contains(r.Remedy, "organizations:DescribeOrganization") {
		t.Errorf("%s: %s; %s", r.Status, r.Found, r.Remedy)
	}
	c.NodeRoles = func(context.Context) ([]string, error) { return nil, errors.New("no roles") }
	if r := find(t, c, "endpoint-policies"); r.Status != doctor.Unknown || r.Found != "no roles" {
		t.Errorf("%s: %s", r.Status, r.Found)
	}
}
