// SPDX-License-Identifier: Apache-2.0

//go:build compat && helm

package compat

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/internal/chartimage"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
	"github.com/castai/privatelink-webhook/test/e2e/framework/helm"
)

// chartVersions are what the public repository has: an umbrella chart with a component,
// and the component alone. A registry cannot have the plus of a build in a tag.
var chartVersions = []struct{ chart, version string }{
	{"castai", "0.43.1"}, {"castai-agent", "0.160.0"}, {"castai-agent", "0.161.0+build.7"},
}

// What mirror --charts and chart-repository write is what Helm 3 and Helm 4 read. The
// public repository is one that Helm has packed and indexed.
func TestChartsWithHelm(t *testing.T) {
	clients, program := helmClients(t), buildPrivatelink(t)
	p := newPublicCharts(t, clients)
	ecr := fakeecr.New(fakeecr.Options{})
	for name, place := range map[string]place{"distribution": {host: start(t, buildDistribution(t))}, "ECR": inECR(t, ecr)} {
		t.Run(name, func(t *testing.T) {
			m := mirrored{place: place, publicCharts: p, program: program, dir: t.TempDir()}
			m.want(t, exitcode.OK, "4 copied", "mirror", "--track", "--charts")
			m.want(t, exitcode.OK, "4 present", "check")
			for _, c := range clients {
				t.Run(c.name, func(t *testing.T) { m.read(t, c) })
			}
		})
	}
	t.Run("repositories in ECR", func(t *testing.T) {
		if got := strings.Join(ecr.Repositories(), " "); !strings.Contains(got, "castai/charts/castai castai/charts/castai-agent") {
			t.Error(got)
		}
	})
	t.Run("folder", func(t *testing.T) { testFolder(t, clients, program, p) })
	t.Run("tags that are taken", func(t *testing.T) { testTakenTags(t, clients, program) })
}

// helmClient is a version of Helm with folders of its own.
type helmClient struct {
	name, program string
	env           []string
}

func helmClients(t *testing.T) (clients []helmClient) {
	t.Helper()
	if err := helm.Build(t.Context(), root, t.Output(), helm.Majors()...); err != nil {
		t.Fatal(err)
	}
	for _, major := range helm.Majors() {
		program, err := helm.Path(root, major)
		if err == nil {
			program, err = filepath.Abs(program)
		}
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		env := []string{"HOME=" + dir, "DOCKER_CONFIG=" + dir, "HELM_CACHE_HOME=" + dir, "HELM_CONFIG_HOME=" + dir, "HELM_DATA_HOME=" + dir}
		clients = append(clients, helmClient{fmt.Sprintf("Helm %d", major), program, env})
	}
	return clients
}

// with returns the client with further variables.
func (h helmClient) with(env []string) helmClient {
	h.env = append(append([]string{}, h.env...), env...)
	return h
}

// run returns standard output, and what is reported next to it.
func (h helmClient) run(t *testing.T, args ...string) (out, report string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), h.program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), h.env...), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v\n%s", h.name, args, err, &stderr)
	}
	return stdout.String(), stderr.String()
}

func buildPrivatelink(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "privatelink")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/privatelink")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// publicCharts is a chart repository, and the registry of the image that all charts name.
type publicCharts struct {
	dir, url, registry string
	client             helmClient
}

func newPublicCharts(t *testing.T, clients []helmClient) publicCharts {
	t.Helper()
	images := fakeregistry.Start(t)
	fakeregistry.Push(t, images.Host+"/castai/agent:v1", fakeregistry.MultiArch(t, 3000, 1))
	p := publicCharts{dir: t.TempDir(), registry: strings.Replace(images.Host, "127.0.0.1", "0.0.0.0", 1), client: clients[0]}
	s := httptest.NewServer(http.FileServer(http.Dir(p.dir)))
	t.Cleanup(s.Close)
	p.url = s.URL
	for n, v := range chartVersions {
		p.client = clients[n%len(clients)]
		p.publish(t, v.chart, v.version, "An agent")
	}
	return p
}

// publish packs a version, and writes the index again.
func (p publicCharts) publish(t *testing.T, chart, version, description string) {
	t.Helper()
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {name: '{{ .Chart.Name }}'}\nspec: {containers: [{name: a, image: " + p.registry + "/castai/agent:v1}]}\n"
	files := map[string]string{"Chart.yaml": "apiVersion: v2\nname: " + chart + "\nversion: " + version + "\ndescription: " + description + "\n", "templates/pod.yaml": pod}
	if chart == "castai" {
		files["Chart.yaml"] += "dependencies: [{name: castai-agent, version: 0.160.0}]\n"
		files["charts/castai-agent/Chart.yaml"] = "apiVersion: v2\nname: castai-agent\nversion: 0.160.0\n"
		files["charts/castai-agent/templates/pod.yaml"] = pod
	}
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, chart, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	p.client.run(t, "package", filepath.Join(dir, chart), "--destination", p.dir)
	p.client.run(t, "repo", "index", p.dir)
}

func (p publicCharts) archive(t *testing.T, chart, version string) []byte {
	t.Helper()
	return readFile(t, filepath.Join(p.dir, chart+"-"+version+".tgz"))
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// place is a registry to mirror to.
type place struct {
	host  string
	env   []string // with which clients reach it
	login []string // flags of Helm
}

// inECR returns a place in ECR. Its server is the proxy of the clients, because the
// registry protocol is spoken with the host of the registry.
func inECR(t *testing.T, s *fakeecr.Server) place {
	t.Helper()
	url, stop := s.Start()
	t.Cleanup(stop)
	absent := filepath.Join(t.TempDir(), "absent")
	return place{s.Host(), []string{
		"HTTP_PROXY=" + url, "NO_PROXY=0.0.0.0,127.0.0.1", "AWS_ENDPOINT_URL=" + url, "AWS_ACCESS_KEY_ID=AKIDTEST", "AWS_SECRET_ACCESS_KEY=s", "AWS_SESSION_TOKEN=",
		"AWS_PROFILE=", "AWS_CONFIG_FILE=" + absent, "AWS_SHARED_CREDENTIALS_FILE=" + absent, "AWS_EC2_METADATA_DISABLED=true",
	}, []string{"--username=AWS", "--password=" + s.Token()}}
}

// mirrored is the public repository in a place.
type mirrored struct {
	place
	publicCharts
	program, dir string
}

func (m mirrored) lockFile() string { return filepath.Join(m.dir, "privatelink.lock.yaml") }

// run runs the product.
func (m mirrored) run(t *testing.T, args ...string) (output string, code int) {
	t.Helper()
	config := filepath.Join(m.dir, "privatelink.yaml")
	if err := os.WriteFile(config, []byte("registry: "+m.host+"/castai\ntrack: {repository: '"+m.url+"', charts: [castai, castai-agent], newest: 10}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args = append(args, "--config="+config)
	if args[0] == "mirror" || args[0] == "check" {
		args = append(args, "--no-webhook-image", "--lock="+m.lockFile(), "--plain-http="+m.registry, "--plain-http="+m.host)
	}
	cmd := exec.CommandContext(t.Context(), m.program, args...)
	cmd.Env = append(append(os.Environ(), "XDG_CACHE_HOME="+m.dir), m.env...)
	text, err := cmd.CombinedOutput()
	if _, isExit := errors.AsType[*exec.ExitError](err); err != nil && !isExit {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

func (m mirrored) want(t *testing.T, code int, text string, args ...string) {
	t.Helper()
	if output, got := m.run(t, args...); got != code || !strings.Contains(output, text) {
		t.Fatalf("privatelink %v: exit code %d, want %d and %q\n%s", args, got, code, text, output)
	}
}

// read does with the mirrored charts what users do with Helm.
func (m mirrored) read(t *testing.T, c helmClient) {
	c = c.with(m.env)
	flags := append([]string{"--plain-http"}, m.login...)
	l, err := lock.Read(m.lockFile())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range chartVersions {
		ref, dir := "oci://"+m.host+"/castai/charts/"+v.chart, t.TempDir()
		want := m.archive(t, v.chart, v.version)
		e, ok := l.Lookup(chartimage.Reference(v.chart, v.version), "")
		if !ok || e.Chart.Digest != digest.FromBytes(want) {
			t.Fatalf("%s %s in the lock: %+v", v.chart, v.version, e)
		}
		out, report := c.run(t, append([]string{"pull", ref, "--version=" + v.version, "--destination=" + dir}, flags...)...)
		if !strings.Contains(out+report, "Digest: "+e.Digest.String()) {
			t.Errorf("%s %s: want %s\n%s%s", v.chart, v.version, e.Digest, out, report)
		}
		if got := readFile(t, filepath.Join(dir, v.chart+"-"+v.version+".tgz")); !bytes.Equal(got, want) {
			t.Errorf("%s %s: the archive differs from that of the repository", v.chart, v.version)
		}
		public, _ := c.run(t, "template", "r", v.chart, "--repo="+m.url, "--version="+v.version)
		if rendered, _ := c.run(t, append([]string{"template", "r", ref, "--version=" + v.version}, flags...)...); rendered != public {
			t.Errorf("%s %s renders\n%s\nwant\n%s", v.chart, v.version, rendered, public)
		}
	}
	// The newest version of a range is found by the tags.
	shown, _ := c.run(t, append([]string{"show", "chart", "oci://" + m.host + "/castai/charts/castai-agent", "--version=>=0.160.0"}, flags...)...)
	if !strings.Contains(shown, "version: 0.161.0+build.7") {
		t.Error(shown)
	}
}

// A folder that a web server serves is a repository for Helm, and for clients like those of
// the operator and the cluster controller, which are Go's HTTP client alone.
func testFolder(t *testing.T, clients []helmClient, program string, p publicCharts) {
	folder := filepath.Join(t.TempDir(), "charts")
	m := mirrored{place: place{host: "registry.example.com"}, publicCharts: p, program: program, dir: t.TempDir()}
	m.want(t, exitcode.OK, "3 versions of charts, 3 of them new", "chart-repository", folder)
	s := httptest.NewServer(http.StripPrefix("/helm", http.FileServer(http.Dir(folder))))
	defer s.Close()
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			c.run(t, "repo", "add", "mirror", s.URL+"/helm")
			listed, _ := c.run(t, "search", "repo", "mirror/", "--versions")
			for _, v := range chartVersions {
				dir := t.TempDir()
				c.run(t, "pull", "mirror/"+v.chart, "--version="+v.version, "--destination="+dir)
				if got := readFile(t, filepath.Join(dir, v.chart+"-"+v.version+".tgz")); !bytes.Equal(got, p.archive(t, v.chart, v.version)) {
					t.Errorf("%s %s: the archive differs from that of the repository", v.chart, v.version)
				}
				public, _ := c.run(t, "template", "r", v.chart, "--repo="+p.url, "--version="+v.version)
				if rendered, _ := c.run(t, "template", "r", "mirror/"+v.chart, "--version="+v.version); rendered != public || !strings.Contains(listed, v.version) {
					t.Errorf("%s %s renders\n%s\nwant\n%s\nlisted:\n%s", v.chart, v.version, rendered, public, listed)
				}
			}
		})
	}
	t.Run("a plain HTTP client", func(t *testing.T) {
		for _, v := range chartVersions {
			if got := fetchChart(t, s.URL+"/helm", v.chart, v.version); !bytes.Equal(got, p.archive(t, v.chart, v.version)) {
				t.Errorf("%s %s differs", v.chart, v.version)
			}
		}
	})
}

// fetchChart fetches a chart as the operator and the cluster controller do: index.yaml, and
// the first URL of the version, which may be relative to the repository.
func fetchChart(t *testing.T, repository, chart, version string) []byte {
	t.Helper()
	var index struct {
		Entries map[string][]struct {
			Version, Digest string
			URLs            []string
		}
	}
	if err := yaml.Unmarshal(get(t, repository+"/index.yaml"), &index); err != nil {
		t.Fatal(err)
	}
	for _, e := range index.Entries[chart] {
		if e.Version == version {
			data := get(t, repository+"/"+e.URLs[0])
			if sum := fmt.Sprintf("%x", sha256.Sum256(data)); sum != e.Digest {
				t.Errorf("%s %s has %s, and the index says %s", chart, version, sum, e.Digest)
			}
			return data
		}
	}
	t.Fatalf("the index has no %s %s", chart, version)
	return nil
}

func get(t *testing.T, url string) []byte {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(url, response.Status, err)
	}
	return data
}

// A tag that has something else is kept, and the message says what to do. Helm itself
// writes another manifest for the same archive, with the time.
func testTakenTags(t *testing.T, clients []helmClient, program string) {
	p, ecr := newPublicCharts(t, clients), fakeecr.New(fakeecr.Options{})
	m := mirrored{place: inECR(t, ecr), publicCharts: p, program: program, dir: t.TempDir()}
	const repository, tag = "castai/charts/castai-agent", "0.160.0"
	keeps := func(text string, flags ...string) {
		t.Helper()
		before := ecr.Tag(repository, tag)
		m.want(t, exitcode.Failed, text, append([]string{"mirror", "--track", "--charts"}, flags...)...)
		if ecr.Tag(repository, tag) != before || ecr.Tag(repository, "0.161.0_build.7") == "" {
			t.Error("the tag has changed, or the other version was not copied")
		}
	}
	ecr.Create(repository)
	clients[0].with(m.env).run(t, append([]string{"push", filepath.Join(p.dir, "castai-agent-0.160.0.tgz"), "oci://" + m.host + "/castai/charts", "--plain-http"}, m.login...)...)
	keeps("use --overwrite to move the tag")
	m.want(t, exitcode.OK, "1 copied, 3 present before", "mirror", "--track", "--charts", "--overwrite")
	m.read(t, clients[0])

	p.publish(t, "castai-agent", tag, "Another agent")
	keeps("has replaced the archive of this version")
	ecr.SetImmutable(repository)
	keeps("to replace it, delete it in the registry first", "--update", "--overwrite")
	l, err := lock.Read(m.lockFile())
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := l.Lookup(chartimage.Reference("castai-agent", tag), ""); !ok || e.Digest != ecr.Tag(repository, tag) {
		t.Errorf("the lock has %+v", e)
	}
}
