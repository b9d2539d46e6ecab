// SPDX-License-Identifier: Apache-2.0

package awsapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/castai/privatelink-webhook/internal/doctor"
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
