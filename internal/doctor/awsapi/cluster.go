// SPDX-License-Identifier: Apache-2.0

package awsapi

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// ClusterNotFound is the error code of EKS for an unknown cluster.
const ClusterNotFound = "ResourceNotFoundException"

// Expected is what the kubeconfig tells about the cluster. An empty field is not known.
type Expected struct {
	// Account has the cluster.
	Account string
	// Host is that of the API server in lower case, if it is a host of EKS. A tunnel or a
	// name of the user's own tells nothing.
	Host string
}

// DescribeCluster describes an EKS cluster. Names of clusters are unique in an account and
// a region only, and kubectl may have other credentials than this command, so it returns
// an error with a remedy if the cluster is not the expected one.
// https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeCluster.html
func DescribeCluster(ctx context.Context, config aws.Config, name string, expected Expected) (*ekstypes.Cluster, error) {
	out, err := eks.NewFromConfig(config).DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &name})
	if err != nil {
		if Code(err) == ClusterNotFound {
			account, _ := Account(ctx, config) // "" after an error
			if expected.isElsewhere(account) {
				return nil, &otherClusterError{name, config.Region, account, expected.Account}
			}
		}
		return nil, NewError("eks:DescribeCluster", err)
	}
	found, _ := arn.Parse(aws.ToString(out.Cluster.Arn)) // empty after an error
	endpoint, _ := url.Parse(aws.ToString(out.Cluster.Endpoint))
	switch {
	case expected.isElsewhere(found.AccountID):
		return nil, &otherClusterError{name, config.Region, found.AccountID, expected.Account}
	case endpoint != nil && expected.hasOtherHost(endpoint.Hostname()):
		return nil, &otherClusterError{name: name, region: config.Region}
	}
	return out.Cluster, nil
}

// Account returns the ID of the account of the credentials.
func Account(ctx context.Context, config aws.Config) (string, error) {
	out, err := sts.NewFromConfig(config).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", NewError("sts:GetCallerIdentity", err)
	}
	return aws.ToString(out.Account), nil
}

// isElsewhere reports whether the cluster is known to be in another account.
func (e Expected) isElsewhere(account string) bool {
	return e.Account != "" && account != "" && e.Account != account
}

// hasOtherHost reports whether the API server of the cluster is known to be another one. A
// cluster may have hosts in several domains, so only those of one domain are compared.
func (e Expected) hasOtherHost(host string) bool {
	const domain = ".eks.amazonaws.com"
	return strings.Contains(e.Host, domain) && strings.Contains(host, domain) && !strings.EqualFold(e.Host, host)
}

// otherClusterError is returned for a cluster that is not that of the kubeconfig. The
// accounts are those of the credentials and of the kubeconfig; empty if they do not differ.
type otherClusterError struct{ name, region, account, expected string }

// Error does not contain the hosts, which --redact could not recognize.
func (e *otherClusterError) Error() string {
	if e.account == "" {
		return fmt.Sprintf("the API server of cluster %s in %s is not that of the kubeconfig", e.name, e.region)
	}
	return fmt.Sprintf("the AWS credentials are of account %s, and cluster %s of the kubeconfig is in account %s", e.account, e.name, e.expected)
}

// Remedy returns the next step.
func (e *otherClusterError) Remedy() string {
	if e.account == "" {
		return fmt.Sprintf("set --profile and --region to those of the cluster in the kubeconfig; if it was created again: aws eks update-kubeconfig --region %s --name %s", e.region, e.name)
	}
	return fmt.Sprintf("set --profile to one of account %s; kubectl config view --minify shows the AWS_PROFILE that kubectl uses", e.expected)
}
