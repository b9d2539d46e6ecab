// SPDX-License-Identifier: Apache-2.0

package awsapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeaws"
)

func TestUnknown(t *testing.T) {
	api := func(code string) error {
		return fmt.Errorf("operation error EC2: %w", &smithy.GenericAPIError{Code: code, Message: "no"})
	}
	for name, c := range map[string]struct {
		err           error
		found, remedy string
	}{
		"no permission at EC2":             {api("UnauthorizedOperation"), "ec2:DescribeVpcs: UnauthorizedOperation: no", "needs ec2:DescribeVpcs"},
		"no permission in another service": {api("AccessDeniedException"), "AccessDeniedException: no", "needs ec2:DescribeVpcs"},
		"an expired session":               {api("ExpiredToken"), "ExpiredToken", "aws sso login"},
		"unknown access keys":              {api("AuthFailure"), "AuthFailure", "aws sso login"},
		"the clock is late":                {&smithy.GenericAPIError{Code: "SignatureDoesNotMatch", Message: "Signature expired: 20261128T100000Z is now earlier than 20261128T102000Z (20261128T103500Z - 15 min.)"}, "Signature expired", "set the clock"},
		"the clock is early":               {&smithy.GenericAPIError{Code: "InvalidSignatureException", Message: "Signature not yet current: 20261128T110000Z"}, "not yet current", "set the clock"},
		"the clock is wrong, at EC2":       {api("RequestExpired"), "RequestExpired", "set the clock"},
		"a policy of the organization":     {&smithy.GenericAPIError{Code: "UnauthorizedOperation", Message: "You are not authorized to perform this operation. User: arn:aws:iam::123456789012:user/ann is not authorized to perform: ec2:DescribeVpcs with an explicit deny in a service control policy"}, "explicit deny", "a policy of the organization denies ec2:DescribeVpcs"},
		"a boundary":                       {&smithy.GenericAPIError{Code: "AccessDenied", Message: "because no permissions boundary allows the ec2:DescribeVpcs action"}, "boundary", "the permissions boundary of the caller must allow ec2:DescribeVpcs"},
		"the policy of an endpoint":        {&smithy.GenericAPIError{Code: "AccessDenied", Message: "because no VPC endpoint policy allows the ec2:DescribeVpcs action"}, "endpoint policy", "the policy of a VPC endpoint denies ec2:DescribeVpcs"},
		"an explicit deny":                 {&smithy.GenericAPIError{Code: "AccessDenied", Message: "with an explicit deny in an identity-based policy"}, "explicit deny", "remove the denying statement"},
		"throttled":                        {api("RequestLimitExceeded"), "RequestLimitExceeded", "wait a minute"},
		"SSO without a login":              {errors.New("get identity: get credentials: failed to refresh cached credentials, failed to read cached SSO token file, open /home/ann/.aws/sso/cache/1.json: no such file or directory"), "sso/cache", "aws sso login"},
		"SSO with an expired login":        {errors.New("get identity: get credentials: failed to refresh cached credentials, the SSO session has expired or is invalid"), "expired", "aws sso login"},
		"SSO with a login that is refused": {fmt.Errorf("get credentials: failed to refresh cached credentials, operation error SSO: GetRoleCredentials: %w", api("UnauthorizedException")), "Unauthorized", "aws sso login"},
		"a proxy that is down":             {errors.New(`Post "https://ec2.us-east-1.amazonaws.com/": proxyconnect tcp: dial tcp 10.0.0.1:3128: connect: connection refused`), "proxyconnect", "NO_PROXY"},
		"AWS has a problem":                {api("InternalError"), "InternalError", "try again"},
		"no credentials":                   {errors.New("get identity: get credentials: failed to refresh cached credentials, no EC2 IMDS role found"), "no EC2 IMDS role", "this machine has no instance role"},
		"AWS cannot be reached":            {errors.New("dial tcp 10.0.0.1:443: i/o timeout"), "i/o timeout", "endpoint"},
		"a timeout":                        {context.DeadlineExceeded, "deadline", "packets to AWS are dropped"},
	} {
		t.Run(name, func(t *testing.T) {
			f := Unknown(NewError("ec2:DescribeVpcs", c.err))
			if f.Status != doctor.Unknown || !strings.Contains(f.Found, c.found) || !strings.Contains(f.Remedy, c.remedy) || strings.Contains(f.Found, "operation error") {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, []byte("[profile other]\nregion = eu-west-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", file)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "none"))
	t.Setenv("AWS_PROFILE", "")
	t.Setenv("AWS_REGION", "eu-north-1")
	for _, profile := range []string{"", "other"} {
		if c, err := Load(t.Context(), "us-east-1", profile); err != nil || c.Region != "us-east-1" {
			t.Errorf("profile %q: %s %v", profile, c.Region, err)
		}
	}
	if _, err := Load(t.Context(), "us-east-1", "none"); err == nil || !strings.Contains(err.Error(), "check ~/.aws/config, AWS_PROFILE and --profile") {
		t.Error(err)
	}
}

func TestNodes(t *testing.T) {
	instances, err := Nodes(t.Context(), ec2.NewFromConfig(fakeaws.Serve(t, map[string]string{
		"ec2:DescribeInstances": `<reservationSet><item><instancesSet><item><instanceId>i-1</instanceId></item></instancesSet></item><item><instancesSet><item><instanceId>i-2</instanceId></item></instancesSet></item></reservationSet>`,
	})), "prod")
	if err != nil || len(instances) != 2 || *instances[1].InstanceId != "i-2" {
		t.Errorf("%v %v", instances, err)
	}
	_, err = Nodes(t.Context(), ec2.NewFromConfig(fakeaws.Serve(t, nil)), "prod")
	if f := Unknown(err); Code(err) != "UnauthorizedOperation" || !strings.Contains(f.Remedy, "needs ec2:DescribeInstances") {
		t.Errorf("%v; %s", err, f.Remedy)
	}
}

// The account may hide instances of EKS Auto Mode from lists.
func TestNodesOfAutoMode(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		managed := ""
		if r.FormValue("IncludeManagedResources") == "true" {
			managed = "<item><instancesSet><item><instanceId>i-1</instanceId></item></instancesSet></item>"
		}
		fmt.Fprintf(w, "<DescribeInstancesResponse><reservationSet>%s</reservationSet></DescribeInstancesResponse>", managed)
	}))
	t.Cleanup(server.Close)
	client := ec2.New(ec2.Options{Region: "us-east-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
	if instances, err := Nodes(t.Context(), client, "prod"); err != nil || len(instances) != 1 {
		t.Errorf("%d instances, error %v", len(instances), err)
	}
}

// The instance metadata service is asked last. On a machine that is not an instance,
// packets to it are dropped.
func TestLoadWithoutCredentials(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // it accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://" + silent.Addr().String(), "AWS_EC2_METADATA_DISABLED": "", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "",
	} {
		t.Setenv(name, value)
	}
	c, err := Load(t.Context(), "us-east-1", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second) // that of a check
	defer cancel()
	_, err = c.Credentials.Retrieve(ctx)
	if err == nil || ctx.Err() != nil {
		t.Fatalf("error %v, context %v", err, ctx.Err())
	}
	if f := Unknown(NewError("ec2:DescribeVpcs", err)); !strings.Contains(f.Remedy, "provide AWS credentials") || !IsLogin(err) {
		t.Errorf("%s; %s", f.Found, f.Remedy)
	}
}

// The texts of these errors are those of the SDK, which has no codes for them.
func TestRemediesOfTheSDKsOwnErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, []byte("[profile sso]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = admin\n[sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://corp.awsapps.com/start\n"+
		"[profile legacy]\nsso_account_id = 123456789012\nsso_role_name = admin\nsso_region = us-east-1\nsso_start_url = https://corp.awsapps.com/start\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"AWS_CONFIG_FILE": file, "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "none"), "AWS_PROFILE": "", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": dir} {
		t.Setenv(name, value)
	}
	proxy, err := url.Parse("http://127.0.0.1:1") // nothing listens
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		profile string
		change  func(*aws.Config)
		remedy  string
	}{
		"SSO without a login":             {"sso", func(*aws.Config) {}, "aws sso login"},
		"SSO without a login, older file": {"legacy", func(*aws.Config) {}, "aws sso login"},
		"a proxy that is down": {"", func(c *aws.Config) {
			c.HTTPClient = &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}
		}, "the proxy of HTTPS_PROXY does not respond"},
		"a host that drops packets": {"", func(c *aws.Config) { c.HTTPClient = &http.Client{Transport: silent{}} }, "packets to AWS are dropped"},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := Load(t.Context(), "us-east-1", c.profile)
			if err != nil {
				t.Fatal(err)
			}
			if c.profile == "" {
				config.Credentials = credentials.NewStaticCredentialsProvider("test", "test", "")
			}
			c.change(&config)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err = ec2.NewFromConfig(config, func(o *ec2.Options) { o.RetryMaxAttempts = 1 }).DescribeVpcs(ctx, &ec2.DescribeVpcsInput{})
			if f := Unknown(NewError("ec2:DescribeVpcs", err)); err == nil || !strings.Contains(f.Remedy, c.remedy) {
				t.Errorf("%s; %s", f.Found, f.Remedy)
			}
		})
	}
}

// silent answers no request until its deadline, which is near.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), time.Millisecond)
	defer cancel()
	<-ctx.Done()
	return nil, ctx.Err()
}
