// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
)

func TestAWholeConfigurationIsRead(t *testing.T) {
	r, err := rewrite.Load("privatelink.yaml", []byte(`# comment
apiVersion: privatelink.cast.ai/v1alpha1
kind: Config
registry: 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai
namespaces: [castai-agent, castai-omni]
rules:
- source: quay.io/acme
  target: thirdparty/acme
keep: [registry.k8s.io]
envVars: [SCANNERS_IMAGE]
repositories:
  tagMutability: IMMUTABLE_WITH_EXCLUSION
  excludedTags: ["sha256-*"]
  encryption: KMS
  kmsKey: alias/images
  scanOnPush: true
  lifecyclePolicy: '{"rules": []}'
  repositoryPolicy: '{}'
  tags: {team: platform}
track:
  repository: https://charts.example.com/x
  charts: [castai-agent]
  newest: 2
  prereleases: true
  values: {castai-agent: {a: {b: [1, x]}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	c := r.Config()
	if want := (rewrite.Repositories{TagMutability: "IMMUTABLE_WITH_EXCLUSION", ExcludedTags: []string{"sha256-*"}, Encryption: "KMS", KMSKey: "alias/images", ScanOnPush: true,
		LifecyclePolicy: `{"rules": []}`, RepositoryPolicy: "{}", Tags: map[string]string{"team": "platform"}}); !reflect.DeepEqual(c.Repositories, want) {
		t.Errorf("read %+v", c.Repositories)
	}
	if want := (rewrite.Track{Repository: "https://charts.example.com/x", Charts: []string{"castai-agent"}, Newest: 2, Prereleases: true,
		Values: map[string]map[string]any{"castai-agent": {"a": map[string]any{"b": []any{1, "x"}}}}}); !reflect.DeepEqual(c.Track, want) {
		t.Errorf("read %+v", c.Track)
	}
	if strings.Join(c.Namespaces, " ") != "castai-agent castai-omni" || len(c.Rules) != 1 || len(c.Keep) != 1 || len(c.EnvVars) != 1 {
		t.Errorf("read %+v", c)
	}
}

func TestDefaultsReplaceAbsentListsOnly(t *testing.T) {
	r, err := rewrite.Load("f", []byte("registry: "+corpus.Registry+"\nenvVars: []\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Config(); len(c.EnvVars) != 0 || len(c.Namespaces) != 1 || c.Namespaces[0] != "castai-agent" {
		t.Errorf("read %+v", c)
	}
}

func TestEveryPartitionsECRIsAccepted(t *testing.T) {
	for _, host := range []string{
		"123456789012.dkr.ecr.us-east-1.amazonaws.com", "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "123456789012.dkr-ecr.us-east-1.on.aws", "123456789012.dkr-ecr-fips.us-east-1.on.aws",
		"123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
		"123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
		"123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", "123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov",
	} {
		r, err := rewrite.New(rewrite.Config{Registry: host + "/castai"})
		if err != nil {
			t.Errorf("%s: %v", host, err)
		} else if !r.OnECR() || r.Image(host+"/other:1").Outcome != rewrite.Private {
			t.Errorf("%s is not seen as ECR", host)
		}
	}
}

// The name before a digest is not taken for a user.
func TestFaultsNameDigests(t *testing.T) {
	const image = "quay.io/acme/app@sha256:0123"
	for text, want := range map[string]string{
		"keep: ['" + image + "']":                             `"` + image + `"`,
		"keep: ['bot:hunter2@" + image + "']":                 `"xxxxx@` + image + `"`,
		"envVars: ['" + image + "', 'bot:hunter2@a.example']": `"xxxxx@a.example"`,
	} {
		_, err := rewrite.Load("f.yaml", []byte("registry: "+corpus.Registry+"\n"+text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestNoFaultHasAPassword(t *testing.T) {
	const registry = "registry: " + corpus.Registry + "\n"
	for _, text := range []string{
		"registry: 'bot:hunter2@registry.example.com/castai'", "registry: 'https://bot:hunter2@registry.example.com/castai'", "registry: 'bot:hunter2 \"/@registry.example.com'",
		registry + "rules: [{source: 'bot:hunter2@quay.io/acme', target: acme}]", registry + "rules: [{source: quay.io, target: 'bot:hunter2@quay.io'}]",
		registry + "keep: ['https://bot:hunter2@quay.io']", registry + "keep: https://bot:hunter2@quay.io", registry + "keep: ['bot:hunter2@quay.io', 'bot:hunter2@quay.io']",
		registry + "namespaces: ['bot:hunter2@quay.io']", registry + "envVars: ['bot:hunter2@quay.io']", registry + "kind: bot:hunter2@quay.io", registry + "kind: !other bot:hunter2@quay.io",
		registry + "track: {repository: 'oci://bot:hunter2@registry.example.com/charts'}", registry + "track: {repository: 'HTTPS://bot:hunter2@example.com'}",
		registry + "track: {repository: 'bot:hunter2@example.com'}", registry + "track: {repository: 'https://bot:hunter2/@example.com'}", registry + "track: {charts: ['https://bot:hunter2@example.com/a']}",
	} {
		if _, err := rewrite.Load("f.yaml", []byte(text)); err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "bot") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// The "@" of a digest follows no password.
func TestAFaultHasTheNameBeforeADigest(t *testing.T) {
	const acme = "registry.example.com/castai"
	for user, want := range map[string]string{"": acme, "bot:hunter2@": "xxxxx@" + acme, "@": "xxxxx@" + acme} {
		_, err := rewrite.Load("f.yaml", []byte("registry: '"+user+acme+"@"+testDigest+"'"))
		if err == nil || !strings.Contains(err.Error(), ` "`+want+"@"+testDigest+`" `) {
			t.Errorf("%q: %v, want %s", user, err, want)
		}
	}
}

func TestEveryFaultNamesFileFieldAndRemedy(t *testing.T) {
	reg := "registry: " + corpus.Registry + "\n"
	for name, tc := range map[string]struct {
		text string
		want []string // each must occur
	}{
		"a typing error in a key":                     {reg + "rule: []\n", []string{"f.yaml:2: rule: unknown key: did you mean rules?"}},
		"an unknown key":                              {reg + "zzz: 1\n", []string{"f.yaml:2: zzz: unknown key: the keys here are apiVersion, envVars, keep"}},
		"an unknown key in a rule":                    {reg + "rules:\n- source: quay.io/acme\n  targets: p\n", []string{"f.yaml:4: rules[0].targets: unknown key: did you mean target?", ""}},
		"a wrong type":                                {"registry: 5\n", []string{`f.yaml:1: registry: want text, have 5 (int)`}},
		"a list that is none":                         {reg + "keep: quay.io\n", []string{"f.yaml:2: keep: want a list"}},
		"a key twice":                                 {reg + reg, []string{"f.yaml:2: registry: the key stands twice"}},
		"a host that is no text of a host":            {"registry: 'my registry.example.com/castai'\n", []string{"has no registry host"}},
		"each source that stands twice":               {reg + "keep: [quay.io/a, quay.io/a, quay.io/b, quay.io/b]\n", []string{"keep[1]: \"quay.io/a\" has the same source as keep[0]", "keep[3]: \"quay.io/b\" has the same source as keep[2]"}},
		"a second document":                           {reg + "---\n" + reg, []string{"a second document follows"}},
		"an empty file":                               {"", []string{"f.yaml: the file is empty: write at least: registry:"}},
		"not YAML":                                    {"{", []string{"f.yaml: not YAML"}},
		"another kind":                                {reg + "kind: Deployment\n", []string{`kind: want "Config"`}},
		"no registry":                                 {"keep: []\n", []string{"registry: is missing: write it like 1234"}},
		"a scheme":                                    {"registry: https://" + ecr + "/castai\n", []string{"begins with a scheme"}},
		"a trailing slash":                            {"registry: " + ecr + "/castai/\n", []string{"empty path part"}},
		"a tag":                                       {"registry: " + ecr + "/castai:v1\n", []string{"has a tag or digest"}},
		"upper case, or a placeholder":                {"registry: ACCOUNT.dkr.ecr.REGION.amazonaws.com/castai\n", []string{"upper case", "replace placeholders"}},
		"no host":                                     {"registry: castai\n", []string{"has no registry host"}},
		"an account of 11 digits":                     {"registry: 12345678901.dkr.ecr.us-east-1.amazonaws.com/castai\n", []string{"is not 12 digits", "get-caller-identity"}},
		"the wrong partition":                         {"registry: 123456789012.dkr.ecr.cn-north-1.amazonaws.com/castai\n", []string{"does not fit region", "use amazonaws.com.cn"}},
		"an ECR host with a port":                     {"registry: " + ecr + ":443/castai\n", []string{"an ECR host has no port"}},
		"a host of AWS that is not ECR":               {"registry: ecr.us-east-1.amazonaws.com/castai\n", []string{"not a private ECR"}},
		"a prefix that breaks kvisor's scanners":      {"registry: " + ecr + "/team-controller/castai\n", []string{"-controller", "kvisor"}},
		"a prefix that is too long":                   {"registry: " + ecr + "/" + strings.Repeat("a", 200) + "\n", []string{"use at most 160"}},
		"a double underscore in host":                 {"registry: my_reg.example.com/castai\n", []string{"has no registry host"}},
		"a source without a host":                     {reg + "keep: [acme]\n", []string{"f.yaml:2: keep[0]:", "has no registry host"}},
		"a source with a trailing slash":              {reg + "keep: [quay.io/acme/]\n", []string{"ends in a slash"}},
		"a source with a tag":                         {reg + "keep: ['quay.io/acme:v1']\n", []string{"tag or digest"}},
		"a source in upper case":                      {reg + "keep: [quay.io/Acme]\n", []string{"upper case"}},
		"a source in a spelling that never matches":   {reg + "keep: [index.docker.io/acme]\n", []string{"write docker.io"}},
		"a source below the registry":                 {reg + "keep: [" + corpus.Registry + "/quay.io]\n", []string{"below the registry itself"}},
		"a source on a private ECR":                   {reg + "keep: [" + ecr + "/other]\n", []string{"is a private ECR"}},
		"a rule for a node-local host":                {reg + "rules: [{source: 'localhost:5000/acme', target: a}, {source: '127.0.0.1:5000', target: b}, {source: localhost, target: c}, {source: '[::1]:5000/acme', target: d}]\n", []string{`f.yaml:2: rules[0].source: "localhost:5000/acme" is a node-local registry: remove the rule`, "rules[1].source", "rules[2].source", `rules[3].source: "[::1]:5000/acme" is a node-local registry`}},
		"a rule for an IPv6 host":                     {reg + "rules: [{source: '[2001:db8::1]:5000/acme', target: a}, {source: '[2001:db8::1]', target: b}]\n", []string{`f.yaml:2: rules[0].source: "[2001:db8::1]:5000/acme" is on an IPv6 host`, "rules[1].source"}},
		"the same source twice":                       {reg + "rules: [{source: quay.io/a, target: p}]\nkeep: [quay.io/a]\n", []string{"keep[0]", "same source as rules[0].source"}},
		"two spellings of one source":                 {reg + "keep: [ghcr.io/castai/images/agent, us-docker.pkg.dev/castai-hub/library/agent]\n", []string{"keep[1]", "same source as keep[0]"}},
		"two equal targets":                           {reg + "rules: [{source: quay.io/a, target: p}, {source: quay.io/b, target: p}]\n", []string{"rules[1].target", "overlap"}},
		"two nested targets":                          {reg + "rules: [{source: quay.io/a, target: p/q}, {source: quay.io/b, target: p}]\n", []string{"rules[1].target", "overlap"}},
		"a target that looks like a host":             {reg + "rules: [{source: quay.io/a, target: docker.io/x}]\n", []string{"begins like a registry host"}},
		"a target that looks like a host with a port": {reg + "rules: [{source: quay.io/a, target: reg_5000/x}]\n", []string{"begins like a registry host"}},
		"an illegal target":                           {reg + "rules: [{source: quay.io/a, target: 'X y'}]\n", []string{"not a legal repository path"}},
		"a missing target":                            {reg + "rules: [{source: quay.io/a}]\n", []string{"rules[0].target: is missing"}},
		"a namespace that is a pattern":               {reg + "namespaces: ['castai-*']\n", []string{"namespaces[0]", "patterns are not supported"}},
		"the cluster's own namespace":                 {reg + "namespaces: [kube-system]\n", []string{"kube-system must not wait"}},
		"the webhook's own namespace":                 {reg + "namespaces: [castai-privatelink]\n", []string{"own namespace"}},
		"no namespace at all":                         {reg + "namespaces: []\n", []string{"no pod would be rewritten"}},
		"an env variable that is a pattern":           {reg + "envVars: ['*_IMAGE']\n", []string{"envVars[0]", "exact names"}},
		"a registry to track":                         {reg + "track: {repository: 'oci://registry.example.com/charts'}\n", []string{`track.repository: "oci://registry.example.com/charts" is no URL of a chart repository: write it like https://castai.github.io/helm-charts; registries (oci://) have no index`}},
		"a password in the repository":                {reg + "track: {repository: 'https://a:b@example.com'}\n", []string{"track.repository: has a user name or password"}},
		"a path as a chart":                           {reg + "track: {charts: [../x]}\n", []string{`track.charts[0]: "../x" is no name of a chart`}},
		"no version to track":                         {reg + "track: {newest: 0}\n", []string{"track.newest: want a number from 1, have 0 (int)"}},
		"versions without end":                        {reg + "track: {newest: 51}\n", []string{"track.newest: 51 is not from 1 to 50"}},
		"values of a chart that is not tracked":       {reg + "track: {charts: [a], values: {b: {}}}\n", []string{"track.values.b: is not among track.charts"}},
		"values that are none":                        {reg + "track: {values: {a: 1}}\n", []string{"track.values: want values by the names of charts, have keys and values"}},
		"values that Helm does not take":              {reg + "track: {values: {a: {b: {1: x}}}}\n", []string{"track.values: want values by the names of charts"}},
		"a setting of no repository":                  {reg + "repositories: {mutable: true}\n", []string{"repositories.mutable: unknown key"}},
		"settings that are none":                      {reg + "repositories: IMMUTABLE\n", []string{`repositories: want keys and values, have "IMMUTABLE"`}},
		"a truth that is text":                        {reg + "repositories: {scanOnPush: 'yes'}\n", []string{`repositories.scanOnPush: want true or false, have "yes"`}},
		"a truth that only its tag makes one":         {reg + "repositories: {scanOnPush: !!bool maybe}\n", []string{"repositories.scanOnPush: want true or false, have maybe (bool)"}},
		"a number that only its tag makes one":        {reg + "track: {newest: !!int many}\n", []string{"track.newest: want a number from 1, have many (int)"}},
		"tags that are a list":                        {reg + "repositories: {tags: [a]}\n", []string{"repositories.tags: want keys and values, have a list"}},
		"a tag that is a number":                      {reg + "repositories: {tags: {a: 1}}\n", []string{"repositories.tags.a: want text, have 1 (int)"}},
		"a tag twice":                                 {reg + "repositories: {tags: {a: x, a: y}}\n", []string{"repositories.tags.a: the key stands twice"}},
		"several faults, each reported":               {"registry: castai\nrule: []\nkeep: 5\n", []string{"registry: \"castai\" has no registry host", "rule: unknown key", "keep: want a list"}},
		"several faults of meaning, each reported":    {"registry: castai\nkeep: [acme]\nnamespaces: ['*']\n", []string{"registry:", "keep[0]:", "namespaces[0]:"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rewrite.Load("f.yaml", []byte(tc.text))
			var faults rewrite.Faults
			if !errors.As(err, &faults) || len(faults) == 0 {
				t.Fatalf("err = %v, want faults", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the faults\n%s\ndo not say %q", err, want)
				}
			}
			for _, f := range faults {
				if f.File != "f.yaml" || f.What == "" || f.Fix == "" {
					t.Errorf("fault without file, cause or remedy: %+v", f)
				}
			}
		})
	}
}

// A value of a wrong type is not reported as missing, too.
func TestAFieldThatCannotBeReadIsReportedOnce(t *testing.T) {
	_, err := rewrite.Load("f.yaml", []byte("registry: 5\nkeep: [acme]\n"))
	const want = "f.yaml:1: registry: want text, have 5 (int): put the value in quotes if it is meant as text\n" +
		"f.yaml:2: keep[0]: \"acme\" has no registry host: write it in full: Docker Hub images are docker.io/NAME/IMAGE or docker.io/library/IMAGE"
	if err == nil || err.Error() != want {
		t.Errorf("the faults\n%v\nwant\n%s", err, want)
	}
}

func TestValuesAtTheLimitsAreTaken(t *testing.T) {
	const reg = "registry: " + corpus.Registry + "\n"
	for name, text := range map[string]string{
		"the longest registry":                   "registry: " + ecr + "/" + strings.Repeat("a", 160-len(ecr)-1) + "\n",
		"the most versions":                      reg + "track: {newest: 50}\n",
		"one version":                            reg + "track: {newest: 1}\n",
		"values while all charts are tracked":    reg + "track: {values: {castai-agent: {a: b}}}\n",
		"a selector that requires a label":       reg + "namespaceSelector: {matchExpressions: [{key: a, operator: Exists}]}\n",
		"a selector that requires a value":       reg + "namespaceSelector: {matchExpressions: [{key: a, operator: In, values: [b]}]}\n",
		"a selector that also excludes a label":  reg + "namespaceSelector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: DoesNotExist}]}\n",
		"a selector of another one's, and yours": reg + "namespaceSelector: {matchLabels: {a.k8s.io/b: c, d: e}}\n",
	} {
		if _, err := rewrite.Load("f.yaml", []byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
