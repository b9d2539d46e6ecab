// SPDX-License-Identifier: Apache-2.0

package chartpush

import (
	"bytes"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
	helmregistry "helm.sh/helm/v4/pkg/registry"

	"github.com/castai/privatelink-webhook/deploy/chart"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// TestHelmPullsWhatIsPushed takes reference and version from the line that is printed.
func TestHelmPullsWhatIsPushed(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HELM_CONFIG_HOME", t.TempDir())
	server := fakeregistry.Start(t)
	run := func() string {
		t.Helper()
		var out bytes.Buffer
		if err := Run(t.Context(), Options{To: "oci://" + server.Host + "/charts", Out: &out}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	first := run()
	line := regexp.MustCompile(`\n  helm pull oci://(\S+) --version (\S+) --plain-http\n`).FindStringSubmatch(first)
	if line == nil {
		t.Fatalf("no line to pull it with:\n%s", first)
	}
	c, err := helmregistry.NewClient(helmregistry.ClientOptPlainHTTP())
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := c.Pull(line[1] + ":" + line[2])
	if err != nil {
		t.Fatal(err)
	}
	want, err := chart.Archive()
	if err != nil || !bytes.Equal(pulled.Chart.Data, want) {
		t.Errorf("the pulled archive differs, %v", err)
	}
	loaded, err := loader.LoadArchive(bytes.NewReader(pulled.Chart.Data))
	if err != nil || loaded.Name() != pulled.Chart.Meta.Name || loaded.Metadata.Version != pulled.Chart.Meta.Version {
		t.Errorf("%v: config %+v", err, pulled.Chart.Meta)
	}
	if !strings.Contains(first, " pushed\n") || !strings.Contains(first, pulled.Manifest.Digest) {
		t.Errorf("output:\n%s", first)
	}
	server.ResetLog()
	if second := run(); second != strings.Replace(first, " pushed\n", " already present\n", 1) {
		t.Errorf("the second push prints\n%s", second)
	}
	for _, r := range server.Log() {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			t.Errorf("the second push sends %s %s", r.Method, r.Path)
		}
	}
}

// connect returns a client for a fake ECR, and the API of it.
func connect(t *testing.T, s *fakeecr.Server, prefix string, settings awsecr.Settings) (*registry.Client, *awsecr.Registry) {
	t.Helper()
	ecr, err := awsecr.New(t.Context(), awsecr.Config{Prefix: prefix, Settings: func(string) awsecr.Settings { return settings }})
	if err != nil {
		t.Fatal(err)
	}
	login, err := awsecr.NewLogin(awsecr.LoginConfig{Known: []*awsecr.Registry{ecr}})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: s.Dial}
	t.Cleanup(transport.CloseIdleConnections)
	return registry.New(registry.Options{Credential: login.Credential, Transport: login.Transport(transport), PlainHTTP: func(string) bool { return true }}), ecr
}

// GHCR was seen not to find a manifest right after it was written.
// https://github.com/Infomaniak/cert-manager-webhook-infomaniak/pull/29
func TestTheChartIsReadAgainUntilItIsThere(t *testing.T) {
	server := fakeregistry.Start(t)
	server.SetFault(fakeregistry.AppearLate(2))
	var out bytes.Buffer
	if err := Run(t.Context(), Options{To: "oci://" + server.Host + "/charts", Out: &out}); err != nil || !strings.Contains(out.String(), " pushed\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestTheRepositoryIsCreatedInECR(t *testing.T) {
	s := fakeecr.New(fakeecr.Options{})
	s.StartTest(t)
	prefix := s.Host() + "/charts"
	client, ecr := connect(t, s, prefix, awsecr.Settings{TagMutability: "IMMUTABLE"})
	repository := prefix + "/" + chart.Name
	first, err := push(t.Context(), client, ecr, repository, false)
	if err != nil {
		t.Fatal(err)
	}
	if have := s.Tag("charts/"+chart.Name, first.tag); have != first.digest || !first.isNew {
		t.Errorf("the tag is %s, pushed was %+v", have, first)
	}
	second, err := push(t.Context(), client, ecr, repository, false)
	if err != nil || second.isNew || second.digest != first.digest {
		t.Errorf("pushed again: %+v, %v", second, err)
	}
	if n := s.Counts()[fakeecr.PutImage]; n != 1 {
		t.Errorf("%d manifests were written", n)
	}
	var out bytes.Buffer
	if err := first.print(&out, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"aws ecr get-login-password --region " + s.Region + " | helm registry login --username AWS --password-stdin " + s.Host() + "\n", "helm pull oci://" + repository + " --version "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, &out)
		}
	}
}

// A tag that refers to something else is not moved, unless that is asked for.
func TestAnotherChartIsNotReplaced(t *testing.T) {
	server := fakeregistry.Start(t)
	client := registry.New(registry.Options{})
	repository := server.Host + "/charts/" + chart.Name
	metadata, err := chart.ReadMetadata()
	if err != nil {
		t.Fatal(err)
	}
	fakeregistry.Push(t, repository+":"+metadata.Version, fakeregistry.MultiArch(t, 100, 1))
	if _, err := push(t.Context(), client, nil, repository, false); err == nil || !strings.Contains(err.Error(), "--overwrite") {
		t.Errorf("error %v", err)
	}
	if p, err := push(t.Context(), client, nil, repository, true); err != nil || !p.isNew {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestDestinationsThatAreNone(t *testing.T) {
	for _, to := range []string{"", "oci://", "example.com/charts", "oci://example.com/Charts", "oci://example.com/charts/", "oci://example.com/charts:1", "https://example.com"} {
		if err := Run(t.Context(), Options{To: to}); err == nil || !strings.Contains(err.Error(), "--push") {
			t.Errorf("%q: error %v", to, err)
		}
	}
}
