// SPDX-License-Identifier: Apache-2.0

//go:build aws

package aws

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/identity"
	"github.com/castai/privatelink-webhook/internal/doctor/network"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/test/aws/emulator"
)

// checksOf returns the checks of network and identity, as the command line does.
func checksOf(t *testing.T, c *emulator.Customer) []doctor.Check {
	t.Helper()
	registry, err := rewrite.ParseECRHost(c.Registry())
	if err != nil {
		t.Fatal(err)
	}
	n := network.Config{AWS: c.AWS, Partition: registry.Partition, Cluster: c.Cluster, Registry: c.Registry(), RegistryRegion: registry.Region}
	table, err := deploy.NeededEndpoints()
	if err != nil {
		t.Fatal(err)
	}
	if n.Services, n.CASTAI, err = network.NeededServices(table, c.Region, nil); err != nil {
		t.Fatal(err)
	}
	i := identity.Config{AWS: c.AWS, Account: registry.Account, Region: registry.Region, Partition: registry.Partition, Prefix: c.Prefix, Cluster: c.Cluster}
	n.NodeRoles = func(ctx context.Context) ([]string, error) { return identity.NodeRoles(ctx, i) }
	n.Caller = func(ctx context.Context) (string, error) { return identity.Caller(ctx, i) }
	return slices.Concat(network.Checks(n), identity.Checks(i), []doctor.Check{identity.NodeRole(i, network.Group+"/cluster-vpc", identity.Group+"/caller")})
}

// newCustomer creates a healthy customer, the only one in moto.
func newCustomer(t *testing.T, url string, o emulator.Options) *emulator.Customer {
	t.Helper()
	c, err := emulator.NewCustomer(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func run(t *testing.T, checks []doctor.Check) []doctor.Result {
	t.Helper()
	results, err := doctor.Run(t.Context(), checks, doctor.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestHealthyCustomer(t *testing.T) {
	c := newCustomer(t, emulator.StartForTest(t), emulator.Options{})
	for _, r := range run(t, checksOf(t, c)) {
		t.Logf("%-8s %-36s %s", r.Status, r.ID(), r.Found)
		if r.Status != doctor.OK || r.Remedy != "" {
			t.Errorf("%s is %s: %s %q %s", r.ID(), r.Status, r.Found, r.Details, r.Remedy)
		}
	}
}

// Each fault is found by one check. Its remedy is run, and then it passes.
func TestFaults(t *testing.T) {
	url := emulator.StartForTest(t)
	cli := emulator.StartCLIForTest(t, url)
	for _, f := range emulator.Faults() {
		t.Run(f.Name, func(t *testing.T) {
			c := newCustomer(t, url, emulator.Options{})
			if err := f.Inject(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			found, remedy := false, ""
			for _, r := range run(t, checksOf(t, c)) {
				switch {
				case r.ID() == f.Check:
					found, remedy = true, r.Remedy
					t.Logf("%s: %s %q\n%s", r.ID(), r.Found, r.Details, r.Remedy)
					if r.Status != doctor.Failed && r.Status != doctor.Warning || r.Remedy == "" {
						t.Errorf("%s: %s, remedy %q", r.Status, r.Found, r.Remedy)
					}
				case slices.Contains(f.Also, r.ID()):
					if r.Status != doctor.Failed {
						t.Errorf("%s is %s", r.ID(), r.Status)
					}
				case r.Status == doctor.Skipped && strings.Contains(r.Found, f.Check): // what it would check does not exist
				case r.Status != doctor.OK && r.Cause != f.Check:
					t.Errorf("%s is %s as well: %s %q", r.ID(), r.Status, r.Found, r.Details)
				}
			}
			if !found {
				t.Fatalf("%s did not run", f.Check)
			}
			if opens.MatchString(remedy) {
				t.Errorf("the remedy opens the network to the world: %s", remedy)
			}
			cure(t, c, cli, f, remedy)
		})
	}
}

// opens matches a command that admits all addresses, or makes a subnet public.
var opens = regexp.MustCompile(`(?m)(authorize-security-group-|create-network-acl-entry|create-route|modify-network-acl).*(0\.0\.0\.0/0|::/0)|create-internet-gateway|create-nat-gateway|map-public-ip|endpointPublicAccess=true|associate-address`)

// cure runs the remedy of a fault, after which the check must pass.
func cure(t *testing.T, c *emulator.Customer, cli *emulator.CLI, f emulator.Fault, remedy string) {
	t.Helper()
	if f.Cure != nil {
		if err := f.Cure(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	} else {
		commands := emulator.Commands(remedy)
		if len(commands) == 0 {
			t.Fatal("the remedy has no command")
		}
		if err := cli.Run(commands); err != nil {
			t.Fatal(err)
		}
	}
	if f.IsInput {
		return
	}
	results, err := doctor.Run(t.Context(), checksOf(t, c), doctor.Options{Only: []string{f.Check}, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Status != doctor.OK {
			t.Errorf("after the remedy, %s is %s: %s %q", r.ID(), r.Status, r.Found, r.Details)
		}
	}
}

// Healthy customers have neither a failure nor a warning, whatever their network looks
// like.
func TestShapes(t *testing.T) {
	url := emulator.StartForTest(t)
	for _, v := range emulator.Shapes() {
		t.Run(v.Name, func(t *testing.T) {
			c := newCustomer(t, url, emulator.Options{})
			if err := v.Change(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			for _, r := range run(t, checksOf(t, c)) {
				if r.ID() == network.Group+"/cluster-vpc" {
					t.Logf("%s %q", r.Found, r.Details)
				}
				if r.Status != doctor.OK || r.Remedy != "" {
					t.Errorf("%s is %s: %s %q %s", r.ID(), r.Status, r.Found, r.Details, r.Remedy)
				}
			}
		})
	}
}

// Subnets for the pods of one cluster matter to that one alone.
func TestPodSubnetsOfTwoClusters(t *testing.T) {
	c := newCustomer(t, emulator.StartForTest(t), emulator.Options{})
	if err := c.AddCluster(t.Context(), "staging"); err != nil {
		t.Fatal(err)
	}
	statusOf := func(cluster string) doctor.Finding {
		other := *c
		other.Cluster = cluster
		results, err := doctor.Run(t.Context(), checksOf(t, &other), doctor.Options{Only: []string{"network/endpoint-security-groups"}, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return results[0].Finding
	}
	if f := statusOf("prod"); f.Status != doctor.OK {
		t.Errorf("prod: %+v", f)
	}
	f := statusOf("staging")
	if f.Status != doctor.Failed || !strings.Contains(f.Remedy, "100.64.0.0/19") {
		t.Fatalf("staging: %+v", f)
	}
	if err := emulator.StartCLIForTest(t, c.URL).Run(emulator.Commands(f.Remedy)); err != nil {
		t.Fatal(err)
	}
	if f := statusOf("staging"); f.Status != doctor.OK {
		t.Errorf("staging, after the remedy: %+v", f)
	}
}

func TestVariations(t *testing.T) {
	url := emulator.StartForTest(t)
	for _, v := range emulator.Variations() {
		t.Run(v.Name, func(t *testing.T) {
			c := newCustomer(t, url, emulator.Options{})
			if err := v.Change(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			for _, r := range run(t, checksOf(t, c)) {
				if r.Status != doctor.OK {
					t.Errorf("%s is %s: %s %q %s", r.ID(), r.Status, r.Found, r.Details, r.Remedy)
				}
			}
		})
	}
}

// Wrong input is named. moto, as AWS, refuses a VPC that does not exist.
func TestWrongInput(t *testing.T) {
	c := newCustomer(t, emulator.StartForTest(t), emulator.Options{})
	cli := emulator.StartCLIForTest(t, c.URL)
	other, err := c.OtherSubnet(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		config network.Config
		check  string
		found  string
	}{
		"a VPC that does not exist":    {network.Config{VPC: "vpc-0123456789abcdef0"}, "cluster-vpc", "there is no VPC vpc-0123456789abcdef0 in us-east-1"},
		"a subnet of another VPC":      {network.Config{VPC: c.VPC, Subnets: []string{c.Subnets[0], other}}, "cluster-vpc", other + " is in "},
		"a subnet that does not exist": {network.Config{Cluster: c.Cluster, Subnets: []string{"subnet-0123456789abcdef0"}}, "cluster-vpc", "subnet-0123456789abcdef0 does not exist"},
		"a VPC of another cluster":     {network.Config{Cluster: c.Cluster, VPC: "vpc-0123456789abcdef0"}, "cluster-vpc", "vpc-0123456789abcdef0"},
		"a registry in another region": {network.Config{Cluster: c.Cluster, Registry: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/castai", RegistryRegion: "eu-west-1"}, "registry-region", "the registry is in eu-west-1, and the cluster in us-east-1"},
	} {
		t.Run(name, func(t *testing.T) {
			test.config.AWS = c.AWS
			for _, r := range run(t, network.Checks(test.config)) {
				if r.Name != test.check {
					continue
				}
				t.Logf("%s\n%s", r.Found, r.Remedy)
				if r.Status != doctor.Failed || !strings.Contains(r.Found, test.found) || r.Remedy == "" {
					t.Errorf("%s: %s; %s", r.Status, r.Found, r.Remedy)
				}
				if err := cli.Run(emulator.Commands(r.Remedy)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// Checks that cannot run are unknown, never ok, and have a remedy.
func TestUnavailable(t *testing.T) {
	url := emulator.StartForTest(t)
	for _, test := range []struct {
		name   string
		change func(*emulator.Customer) error
		// ok are the checks that do not need what is unavailable.
		ok []string
		// remedies by check. All other checks depend on one of these.
		remedies map[string]string
	}{
		{"there are no credentials", func(c *emulator.Customer) error {
			c.AWS.Credentials = sdkaws.CredentialsProviderFunc(func(context.Context) (sdkaws.Credentials, error) {
				return sdkaws.Credentials{}, errors.New("none")
			})
			return nil
		}, nil, map[string]string{"network/aws-access": "aws configure", "identity/caller": "aws configure"}},
		{"AWS cannot be reached", func(c *emulator.Customer) error {
			c.AWS.BaseEndpoint, c.AWS.RetryMaxAttempts = sdkaws.String("http://127.0.0.1:1"), 1
			return nil
		}, nil, map[string]string{"network/aws-access": "needs an endpoint", "identity/caller": "needs an endpoint"}},
		// The last case: moto enforces permissions until it ends.
		{"the caller has no permission", func(c *emulator.Customer) error { return emulator.Enforce(t.Context(), c.URL) },
			[]string{"identity/caller"}, map[string]string{"network/aws-access": "needs ec2:DescribeVpcs", "identity/mirror-permissions": "needs iam:SimulatePrincipalPolicy"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCustomer(t, url, emulator.Options{})
			if err := test.change(c); err != nil {
				t.Fatal(err)
			}
			for _, r := range run(t, checksOf(t, c)) {
				remedy, named := test.remedies[r.ID()]
				switch {
				case named:
					if r.Status != doctor.Unknown || !strings.Contains(r.Remedy, remedy) {
						t.Errorf("%s is %s: %s; %s", r.ID(), r.Status, r.Found, r.Remedy)
					}
				case slices.Contains(test.ok, r.ID()):
					if r.Status != doctor.OK {
						t.Errorf("%s is %s: %s", r.ID(), r.Status, r.Found)
					}
				case r.Status != doctor.Unknown || r.Cause == "":
					t.Errorf("%s is %s: %s", r.ID(), r.Status, r.Found)
				}
			}
		})
	}
}

func TestRegionWithoutKnownServices(t *testing.T) {
	c := newCustomer(t, emulator.StartForTest(t), emulator.Options{Region: "eu-central-1"})
	for _, r := range run(t, checksOf(t, c)) {
		want := doctor.OK
		if r.ID() == "network/castai-endpoints" {
			want = doctor.Unknown
		}
		if r.Status != want || want == doctor.Unknown && !strings.Contains(r.Remedy, "ask CAST AI") {
			t.Errorf("%s is %s: %s; %s", r.ID(), r.Status, r.Found, r.Remedy)
		}
	}
}

func TestVPCWithoutCluster(t *testing.T) {
	c := newCustomer(t, emulator.StartForTest(t), emulator.Options{})
	checks := network.Checks(network.Config{AWS: c.AWS, VPC: c.VPC, Registry: c.Registry(), RegistryRegion: c.Region, Services: []network.Service{{Name: "ecr.api", Required: true}}, CASTAI: []network.Service{{Name: "api", FullName: c.Services()["api"]}}})
	for _, r := range run(t, checks) {
		want := doctor.OK
		if slices.Contains([]string{"cluster-endpoint", "control-plane-port", "node-egress"}, r.Name) {
			want = doctor.Skipped
		}
		if r.Status != want {
			t.Errorf("%s is %s: %s", r.ID(), r.Status, r.Found)
		}
	}
}
