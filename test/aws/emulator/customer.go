// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"context"
	"fmt"
	"maps"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/castai/privatelink-webhook/deploy"
)

// Account is the ID of moto's account.
const Account = "123456789012"

// The network of each customer.
const (
	vpcCIDR     = "10.0.0.0/16"
	webhookPort = 9443
)

// Options configures a customer.
type Options struct {
	// Region. Default: us-east-1, which has services of CAST AI.
	Region string
	// Cluster is the name of the EKS cluster. Default: prod.
	Cluster string
	// Prefix of the repositories, without the host. Default: castai.
	Prefix string
	// RegistryAccount has the repositories. Default: Account.
	RegistryAccount string
}

// Customer is an account that has an EKS cluster without a route to the internet,
// and all that the cluster needs.
type Customer struct {
	Options
	// URL of moto.
	URL string
	// AWS is the SDK configuration of the mirroring user.
	AWS aws.Config

	VPC          string
	Subnets      []string          // one in each of three zones
	RouteTables  []string          // one for each subnet
	Endpoints    map[string]string // IDs by short service name: ecr.api, api
	EndpointSG   string
	ClusterSG    string
	Nodes        []string
	NodeRole     string // name of the role
	User         string // the one that mirrors
	Organization string // ID, after createOrganization
	key, secret  string
	session      string
	serviceNames map[string]string // full service names by short name

	ec2 *ec2.Client
	eks *eks.Client
	iam *iam.Client
}

// NewCustomer resets moto, and creates a healthy customer in it.
func NewCustomer(ctx context.Context, url string, o Options) (*Customer, error) {
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Cluster == "" {
		o.Cluster = "prod"
	}
	if o.Prefix == "" {
		o.Prefix = "castai"
	}
	if o.RegistryAccount == "" {
		o.RegistryAccount = Account
	}
	if err := Reset(ctx, url); err != nil {
		return nil, err
	}
	c := &Customer{Options: o, URL: url, Endpoints: map[string]string{}, serviceNames: map[string]string{}}
	admin := c.sdkConfig("test", "test", "")
	c.ec2, c.eks, c.iam = ec2.NewFromConfig(admin), eks.NewFromConfig(admin), iam.NewFromConfig(admin)
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{{"VPC", c.createVPC}, {"roles", c.createIdentities}, {"cluster", c.createCluster}, {"endpoints", c.createEndpoints}, {"nodes", c.createNodes}} {
		if err := step.do(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
	}
	c.AWS = c.sdkConfig(c.key, c.secret, c.session)
	return c, nil
}

// Registry returns the prefix of the repositories, with the host.
func (c *Customer) Registry() string {
	return fmt.Sprintf("%s.dkr.ecr.%s.amazonaws.com/%s", c.RegistryAccount, c.Region, c.Prefix)
}

// Services returns the full names of the services that have an endpoint, by short
// name.
func (c *Customer) Services() map[string]string { return maps.Clone(c.serviceNames) }

// Environment returns the environment that makes AWS SDKs use moto as the mirroring
// user.
func (c *Customer) Environment() map[string]string {
	return map[string]string{
		"AWS_ENDPOINT_URL": c.URL, "AWS_ACCESS_KEY_ID": c.key, "AWS_SECRET_ACCESS_KEY": c.secret, "AWS_SESSION_TOKEN": c.session, "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_USE_FIPS_ENDPOINT": "", "AWS_USE_DUALSTACK_ENDPOINT": "",
		"AWS_EC2_METADATA_DISABLED": "true",
	}
}

func (c *Customer) sdkConfig(key, secret, session string) aws.Config {
	return aws.Config{Region: c.Region, Credentials: credentials.NewStaticCredentialsProvider(key, secret, session), BaseEndpoint: aws.String(c.URL)}
}

// createEndpoints creates the endpoints of the product's table.
func (c *Customer) createEndpoints(ctx context.Context) error {
	needed, err := deploy.NeededEndpoints()
	if err != nil {
		return err
	}
	if c.EndpointSG, err = c.createSecurityGroup(ctx, "endpoints"); err != nil {
		return err
	}
	if err := c.allow(ctx, c.EndpointSG, tcpFromCIDR(443, vpcCIDR)); err != nil {
		return err
	}
	for _, e := range needed.AWS {
		if err := c.createEndpoint(ctx, e.Service, "com.amazonaws."+c.Region+"."+e.Service, e.Type); err != nil {
			return err
		}
	}
	for name, service := range needed.Regions[c.Region] {
		if err := c.createEndpoint(ctx, name, service, "Interface"); err != nil {
			return err
		}
	}
	return nil
}
