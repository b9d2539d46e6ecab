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

// Account is the ID of moto's account, unless Start is told another.
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
	// Account has the cluster. Default: the constant Account.
	Account string
	// RegistryAccount has the repositories. Default: that of the cluster.
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
	clusterTags  map[string]string
	serviceNames map[string]string // full service names by short name

	ec2 *ec2.Client
	eks *eks.Client
	iam *iam.Client
}

// NewCustomer resets moto, and creates a healthy customer in it.
func NewCustomer(ctx context.Context, url string, o Options) (*Customer, error) {
	c, err := NewAccount(ctx, url, o)
	if err != nil {
		return nil, err
	}
	return c, c.inOrder(ctx, step{"cluster", c.createCluster}, step{"endpoints", c.createEndpoints}, step{"nodes", c.createNodes})
}

// NewAccount resets moto, and creates a customer that has a VPC and identities, and no
// cluster, endpoint or repository.
func NewAccount(ctx context.Context, url string, o Options) (*Customer, error) {
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Cluster == "" {
		o.Cluster = "prod"
	}
	if o.Prefix == "" {
		o.Prefix = "castai"
	}
	if o.Account == "" {
		o.Account = Account
	}
	if o.RegistryAccount == "" {
		o.RegistryAccount = o.Account
	}
	if err := Reset(ctx, url); err != nil {
		return nil, err
	}
	c := &Customer{Options: o, URL: url, Endpoints: map[string]string{}, serviceNames: map[string]string{}}
	admin := c.sdkConfig("test", "test", "")
	c.ec2, c.eks, c.iam = ec2.NewFromConfig(admin), eks.NewFromConfig(admin), iam.NewFromConfig(admin)
	if err := c.inOrder(ctx, step{"VPC", c.createVPC}, step{"roles", c.createIdentities}); err != nil {
		return nil, err
	}
	c.AWS = c.sdkConfig(c.key, c.secret, c.session)
	return c, nil
}

// step creates a part of a customer.
type step struct {
	name string
	do   func(context.Context) error
}

func (c *Customer) inOrder(ctx context.Context, steps ...step) error {
	for _, s := range steps {
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
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
	env := map[string]string{
		"AWS_ENDPOINT_URL": c.URL, "AWS_ACCESS_KEY_ID": c.key, "AWS_SECRET_ACCESS_KEY": c.secret,
		"AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_EC2_METADATA_DISABLED": "true",
	}
	if c.session != "" {
		env["AWS_SESSION_TOKEN"] = c.session
	}
	return env
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
