// SPDX-License-Identifier: Apache-2.0

package awsapi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		"AWS has a problem":                {api("InternalError"), "InternalError", "try again"},
		"no credentials":                   {errors.New("get identity: get credentials: failed to refresh cached credentials, no EC2 IMDS role found"), "no EC2 IMDS role", "aws configure"},
		"AWS cannot be reached":            {errors.New("dial tcp 10.0.0.1:443: i/o timeout"), "i/o timeout", "endpoint"},
		"a timeout":                        {context.DeadlineExceeded, "deadline", "endpoint"},
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
