// SPDX-License-Identifier: Apache-2.0

//go:build aws

package aws

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/repo/v1"

	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/chartrepo"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/test/aws/emulator"
)

// charts is a bucket for a repository of charts, in which each version is kept.
type charts struct {
	url      string // of the emulator
	api      *s3.Client
	archives string // a folder: each version is packed once, because an archive has the time of its packing
}

func newCharts(t *testing.T) *charts {
	t.Helper()
	c := &charts{url: emulator.StartForTest(t), archives: t.TempDir()}
	c.api = s3Client(t, c.url)
	_, err := c.api.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("charts")})
	if err == nil {
		_, err = c.api.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String("charts"), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// publish serves versions of a chart. It returns the URL of the repository.
func (c *charts) publish(t *testing.T, versions ...string) string {
	t.Helper()
	index := "apiVersion: v1\nentries:\n  agent:\n"
	for _, v := range versions {
		name := "agent-" + v + ".tgz"
		if _, err := os.Stat(filepath.Join(c.archives, name)); err != nil {
			if _, err := chartutil.Save(&chartv2.Chart{Metadata: &chartv2.Metadata{APIVersion: "v2", Name: "agent", Version: v}}, c.archives); err != nil {
				t.Fatal(err)
			}
		}
		index += fmt.Sprintf("  - {name: agent, version: %q, urls: [%q]}\n", v, strings.ReplaceAll(name, "+", "%2B"))
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir(c.archives)))
	mux.HandleFunc("/index.yaml", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, index) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

// write runs the command for a repository and a prefix.
func write(ctx context.Context, repository, prefix string) (string, error) {
	rules, err := rewrite.New(rewrite.Config{Registry: host, Track: rewrite.Track{Repository: repository, Charts: []string{"agent"}, Newest: 10}})
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = chartrepo.Run(ctx, chartrepo.Options{Rules: rules, Cache: chart.Cache{}, Place: "s3://charts/" + prefix, Out: &out, Warnf: func(string, ...any) {}})
	return out.String(), err
}

// get reads an object of the bucket without credentials, as the operator does.
func (c *charts) get(t *testing.T, path string) ([]byte, int) {
	t.Helper()
	response, err := http.Get(c.url + "/charts/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return data, response.StatusCode
}

// index reads the index below a prefix as Helm does.
func (c *charts) index(t *testing.T, prefix string) *repo.IndexFile {
	t.Helper()
	text, status := c.get(t, prefix+"/index.yaml")
	file := filepath.Join(t.TempDir(), "index.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	index, err := repo.LoadIndexFile(file)
	if err != nil {
		t.Fatalf("status %d: %v", status, err)
	}
	return index
}

// check requires the versions in the index, and their archives with their digests.
func (c *charts) check(t *testing.T, prefix string, versions ...string) {
	t.Helper()
	found := c.index(t, prefix).Entries["agent"]
	if len(found) != len(versions) {
		t.Errorf("%d versions in %s, want %q", len(found), prefix, versions)
	}
	for i, e := range found {
		path, inBucket := strings.CutPrefix(e.URLs[0], "https://charts.s3.us-east-1.amazonaws.com/")
		if !inBucket {
			t.Errorf("%s is not in the bucket", e.URLs[0])
		}
		data, status := c.get(t, path)
		if digest := fmt.Sprintf("%x", sha256.Sum256(data)); e.Version != versions[i] || status != http.StatusOK || digest != e.Digest {
			t.Errorf("%s: status %d, digest %s, and the index has %s", e.Version, status, digest, e.Digest)
		}
	}
}

// written returns how often an object was written. None is ever deleted.
func (c *charts) written(t *testing.T, key string) (n int) {
	t.Helper()
	all, err := c.api.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("charts")})
	if err != nil || len(all.DeleteMarkers) > 0 {
		t.Errorf("deleted: %v, %v", all.DeleteMarkers, err)
	}
	for _, v := range all.Versions {
		if *v.Key == key {
			n++
		}
	}
	return n
}

func TestChartsInS3(t *testing.T) {
	c := newCharts(t)
	first := c.publish(t, "0.9.0", "0.10.0", "1.0.0+build.7", "1.0.0+build.8")
	if out, err := write(t.Context(), first, "a/b"); err != nil || !strings.Contains(out, "s3://charts/a/b: 4 versions of charts, 4 of them new") {
		t.Fatal(out, err)
	}
	if _, status := c.get(t, "a/b/index.yaml"); status != http.StatusForbidden {
		t.Errorf("without a policy, status %d", status)
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::charts/*"}]}`
	if _, err := c.api.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String("charts"), Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	c.check(t, "a/b", "1.0.0+build.8", "1.0.0+build.7", "0.10.0", "0.9.0")

	t.Run("without news, nothing is written", func(t *testing.T) {
		if out, err := write(t.Context(), first, "a/b/"); err != nil || !strings.Contains(out, "0 of them new") {
			t.Error(out, err)
		}
		for _, key := range []string{"a/b/index.yaml", "a/b/agent-0.9.0.tgz", "a/b/agent-1.0.0+build.7.tgz"} {
			if n := c.written(t, key); n != 1 {
				t.Errorf("%s was written %d times", key, n)
			}
		}
	})
	t.Run("what the chart repository has lost stays", func(t *testing.T) {
		if out, err := write(t.Context(), c.publish(t, "2.0.0"), "a/b"); err != nil || !strings.Contains(out, "5 versions of charts, 1 of them new") {
			t.Error(out, err)
		}
		c.check(t, "a/b", "2.0.0", "1.0.0+build.8", "1.0.0+build.7", "0.10.0", "0.9.0")
	})
	t.Run("runs at the same time", func(t *testing.T) { c.checkRunsAtATime(t) })
	t.Run("a run that is killed", func(t *testing.T) { c.checkKilledRun(t) })
	t.Run("other content under the name of an archive", func(t *testing.T) {
		_, err := c.api.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("charts"), Key: aws.String("other/agent-1.0.0.tgz"), Body: strings.NewReader("other")})
		if err != nil {
			t.Fatal(err)
		}
		if out, err := write(t.Context(), c.publish(t, "1.0.0", "2.0.0"), "other"); err == nil || !strings.Contains(err.Error(), "s3://charts/other/agent-1.0.0.tgz: there is other content under this name") || !strings.Contains(out, "1 of them new") {
			t.Error(out, err)
		}
		c.check(t, "other", "2.0.0")
		if data, _ := c.get(t, "other/agent-1.0.0.tgz"); string(data) != "other" {
			t.Errorf("it was replaced by %q", data)
		}
	})
	t.Run("a bucket that does not exist", func(t *testing.T) {
		rules, err := rewrite.New(rewrite.Config{Registry: host})
		if err != nil {
			t.Fatal(err)
		}
		if err := chartrepo.Run(t.Context(), chartrepo.Options{Rules: rules, Place: "s3://none"}); err == nil || !strings.Contains(err.Error(), "s3://none/*: the bucket") {
			t.Error(err)
		}
	})
}

// checkRunsAtATime requires that no run undoes what another has added.
func (c *charts) checkRunsAtATime(t *testing.T) {
	t.Helper()
	var all sync.WaitGroup
	for n := range 6 {
		repository := c.publish(t, "1.0.0", fmt.Sprintf("1.%d.0", n+1))
		all.Go(func() {
			if _, err := write(t.Context(), repository, "parallel"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	c.check(t, "parallel", "1.6.0", "1.5.0", "1.4.0", "1.3.0", "1.2.0", "1.1.0", "1.0.0")
	if n := c.written(t, "parallel/agent-1.0.0.tgz"); n != 1 {
		t.Errorf("an archive of all runs was written %d times", n)
	}
}

// checkKilledRun ends a run when it is about to write the index.
func (c *charts) checkKilledRun(t *testing.T) {
	t.Helper()
	if _, err := write(t.Context(), c.publish(t, "1.0.0"), "killed"); err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(c.url)
	if err != nil {
		t.Fatal(err)
	}
	ctx, kill := context.WithCancelCause(t.Context())
	killed := errors.New("killed")
	emulated := httputil.NewSingleHostReverseProxy(target)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/index.yaml") {
			kill(killed)
			panic(http.ErrAbortHandler)
		}
		emulated.ServeHTTP(w, r)
	}))
	defer s.Close()
	both := c.publish(t, "1.0.0", "2.0.0")
	t.Setenv("AWS_ENDPOINT_URL", s.URL)
	if out, err := write(ctx, both, "killed"); err == nil || !errors.Is(context.Cause(ctx), killed) {
		t.Error(out, err)
	}
	c.check(t, "killed", "1.0.0")
	t.Setenv("AWS_ENDPOINT_URL", c.url)
	if n := c.written(t, "killed/agent-2.0.0.tgz"); n != 1 {
		t.Errorf("the archive was written %d times before the index", n)
	}
	if out, err := write(t.Context(), both, "killed"); err != nil || !strings.Contains(out, "2 versions of charts, 1 of them new") {
		t.Error(out, err)
	}
	c.check(t, "killed", "2.0.0", "1.0.0")
}
