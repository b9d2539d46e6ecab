// SPDX-License-Identifier: Apache-2.0

package awsapi

import (
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeaws"
)

func TestDescribeCluster(t *testing.T) {
	const (
		host  = "0a1b.gr7.us-east-1.eks.amazonaws.com"
		found = `{"cluster": {"arn": "arn:aws:eks:us-east-1:111111111111:cluster/prod", "endpoint": "https://0A1B.gr7.us-east-1.eks.amazonaws.com"}}`
	)
	for name, c := range map[string]struct {
		response      string
		expected      Expected
		found, remedy string // "" if it is the cluster
	}{
		"nothing is expected":               {found, Expected{}, "", ""},
		"the cluster of the kubeconfig":     {found, Expected{"111111111111", host}, "", ""},
		"another account":                   {found, Expected{"222222222222", host}, "of account 111111111111, and cluster prod of the kubeconfig is in account 222222222222", "set --profile to one of account 222222222222"},
		"another account without it":        {fakeaws.NotFound, Expected{"222222222222", host}, "of account 111111111111, and", "set --profile"},
		"no cluster in the account":         {fakeaws.NotFound, Expected{"111111111111", host}, ClusterNotFound, "try again"},
		"another host":                      {found, Expected{"111111111111", "ffff.gr7.us-east-1.eks.amazonaws.com"}, "is not that of the kubeconfig", "--profile and --region"},
		"another host, the account unknown": {found, Expected{"", "ffff.gr7.us-east-1.eks.amazonaws.com"}, "is not that of the kubeconfig", "--profile and --region"},
		"a host in another domain":          {strings.Replace(found, "eks.amazonaws.com", "api.aws", 1), Expected{"111111111111", host}, "", ""},
		"a cluster that is being created":   {`{"cluster": {}}`, Expected{"111111111111", host}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			config := fakeaws.Serve(t, map[string]string{"eks:DescribeCluster": c.response, "sts:GetCallerIdentity": "<Account>111111111111</Account>"})
			cluster, err := DescribeCluster(t.Context(), config, "prod", c.expected)
			if c.found == "" {
				if err != nil || cluster == nil {
					t.Errorf("%v %v", cluster, err)
				}
				return
			}
			if f := Unknown(err); f.Status != doctor.Unknown || !strings.Contains(f.Found, c.found) || !strings.Contains(f.Remedy, c.remedy) {
				t.Errorf("%+v", f)
			}
		})
	}
	config := fakeaws.Serve(t, map[string]string{"eks:DescribeCluster": fakeaws.NotFound})
	if _, err := DescribeCluster(t.Context(), config, "prod", Expected{Account: "222222222222"}); Code(err) != ClusterNotFound {
		t.Errorf("the caller is not known: %v", err)
	}
}
