// SPDX-License-Identifier: Apache-2.0

package suite_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/doctor/suite"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// options returns options without a cluster, a lock file and credentials.
func options(t *testing.T, registry string) suite.Options {
	t.Helper()
	missing := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "", "AWS_CONFIG_FILE": missing, "AWS_SHARED_CREDENTIALS_FILE": missing,
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_WEB_IDENTITY_TOKEN_FILE": "", "HOME": filepath.Dir(missing),
	} {
		t.Setenv(name, value)
	}
	rules, err := rewrite.New(rewrite.Config{Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	o := suite.Options{Rules: rules, Cluster: kubeconfig.Options{File: missing}, LockFile: missing, Probe: true}
	o.Run.Skip = []string{"registry/login", "registry/repositories", "registry/images", "registry/platforms", "registry/webhook-image"}
	return o
}

const ecr = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"

func TestRunWithoutAccessReportsUnknown(t *testing.T) {
	for name, registry := range map[string]string{"ECR": ecr, "another registry": "registry.example.com/castai"} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := suite.Run(t.Context(), &out, "json", options(t, registry)); exitcode.Code(err) != exitcode.Failed {
				t.Fatalf("error %v: %s", err, &out)
			}
			var report struct{ Checks []struct{ ID, Status string } }
			if err := json.Unmarshal(out.Bytes(), &report); err != nil {
				t.Fatal(err)
			}
			for _, c := range report.Checks {
				if c.Status != "unknown" {
					t.Errorf("%s is %s", c.ID, c.Status)
				}
			}
		})
	}
}

func TestListDependsOnTheEngine(t *testing.T) {
	for engine, want := range map[string]bool{"webhook": true, "policy": false} {
		o := options(t, ecr)
		o.Engine = engine
		var out bytes.Buffer
		if err := suite.List(t.Context(), &out, o); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), "registry/webhook-image"); got != want {
			t.Errorf("%s: webhook-image is listed: %t", engine, got)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for name, change := range map[string]func(*suite.Options){
		"no rules":            func(o *suite.Options) { o.Rules = nil },
		"two places to probe": func(o *suite.Options) { o.Inside = true },
		"an unknown engine":   func(o *suite.Options) { o.Engine = "istio" },
		"an unknown check":    func(o *suite.Options) { o.Run.Only = []string{"netwrok"} },
		"an unknown service":  func(o *suite.Options) { o.AWS.Services = map[string]string{"grcp": "x"} },
		"a host without port": func(o *suite.Options) { o.CASTAIHosts = []string{"api.cast.ai"} },
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, ecr)
			change(&o)
			if err := suite.Run(t.Context(), &bytes.Buffer{}, "", o); exitcode.Code(err) != exitcode.Usage {
				t.Errorf("error %v", err)
			}
		})
	}
}
