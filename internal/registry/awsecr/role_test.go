// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
)

const mirrorRole = "arn:aws:iam::123456789012:role/teams/platform/mirror"

func TestRole(t *testing.T) {
	for _, text := range []string{"", "mirror", "arn:aws:sts::123456789012:assumed-role/mirror/session", "arn:aws:iam::123456789012:user/mirror", "arn:aws:iam::123456789012:role/"} {
		if err := new(Role).Set(text); err == nil || !strings.Contains(err.Error(), "arn:aws:iam::123456789012:role/NAME") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCheckRole(t *testing.T) {
	var role Role
	if err := role.Set(mirrorRole); err != nil {
		t.Fatal(err)
	}
	for caller, want := range map[string]bool{
		"arn:aws:sts::123456789012:assumed-role/mirror/eks-cluster-pod":      true, // the path is not part of it
		"arn:aws:sts::123456789012:assumed-role/mirror/a@example.com":        true,
		"arn:aws:sts::123456789012:assumed-role/nodes/i-0123456789abcdef0":   false,
		"arn:aws:sts::123456789012:assumed-role/mirror-nodes/i-0123456789ab": false,
		"arn:aws:sts::123456789012:assumed-role/nodes/mirror":                false,
		"arn:aws:sts::210987654321:assumed-role/mirror/session":              false,
		"arn:aws-cn:sts::123456789012:assumed-role/mirror/session":           false,
		"arn:aws:sts::123456789012:federated-user/mirror/session":            false,
		"arn:aws:iam::123456789012:user/mirror":                              false,
		"arn:aws:iam::123456789012:root":                                     false,
		"":                                                                   false,
	} {
		err := checkRole(t.Context(), role, func(context.Context) (string, error) { return caller, nil })
		if (err == nil) != want {
			t.Errorf("%q: %v", caller, err)
		}
		if err != nil && (!strings.Contains(err.Error(), mirrorRole) || !strings.Contains(err.Error(), "caller is "+caller)) {
			t.Errorf("%q: the error does not name both: %v", caller, err)
		}
	}
}

// The agent of EKS Pod Identity may be late. Other errors are final at once.
func TestCheckRoleWithoutCredentials(t *testing.T) {
	var role Role
	if err := role.Set(mirrorRole); err != nil {
		t.Fatal(err)
	}
	absent := &credentialsError{errors.New("connection refused")}
	for name, tc := range map[string]struct {
		err      error
		failures int // before the credentials are there
		requests int
		ok       bool
	}{
		"there at once": {absent, 0, 1, true},
		"late":          {absent, 3, 4, true},
		"never":         {absent, 100, len(callerDelays) + 1, false},
		"denied":        {errors.New("denied"), 100, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				err := checkRole(t.Context(), role, func(context.Context) (string, error) {
					if requests++; requests <= tc.failures {
						return "", tc.err
					}
					return "arn:aws:sts::123456789012:assumed-role/mirror/session", nil
				})
				if (err == nil) != tc.ok || requests != tc.requests {
					t.Errorf("%d requests, %v", requests, err)
				}
				if err != nil && (!errors.Is(err, tc.err) || !strings.Contains(err.Error(), mirrorRole)) {
					t.Errorf("the error names neither cause nor role: %v", err)
				}
			})
		})
	}
}
