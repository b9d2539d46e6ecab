// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/castai/privatelink-webhook/deploy"
)

// Account is the number of moto's account.
const Account = "123456789012"

// The network of every customer.
const (
	vpcCIDR     = "10.0.0.0/16"
	webhookPort = 9443
)

// Options of a customer.
type Options struct {
	// Region. Default: us-east-1, one with services of CAST AI.
	Region string
	// Cluster is the name of the EKS cluster. Default: prod.
	Cluster string
	// Prefix of the repositories, without the host. Default: castai.
	Prefix string
	// RegistryAccount has the repositories. Default: Account.
	RegistryAccount string
}

// Customer is an account with a cluster that has no route to the Internet, and
// all that it needs to do without.
type Customer struct {
	Options
	// URL of moto.
	URL string
	// AWS is the configuration of the user who mirrors.
	AWS aws.Config

	VPC          string
	Subnets      []string          // one in each of three zones
	RouteTables  []string          // one for each subnet
	Endpoints    map[string]string // the ID by our name: ecr.api, api
	EndpointSG   string
	ClusterSG    string
	Nodes        []string
	NodeRole     string // its name
	User         string // who mirrors
	key, secret  string
	session      string
	serviceNames map[string]string // the full name by our name

	ec2 *ec2.Client
	eks *eks.Client
	iam *iam.Client
}

// NewCustomer makes a customer in an empty moto: see Reset.
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
	c := &Customer{Options: o, URL: url, Endpoints: map[string]string{}, serviceNames: map[string]string{}}
	admin := c.config("test", "test", "")
	c.ec2, c.eks, c.iam = ec2.NewFromConfig(admin), eks.NewFromConfig(admin), iam.NewFromConfig(admin)
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{{"VPC", c.network}, {"roles", c.identities}, {"cluster", c.cluster}, {"endpoints", c.endpoints}, {"nodes", c.nodes}} {
		if err := step.do(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
	}
	c.AWS = c.config(c.key, c.secret, c.session)
	return c, nil
}

// Registry is the prefix of the customer's repositories, with the host.
func (c *Customer) Registry() string {
	return fmt.Sprintf("%s.dkr.ecr.%s.amazonaws.com/%s", c.RegistryAccount, c.Region, c.Prefix)
}

// Environment makes programs of AWS ask moto, as the user who mirrors, and
// nobody else.
func (c *Customer) Environment() map[string]string {
	return map[string]string{
		"AWS_ENDPOINT_URL": c.URL, "AWS_ACCESS_KEY_ID": c.key, "AWS_SECRET_ACCESS_KEY": c.secret, "AWS_SESSION_TOKEN": c.session, "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_USE_FIPS_ENDPOINT": "", "AWS_USE_DUALSTACK_ENDPOINT": "",
		"AWS_EC2_METADATA_DISABLED": "true",
	}
}

func (c *Customer) config(key, secret, session string) aws.Config {
	return aws.Config{Region: c.Region, Credentials: credentials.NewStaticCredentialsProvider(key, secret, session), BaseEndpoint: aws.String(c.URL)}
}

// endpoints are all of the table that the product has.
func (c *Customer) endpoints(ctx context.Context) error {
	needed, err := deploy.NeededEndpoints()
	if err != nil {
		return err
	}
	if c.EndpointSG, err = c.group(ctx, "endpoints"); err != nil {
		return err
	}
	if err := c.letIn(ctx, c.EndpointSG, 443, vpcCIDR); err != nil {
		return err
	}
	for _, e := range needed.AWS {
		if err := c.endpoint(ctx, e.Service, "com.amazonaws."+c.Region+"."+e.Service, e.Type); err != nil {
			return err
		}
	}
	for name, service := range needed.Regions[c.Region] {
		if err := c.endpoint(ctx, name, service, "Interface"); err != nil {
			return err
		}
	}
	return nil
}
