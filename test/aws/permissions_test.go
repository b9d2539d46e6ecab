// SPDX-License-Identifier: Apache-2.0

//go:build aws

package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/suite"
	"github.com/castai/privatelink-webhook/test/aws/emulator"
)

// recorder collects the IAM actions of requests.
type recorder struct {
	mu      sync.Mutex
	actions []string
}

// services are the prefixes of IAM actions by the names of services in the SDK.
var services = map[string]string{"EC2": "ec2", "EKS": "eks", "IAM": "iam", "Organizations": "organizations", "Route 53": "route53", "STS": "sts"}

// record makes a configuration report each request.
func (r *recorder) record(t *testing.T, c *sdkaws.Config) {
	c.APIOptions = append(c.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("record", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			service, ok := services[awsmiddleware.GetServiceID(ctx)]
			if !ok {
				t.Errorf("a request of %s", awsmiddleware.GetServiceID(ctx))
			}
			r.mu.Lock()
			r.actions = append(r.actions, service+":"+awsmiddleware.GetOperationName(ctx))
			r.mu.Unlock()
			return next.HandleInitialize(ctx, in)
		}), middleware.After)
	})
}

// readActions returns the actions of the doctor's policy on AWS itself.
func readActions(t *testing.T) []string {
	t.Helper()
	var text bytes.Buffer
	if err := suite.IAMPolicy(&text, nil, ""); err != nil {
		t.Fatal(err)
	}
	var policy struct {
		Statement []struct {
			Sid    string
			Action []string
		}
	}
	if err := json.Unmarshal(text.Bytes(), &policy); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(policy.Statement, func(s struct {
		Sid    string
		Action []string
	}) bool {
		return s.Sid == "DoctorReads"
	})
	if i < 0 || len(policy.Statement[i].Action) < 20 {
		t.Fatalf("policy %s", text.String())
	}
	return policy.Statement[i].Action
}

// The policy has the actions of the requests that are sent, and no others.
func TestPolicyHasTheActionsOfTheRequests(t *testing.T) {
	c := newCustomer(t, emulator.StartForTest(t), emulator.Options{})
	if err := c.UseAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	var r recorder
	r.record(t, &c.AWS)
	for _, result := range run(t, checksOf(t, c)) {
		if result.Status == doctor.Unknown {
			t.Errorf("%s: %s", result.ID(), result.Found)
		}
	}
	slices.Sort(r.actions)
	if sent, policy := slices.Compact(r.actions), readActions(t); !slices.Equal(sent, policy) {
		t.Errorf("sent %q\npolicy %q", sent, policy)
	}
}

// With the policy no check is unknown, and without any one of its actions some are, which
// name it.
func TestPolicyIsSufficientAndMinimal(t *testing.T) {
	c := newCustomer(t, emulator.StartForTest(t), emulator.Options{})
	if err := c.UseAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	admin, err := c.Enforce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	actions := readActions(t)
	for _, without := range append([]string{""}, actions...) {
		t.Run("without "+without, func(t *testing.T) {
			allowed := slices.DeleteFunc(slices.Clone(actions), func(a string) bool { return a == without })
			if err := c.Allow(t.Context(), admin, allowed); err != nil {
				t.Fatal(err)
			}
			var unknown, named []string
			for _, r := range run(t, checksOf(t, c)) {
				if r.Status == doctor.Unknown {
					unknown = append(unknown, r.ID()+": "+r.Found)
				}
				if strings.Contains(r.Remedy, without) {
					named = append(named, r.ID())
				}
			}
			switch {
			case without == "" && len(unknown) > 0:
				t.Errorf("unknown: %q", unknown)
			case without != "" && !always[without] && (len(unknown) == 0 || len(named) == 0):
				t.Errorf("unknown: %q; named in the remedy of %q", unknown, named)
			}
		})
	}
}

// always are actions that need no permission, and one that a check does without.
var always = map[string]bool{
	"sts:GetCallerIdentity": true, // https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
	"iam:GetRole":           true, // without it, the role of a session is taken to have no path
}
