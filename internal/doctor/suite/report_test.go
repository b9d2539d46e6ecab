// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/page"
	"github.com/castai/privatelink-webhook/internal/doctor/topology"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/target"
)

// originals are what a report of this customer must not have, once it is redacted.
var originals = []string{
	"prod-eu", "210987654321", "worker-7.example.com", "ip-10-1-2-3", "vpc-0a1b2c3d4e5f60718", "main-network", "subnet-0a1b2c3d4e5f60718", "private-a", "10.1.", "fd00:10", "0123456789abcdef.gr7",
	"arn:aws", "pull-only", "platform", "i-0123456789abcdef0", "sg-0123456789abcdef0", "vpce-0123456789abcdef0", "admin-context", "bank.internal", "bank-charts",
}

// customer returns a report with all of them.
func customer() page.Report {
	check := doctor.Check{Group: "network", Name: "s3-route", What: "expected", Why: "because", Elements: []doctor.Element{doctor.Subnets}}
	found := doctor.Failf("aws ec2 describe-vpcs --vpc-ids vpc-0a1b2c3d4e5f60718\naws iam attach-role-policy --role-name pull-only --policy-arn arn:aws:iam::210987654321:policy/platform/pull-only",
		"subnet-0a1b2c3d4e5f60718 (10.1.2.0/24, fd00:10::/64) of PROD-EU: i-0123456789abcdef0 on worker-7.example.com").
		With("sg-0123456789abcdef0: ip-10-1-2-3.eu-central-1.compute.internal at 10.1.2.3:443", "arn:aws:iam::210987654321:role/platform/pull-only of 210987654321.dkr.ecr.eu-central-1.amazonaws.com", "prod-eu-nodes, main-network", "helmRepoURL https://charts.bank.internal/helm, through the proxy http://proxy.bank.internal:3128; https://bank-charts.s3.eu-central-1.amazonaws.com").
		At(doctor.Subnet("subnet-0a1b2c3d4e5f60718"))
	return page.Report{
		Target: target.Target{
			Context: "admin-context", Server: "https://0123456789ABCDEF.gr7.eu-central-1.eks.amazonaws.com", Cluster: "prod-eu", Account: "210987654321", Region: "eu-central-1",
			Registry: "210987654321.dkr.ecr.eu-central-1.amazonaws.com/castai",
		},
		Results: []doctor.Result{{Check: check, Finding: found}},
		Network: topology.Network{
			VPC: "vpc-0a1b2c3d4e5f60718", Name: "main-network", Blocks: []string{"10.1.0.0/16"}, SubnetsUnknown: "arn:aws:iam::210987654321:user/x may not read vpc-0a1b2c3d4e5f60718",
			Subnets:   []topology.Subnet{{ID: "subnet-0a1b2c3d4e5f60718", Name: "private-a", Zone: "eu-central-1a", CIDR: "10.1.2.0/24"}},
			Endpoints: []topology.Endpoint{{Service: "s3", ID: "vpce-0123456789abcdef0", State: "available"}},
		},
	}
}

func TestRedactedReportsHaveNoOriginals(t *testing.T) {
	s := newSuite(t, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-7.example.com"}})
	redacted, err := s.redacted(t.Context(), customer())
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []output.Format{output.Text, output.JSON, output.YAML, output.HTML, JUnit} {
		var before, after bytes.Buffer
		if err := errors.Join(s.write(&before, format, customer()), s.write(&after, format, redacted)); err != nil {
			t.Fatal(err)
		}
		for _, o := range originals {
			if strings.Contains(strings.ToLower(after.String()), strings.ToLower(o)) {
				t.Errorf("%s: %q remains:\n%s", format, o, &after)
			}
			isOfNetwork := o == "main-network" || o == "private-a" || strings.HasPrefix(o, "vpce-")
			if !strings.Contains(strings.ToLower(before.String()), strings.ToLower(o)) && !isOfNetwork {
				t.Errorf("%s: the report has no %q that could remain", format, o)
			}
		}
		for _, p := range []string{"account-1", "cluster-1", "eu-central-1"} {
			if !strings.Contains(after.String(), p) {
				t.Errorf("%s: no %s", format, p)
			}
		}
	}
	if got, want := redacted.Results[0].Finding.Elements[0], doctor.Subnet(redacted.Network.Subnets[0].ID); got != want {
		t.Errorf("the finding concerns %s, and the picture has %s", got, want)
	}
}

// A report is not written if a name could remain.
func TestRedactionNeedsTheNamesOfNodes(t *testing.T) {
	s := newSuite(t)
	s.client.(*fake.Clientset).PrependReactor("list", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("forbidden") })
	if _, err := s.redacted(t.Context(), customer()); err == nil || !strings.Contains(err.Error(), "--cluster-roles") {
		t.Error(err)
	}
	s.clusterErr = errors.New("no cluster")
	if _, err := s.redacted(t.Context(), customer()); err != nil {
		t.Error(err)
	}
}
