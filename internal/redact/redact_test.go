// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"regexp"
	"testing"
)

var numbered = regexp.MustCompile(`-\d+\b`)

func TestText(t *testing.T) {
	r := New()
	r.Add("cluster", "prod-eu", "")
	r.Add("node", "worker.example.com")
	r.Add("context", "ab")
	r.Learn("role arn:aws:iam::123456789012:role/platform/pull-only. and arn:aws:sts::123456789012:assumed-role/deployer/ci@example.com")
	r.Learn("https://charts.bank.internal:8443/helm, http://user:word@proxy.bank.internal:3128, s3://bank-locks/a.yaml, https://bank-charts.s3.eu-central-1.amazonaws.com/x")
	r.Learn("https://castai.github.io/helm-charts http://registry:5000 https://10.0.0.1 https://sts.eu-central-1.amazonaws.com https://charts.example.com s3://BUCKET/KEY https://prod-us-east-1-starport-layer-bucket.s3.us-east-1.amazonaws.com")
	r.AddHost("harbor.bank.internal")
	for text, want := range map[string]string{
		"account 123456789012, again 123456789012, not 1234567890123":                        "account account-1, again account-1, not 1234567890123",
		"PROD-EU and prod-eu-nodes":                                                          "cluster-1 and cluster-1-nodes",
		"ab, and about":                                                                      "context-1, and about",
		"WORKER.example.com":                                                                 "node-1",
		"arn:aws:iam::123456789012:role/platform/pull-only.":                                 "arn-1.",
		`"arn:aws:iam::123456789012:role/platform/pull-only","x"`:                            `"arn-1","x"`,
		"--role-name pull-only --user deployer ci@example.com":                               "--role-name role-1 --user role-2 role-3",
		"arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly":                         "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
		"s3:GetObject on arn:aws:s3:::prod-us-east-1-starport-layer-bucket/*":                "s3:GetObject on arn:aws:s3:::prod-us-east-1-starport-layer-bucket/*",
		"vpc-0123456789abcdef0 vpc-0a1b2c3d vpc-0123456789abcdef0":                           "vpc-1 vpc-2 vpc-1",
		"subnet-0123456789abcdef0 (10.0.1.0/24), 10.0.1.7, 0.0.0.0/0, ::/0":                  "subnet-1 (address-1), address-2, 0.0.0.0/0, ::/0",
		"ip-10-0-1-7.eu-central-1.compute.internal i-0123456789abcdef0":                      "node-2 i-1",
		"fd00:10::7 at 08:15:30, 127.0.0.1, v1.37.2, sha256:1234567890abcdef":                "address-3 at 08:15:30, 127.0.0.1, v1.37.2, sha256:1234567890abcdef",
		"2600:1f18:aaaa::/56 fe80::1":                                                        "address-4 address-5",
		"add:bad:123456789012 a:b:10.0.0.1 xa::bx":                                           "add:bad:account-1 a:b:address-6 xa::bx",
		"Z0123456789ABCDEF AKIAIOSFODNN7EXAMPLE":                                             "zone-1 key-1",
		"charts.bank.internal:443 and through the proxy proxy.bank.internal:3128":            "host-1:443 and through the proxy host-2:3128",
		"harbor.bank.internal/castai":                                                        "host-3/castai",
		"name the bucket s3://BUCKET/KEY":                                                    "name the bucket s3://BUCKET/KEY",
		"s3://bank-locks/b.yaml, bank-charts.s3.eu-central-1.amazonaws.com":                  "s3://bucket-1/b.yaml, bucket-2.s3.eu-central-1.amazonaws.com",
		"castai.github.io, the registry, sts.eu-central-1.amazonaws.com, charts.example.com": "castai.github.io, the registry, sts.eu-central-1.amazonaws.com, charts.example.com",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com/castai":                                "account-1.dkr.ecr.us-east-1.amazonaws.com/castai",
	} {
		// The numbers depend on the order, so that each text has its own originals.
		if got := r.Text(text); !sameShape(got, want) {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
	if a, b := r.Text("10.9.9.9"), r.Text("10.9.9.9 10.8.8.8"); b != a+" "+r.Text("10.8.8.8") || a == r.Text("10.8.8.8") {
		t.Errorf("%q, then %q: the placeholders are not consistent", a, b)
	}
}

// sameShape compares texts in which every number after a hyphen is any number.
func sameShape(a, b string) bool {
	return numbered.ReplaceAllString(a, "-N") == numbered.ReplaceAllString(b, "-N")
}
