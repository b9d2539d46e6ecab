// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
)

var _ mirror.Repositories = (*Registry)(nil)

func TestMissing(t *testing.T) {
	s, r, _ := start(t, fakeecr.Options{}, Config{})
	var all, even []string
	for i := range 120 {
		name := fmt.Sprintf("castai/r%03d", i)
		all = append(all, s.Host()+"/"+name)
		if i%2 == 0 || i >= 100 {
			s.Create(name)
		} else {
			even = append(even, s.Host()+"/"+name)
		}
	}
	missing, err := r.Missing(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(even, missing); diff != "" {
		t.Error(diff)
	}
	// One for 100 repositories, one for each of them, and one for the rest.
	if got := len(s.Log()); got != 102 {
		t.Errorf("%d requests", got)
	}
	s.ResetLog()
	if missing, err := r.Missing(t.Context(), all[100:]); err != nil || len(missing) > 0 || len(s.Log()) != 1 {
		t.Errorf("%v %v in %d requests", missing, err, len(s.Log()))
	}
	_, err = r.Missing(t.Context(), []string{"ghcr.io/castai/x"})
	wantError(t, err, "ghcr.io/castai/x", s.Host())
}

func TestCreateWithSettings(t *testing.T) {
	settings := Settings{
		TagMutability: "IMMUTABLE_WITH_EXCLUSION", ExcludedTags: []string{"sha256-*"}, Encryption: "KMS", KMSKey: "alias/mirror", ScanOnPush: true,
		LifecyclePolicy: `{"rules":[]}`, RepositoryPolicy: `{"Version":"2012-10-17","Statement":[]}`, Tags: map[string]string{"team": "infra"},
	}
	s, r, _ := start(t, fakeecr.Options{}, Config{Settings: func(name string) Settings {
		if name != "castai/agent" {
			t.Errorf("settings of %q", name)
		}
		return settings
	}})
	if err := r.Create(t.Context(), s.Host()+"/castai/agent"); err != nil {
		t.Fatal(err)
	}
	out, err := r.api.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"castai/agent"}})
	if err != nil {
		t.Fatal(err)
	}
	got := out.Repositories[0]
	if got.ImageTagMutability != "IMMUTABLE_WITH_EXCLUSION" || *got.ImageTagMutabilityExclusionFilters[0].Filter != "sha256-*" ||
		got.EncryptionConfiguration.EncryptionType != "KMS" || *got.EncryptionConfiguration.KmsKey != "alias/mirror" || !got.ImageScanningConfiguration.ScanOnPush {
		t.Errorf("%+v", got)
	}
	lifecycle, err := r.api.GetLifecyclePolicy(t.Context(), &ecr.GetLifecyclePolicyInput{RepositoryName: aws.String("castai/agent")})
	if err != nil || *lifecycle.LifecyclePolicyText != settings.LifecyclePolicy {
		t.Errorf("lifecycle policy: %v %v", lifecycle, err)
	}
	policy, err := r.api.GetRepositoryPolicy(t.Context(), &ecr.GetRepositoryPolicyInput{RepositoryName: aws.String("castai/agent")})
	if err != nil || *policy.PolicyText != settings.RepositoryPolicy {
		t.Errorf("repository policy: %v %v", policy, err)
	}
	s.ResetLog()
	if err := r.Create(t.Context(), s.Host()+"/castai/agent"); err != nil {
		t.Errorf("repository exists: %v", err)
	}
	if diff := cmp.Diff([]string{"CreateRepository"}, actions(s)); diff != "" {
		t.Errorf("an existing repository was changed: %s", diff)
	}
}

func TestCreateErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		fault    fakeecr.Fault
		settings Settings
		path     string
		class    error
		texts    []string
		requests int
	}{
		"a missing permission is reported with the repository": {
			fault: fakeecr.Fault{Match: fakeecr.On("CreateRepository"), Status: 400, Code: "AccessDeniedException", Message: "User: arn:x is not authorized"},
			class: registry.ErrDenied, texts: []string{"the role needs ecr:CreateRepository on arn:aws:ecr:eu-central-1:123456789012:repository/castai/agent", "arn:x"}, requests: 1,
		},
		"an unusable key is not retried": {
			fault: fakeecr.Fault{Match: fakeecr.On("CreateRepository"), Status: 400, Code: "KmsException", Message: "the key is disabled"},
			texts: []string{"KmsException: the key is disabled", "castai/agent"}, requests: 1,
		},
		"an exhausted quota is not retried, although the SDK classifies it as throttling": {
			fault: fakeecr.Fault{Match: fakeecr.On("CreateRepository"), Status: 400, Code: "LimitExceededException", Message: "100000 repositories"},
			texts: []string{"LimitExceededException: 100000 repositories: delete what is not needed, or request a higher quota"}, requests: 1,
		},
		"a rejected name requires a rule": {
			path: "castai/a__b", texts: []string{`"castai/a__b"`, "a rule in privatelink.yaml", "InvalidParameterException"}, requests: 1,
		},
		"throttling is retried": {
			fault: fakeecr.Fault{Match: fakeecr.On("CreateRepository"), Times: 1, Status: 400, Code: "ThrottlingException", Message: "Rate exceeded"}, requests: 2,
		},
		"a server error is retried": {
			fault: fakeecr.Fault{Match: fakeecr.On("CreateRepository"), Times: 1, Status: 500, Code: "ServerException"}, requests: 2,
		},
		"an aborted connection is retried": {
			fault: fakeecr.Fault{Match: fakeecr.On("CreateRepository"), Times: 1, Abort: true}, requests: 2,
		},
		"expired credentials are reported with a remedy": {
			fault: fakeecr.Fault{Status: 400, Code: "ExpiredTokenException", Message: "The security token included in the request is expired"},
			class: registry.ErrAuth, texts: []string{"the AWS session has ended", "run the command again"}, requests: 1,
		},
		"a rejected policy leaves a repository": {
			fault:    fakeecr.Fault{Match: fakeecr.On("PutLifecyclePolicy"), Status: 400, Code: "InvalidParameterException", Message: "bad rule"},
			settings: Settings{LifecyclePolicy: "{}", RepositoryPolicy: "{}"}, texts: []string{"castai/agent was created", "bad rule", "ecr:PutLifecyclePolicy"}, requests: 3,
		},
		"invalid settings send no request": {
			settings: Settings{Encryption: "ROT13"}, texts: []string{"castai/agent.encryption", "AES256"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, r, _ := start(t, fakeecr.Options{}, Config{Settings: func(string) Settings { return tc.settings }})
			if tc.fault.Status != 0 || tc.fault.Abort {
				s.Inject(tc.fault)
			}
			path := tc.path
			if path == "" {
				path = "castai/agent"
			}
			err := r.Create(t.Context(), s.Host()+"/"+path)
			if len(tc.texts) > 0 {
				wantError(t, err, tc.texts...)
			} else if err != nil {
				t.Fatal(err)
			}
			if tc.class != nil && !errors.Is(err, tc.class) {
				t.Errorf("error %v is not %v", err, tc.class)
			}
			if got := len(s.Log()); got != tc.requests {
				t.Errorf("%d requests, want %d", got, tc.requests)
			}
		})
	}
}

func TestCanceledCreateSetsPolicies(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, r, _ := start(t, fakeecr.Options{}, Config{Settings: func(string) Settings { return Settings{LifecyclePolicy: "{}"} }})
	s.Inject(fakeecr.Fault{Match: func(q fakeecr.Request) bool {
		if q.Action == "PutLifecyclePolicy" {
			cancel()
		}
		return false
	}})
	if err := r.Create(ctx, s.Host()+"/castai/agent"); err != nil {
		t.Fatal(err)
	}
}

func TestSharesBlobs(t *testing.T) {
	for name, tc := range map[string]struct {
		mounting bool
		fault    fakeecr.Fault
		want     bool
		warning  string
		err      error
	}{
		"enabled":                           {mounting: true, want: true},
		"disabled":                          {warning: "aws ecr put-account-setting --name BLOB_MOUNTING --value ENABLED --region eu-central-1"},
		"no permission to read the setting": {mounting: true, fault: fakeecr.Fault{Match: fakeecr.On("GetAccountSetting"), Status: 400, Code: "AccessDeniedException"}, warning: "ecr:GetAccountSetting"},
		"the setting does not exist":        {mounting: true, fault: fakeecr.Fault{Match: fakeecr.On("GetAccountSetting"), Status: 400, Code: "ValidationException"}, warning: "unknown"},
		"the API fails":                     {mounting: true, fault: fakeecr.Fault{Match: fakeecr.On("GetAccountSetting"), Status: 500, Code: "InternalFailure"}, warning: "unknown"},
		"not authenticated":                 {fault: fakeecr.Fault{Match: fakeecr.On("GetAccountSetting"), Status: 400, Code: "UnrecognizedClientException"}, err: registry.ErrAuth},
	} {
		t.Run(name, func(t *testing.T) {
			s, r, w := start(t, fakeecr.Options{Switches: fakeecr.Switches{BlobMounting: tc.mounting}}, Config{})
			if tc.fault.Status != 0 {
				s.Inject(tc.fault)
			}
			got, err := r.SharesBlobs(t.Context())
			if got != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("%t %v", got, err)
			}
			if !strings.Contains(w.String(), tc.warning) || (tc.warning == "") != (w.String() == "") {
				t.Errorf("warnings %q", w)
			}
		})
	}
}

func TestSharesBlobsInAnotherAccount(t *testing.T) {
	s, r, w := start(t, fakeecr.Options{Switches: fakeecr.Switches{BlobMounting: true}}, Config{Prefix: "999999999999.dkr.ecr.eu-central-1.amazonaws.com"})
	if got, err := r.SharesBlobs(t.Context()); got || err != nil {
		t.Errorf("%t %v", got, err)
	}
	if !strings.Contains(w.String(), "999999999999") || !strings.Contains(w.String(), s.Account) {
		t.Errorf("warnings %q", w)
	}
	wantError(t, r.Create(t.Context(), "999999999999.dkr.ecr.eu-central-1.amazonaws.com/x"), "ecr:CreateRepository on arn:aws:ecr:eu-central-1:999999999999:repository/x")
}

func TestRepositories(t *testing.T) {
	s, r, _ := start(t, fakeecr.Options{}, Config{})
	for i := range 1100 {
		s.Create(fmt.Sprintf("other/r%d", i))
	}
	s.Create("castai")
	s.Create("castai/agent")
	s.Create("castaix/agent")
	got, err := r.Repositories(t.Context(), s.Host()+"/castai")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{s.Host() + "/castai", s.Host() + "/castai/agent"}, got); diff != "" {
		t.Error(diff)
	}
	all, err := r.Repositories(t.Context(), s.Host())
	if err != nil || len(all) != 1103 || len(s.Log()) != 4 {
		t.Errorf("%d repositories in %d requests: %v", len(all), len(s.Log()), err)
	}
}

func TestMissingCredentials(t *testing.T) {
	_, r, _ := start(t, fakeecr.Options{}, Config{})
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	r, err := New(t.Context(), Config{Prefix: r.host.Name})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Missing(t.Context(), []string{r.host.Name + "/x"})
	wantError(t, err, "not authenticated", "--profile")
	if !errors.Is(err, registry.ErrAuth) {
		t.Errorf("error %v is not ErrAuth", err)
	}
}

func TestProfiles(t *testing.T) {
	s, r, _ := start(t, fakeecr.Options{}, Config{})
	_, err := New(t.Context(), Config{Prefix: r.host.Name, Profile: "absent"})
	wantError(t, err, "absent", "--profile")
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("[profile mirror]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = x\nregion = us-west-2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", file)
	r, err = New(t.Context(), Config{Prefix: r.host.Name, Profile: "mirror"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.api.Options().Credentials.Retrieve(t.Context())
	if err != nil || c.AccessKeyID != "AKIDPROFILE" || r.api.Options().Region != s.Region {
		t.Errorf("%q in %s: %v", c.AccessKeyID, r.api.Options().Region, err)
	}
}

func TestFIPSEndpoint(t *testing.T) {
	fakeecr.SetAWSEnv(t, "")
	for host, want := range map[string]string{
		"123456789012.dkr.ecr.us-east-1.amazonaws.com":      "api.ecr.us-east-1.amazonaws.com",
		"123456789012.dkr.ecr-fips.us-east-1.amazonaws.com": "fips", // the SDK chooses one of two names
		"123456789012.dkr-ecr.us-east-1.on.aws":             "api.ecr.us-east-1.amazonaws.com",
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn":  "api.ecr.cn-north-1.amazonaws.com.cn",
	} {
		r, err := New(t.Context(), Config{Prefix: host})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		var endpoint string
		_, err = r.api.GetAuthorizationToken(ctx, nil, func(o *ecr.Options) {
			o.HTTPClient = doer(func(q *http.Request) (*http.Response, error) {
				endpoint = q.URL.Host
				cancel()
				return nil, context.Canceled
			})
		})
		if err == nil || !strings.Contains(endpoint, want) {
			t.Errorf("%s: the endpoint is %q, want %q, error %v", host, endpoint, want, err)
		}
		cancel()
	}
}

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(q *http.Request) (*http.Response, error) { return d(q) }

func TestValidateSettings(t *testing.T) {
	long := strings.Repeat("x", 200)
	for name, tc := range map[string]struct {
		settings Settings
		texts    []string
	}{
		"empty":                        {},
		"all errors are reported":      {Settings{TagMutability: "FIXED", Encryption: "DES", KMSKey: "k"}, []string{`rules[0].tagMutability is "FIXED"`, "IMMUTABLE", `rules[0].encryption is "DES"`, "rules[0].kmsKey"}},
		"patterns require a mode":      {Settings{TagMutability: "IMMUTABLE", ExcludedTags: []string{"a"}}, []string{"excludedTags requires"}},
		"a mode requires patterns":     {Settings{TagMutability: "MUTABLE_WITH_EXCLUSION"}, []string{"excludedTags is required"}},
		"invalid patterns":             {Settings{TagMutability: "MUTABLE_WITH_EXCLUSION", ExcludedTags: []string{"a b", "*a*b*", long}}, []string{"excludedTags[0]", "excludedTags[1]", "excludedTags[2]"}},
		"too many patterns":            {Settings{TagMutability: "MUTABLE_WITH_EXCLUSION", ExcludedTags: slices.Repeat([]string{"a"}, 6)}, []string{"has 6 patterns"}},
		"policies must be JSON":        {Settings{LifecyclePolicy: "rules: []", RepositoryPolicy: "[]"}, []string{"lifecyclePolicy is not a JSON object", "repositoryPolicy is not a JSON object"}},
		"policies have a maximum size": {Settings{RepositoryPolicy: `{"a":"` + strings.Repeat("x", 10240) + `"}`}, []string{"repositoryPolicy has 10248 bytes"}},
		"invalid tags":                 {Settings{Tags: map[string]string{"aws:x": "1", long: ""}}, []string{`tags["aws:x"]`, "too long"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.settings.Validate("rules[0]")
			if len(tc.texts) == 0 && err != nil {
				t.Fatal(err)
			}
			if len(tc.texts) > 0 {
				wantError(t, err, tc.texts...)
			}
		})
	}
}
