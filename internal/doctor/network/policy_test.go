// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"strings"
	"testing"
)

const objects = "arn:aws:s3:::prod-us-east-1-starport-layer-bucket/"

var layers = layerRequest("us-east-1", "aws", "vpc-1", "vpce-1")

func TestPolicyEvaluate(t *testing.T) {
	one := func(s string) string { return `{"Version": "2012-10-17", "Statement": [` + s + `]}` }
	allow := func(rest string) string { return `{"Effect": "Allow", "Principal": "*", ` + rest + `}` }
	deny := func(rest string) string { return `{"Effect": "Deny", "Principal": "*", ` + rest + `}` }
	all := allow(`"Action": "*", "Resource": "*"`)
	for name, c := range map[string]struct {
		policy string
		want   decision
	}{
		"the default of AWS":                   {one(all), allowed},
		"one statement without a list":         {`{"Statement": ` + all + `}`, allowed},
		"the example of the ECR guide":         {one(allow(`"Action": ["s3:GetObject"], "Resource": ["` + objects + `*"]`)), allowed},
		"all regions":                          {one(allow(`"Action": "s3:*", "Resource": "arn:aws:s3:::prod-*-starport-layer-bucket/*"`)), allowed},
		"every AWS principal":                  {one(`{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "s3:GetObject", "Resource": "*"}`), allowed},
		"every principal in a list":            {one(`{"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": "s3:GetObject", "Resource": "*"}`), allowed},
		"the action in another case":           {one(allow(`"Action": "S3:getobject", "Resource": "*"`)), allowed},
		"NotAction without it":                 {one(allow(`"NotAction": "s3:PutObject", "Resource": "*"`)), allowed},
		"NotResource without it":               {one(allow(`"Action": "s3:GetObject", "NotResource": "arn:aws:s3:::mine/*"`)), allowed},
		"no statement":                         {`{"Statement": []}`, notAllowed},
		"another bucket":                       {one(allow(`"Action": "s3:GetObject", "Resource": "arn:aws:s3:::mine/*"`)), notAllowed},
		"the bucket of another region":         {one(allow(`"Action": "s3:GetObject", "Resource": "arn:aws:s3:::prod-us-east-2-starport-layer-bucket/*"`)), notAllowed},
		"the bucket without its objects":       {one(allow(`"Action": "s3:GetObject", "Resource": "` + strings.TrimSuffix(objects, "/") + `"`)), notAllowed},
		"some objects of the bucket":           {one(allow(`"Action": "s3:GetObject", "Resource": "` + objects + `a*"`)), partial},
		"objects with a name of one character": {one(allow(`"Action": "s3:GetObject", "Resource": "` + objects + `?"`)), partial},
		"the name in another part of the ARN":  {one(allow(`"Action": "s3:GetObject", "Resource": "arn:aws:s3:*:*:mine/*"`)), notAllowed},
		"another action":                       {one(allow(`"Action": "s3:ListBucket", "Resource": "*"`)), notAllowed},
		"NotResource with it":                  {one(allow(`"Action": "s3:GetObject", "NotResource": "` + objects + `*"`)), notAllowed},
		"NotAction with it":                    {one(allow(`"NotAction": "s3:Get*", "Resource": "*"`)), notAllowed},
		"denied":                               {one(all + "," + deny(`"Action": "s3:GetObject", "Resource": "*"`)), denied},
		"denied before it is allowed":          {one(deny(`"Action": "*", "Resource": "arn:aws:s3:::prod-*"`) + "," + all), denied},
		"some objects are denied":              {one(all + "," + deny(`"Action": "*", "Resource": "*/secret"`)), denied},
		"denied by NotResource":                {one(all + "," + deny(`"Action": "*", "NotResource": "arn:aws:s3:::mine/*"`)), denied},
		"denied to some, and then to all":      {one(all + `,{"Effect": "Deny", "Principal": {"AWS": "1"}, "Action": "*", "Resource": "*"},` + deny(`"Action": "*", "Resource": "*"`)), denied},
		"another action is denied":             {one(all + "," + deny(`"Action": "s3:PutObject", "Resource": "*"`)), allowed},
		"another bucket is denied":             {one(all + "," + deny(`"Action": "*", "Resource": "arn:aws:s3:::mine/*"`)), allowed},
		"denied by NotResource with it":        {one(all + "," + deny(`"Action": "*", "NotResource": "`+objects+`*"`)), allowed},
		// ECR signs the URLs of layers itself, and the bucket is its own.
		"allowed to an organization":         {one(allow(`"Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}`)), notAllowed},
		"allowed to one account":             {one(`{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "*", "Resource": "*"}`), notAllowed},
		"allowed by account as a condition":  {one(allow(`"Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalAccount": "123456789012"}}`)), notAllowed},
		"resources of an organization":       {one(allow(`"Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:ResourceOrgID": "o-1"}}`)), notAllowed},
		"denied for other accounts":          {one(all + "," + deny(`"Action": "*", "Resource": "*", "Condition": {"StringNotEquals": {"aws:ResourceAccount": "1"}}`)), denied},
		"denied to other organizations":      {one(all + "," + deny(`"Action": "*", "Resource": "*", "Condition": {"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}`)), denied},
		"denied, but not to services":        {one(all + "," + deny(`"Action": "*", "Resource": "*", "Condition": {"StringNotEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}, "BoolIfExists": {"aws:PrincipalIsAWSService": "false"}}`)), conditional},
		"Deny only":                          {one(deny(`"Action": "s3:DeleteBucket", "Resource": "*"`)), notAllowed},
		"allowed with TLS":                   {one(allow(`"Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": true}}`)), allowed},
		"denied without TLS":                 {one(all + "," + deny(`"Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}`)), allowed},
		"allowed from the VPC":               {one(allow(`"Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:SourceVpc": ["vpc-1", "vpc-2"]}}`)), allowed},
		"allowed from another VPC":           {one(allow(`"Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:SourceVpc": "vpc-2"}}`)), notAllowed},
		"denied outside of the endpoint":     {one(all + "," + deny(`"Action": "*", "Resource": "*", "Condition": {"StringNotEquals": {"aws:sourceVpce": "vpce-1"}}`)), allowed},
		"allowed by public address":          {one(allow(`"Action": "*", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}`)), notAllowed},
		"denied from other public addresses": {one(all + "," + deny(`"Action": "*", "Resource": "*", "Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}`)), denied},
		"a key that is not known":            {one(allow(`"Action": "*", "Resource": "*", "Condition": {"StringEquals": {"s3:ResourceTag/a": "b"}}`)), conditional},
		"an operator that is not known":      {one(allow(`"Action": "*", "Resource": "*", "Condition": {"DateLessThan": {"aws:SourceVpc": "vpc-1"}}`)), conditional},
		"allowed to all but one":             {one(`{"Effect": "Allow", "NotPrincipal": {"AWS": "1"}, "Action": "*", "Resource": "*"}`), conditional},
		"under a condition and then without": {one(allow(`"Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "true"}}`) + "," + all), allowed},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := parsePolicy([]byte(c.policy))
			if err != nil {
				t.Fatal(err)
			}
			got, reason := p.evaluate(layers)
			if got != c.want || reason == "" {
				t.Errorf("%d (%s), want %d", got, reason, c.want)
			}
		})
	}
}

func TestParsePolicyErrors(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "text": "hello", "a list": "[]", "a statement of text": `{"Statement": "all"}`, "another effect": `{"Statement": {"Effect": "Maybe"}}`, "no effect": `{"Statement": {}}`,
	} {
		t.Run(name, func(t *testing.T) {
			if p, err := parsePolicy([]byte(text)); err == nil || !strings.Contains(err.Error(), "not an IAM policy") {
				t.Errorf("%+v %v", p, err)
			}
		})
	}
}

// Each policy is evaluated in bounded time, and a Deny for all takes precedence.
func FuzzPolicy(f *testing.F) {
	f.Add(`{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}`)
	f.Add(`{"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": ["s3:*"], "Resource": ["arn:aws:s3:::prod-?*a**?*/*"], "Condition": {"StringLike": {"a": 1}}}`)
	f.Add(`{"Effect": "Deny", "NotPrincipal": null, "NotAction": [], "NotResource": "****?****b"}`)
	f.Fuzz(func(t *testing.T, statement string) {
		const no = `{"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}`
		p, err := parsePolicy(fmt.Appendf(nil, `{"Statement": [%s]}`, statement))
		if err != nil {
			return
		}
		first, reason := p.evaluate(layers)
		if reason == "" {
			t.Error("no reason")
		}
		if second, _ := p.evaluate(layers); second != first {
			t.Errorf("%d and then %d", first, second)
		}
		never, err := parsePolicy([]byte(`{"Statement": ` + no + `}`))
		if err != nil {
			t.Fatal(err)
		}
		never.Statement = append(never.Statement, p.Statement...)
		if got, _ := never.evaluate(layers); got != denied {
			t.Errorf("%d though all is denied", got)
		}
	})
}
