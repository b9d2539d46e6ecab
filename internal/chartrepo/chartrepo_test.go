// SPDX-License-Identifier: Apache-2.0

package chartrepo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/gofrs/flock"
	"github.com/opencontainers/go-digest"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/repo/v1"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/mirror/lockstore"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/s3bucket"
)

// upstream is a chart repository that a test changes.
type upstream struct {
	dir, url string
	served   string // the address of the written folder, if it is to be in the index
	entries  []string
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{dir: t.TempDir(), served: "https://charts.example.com"}
	s := httptest.NewServer(http.FileServer(http.Dir(u.dir)))
	t.Cleanup(s.Close)
	u.url = s.URL
	return u
}

// publish adds a version to the index, under the name and version of it or, if they are
// given, under others.
func (u *upstream) publish(t *testing.T, version, description, listedAs string) {
	t.Helper()
	file, err := chartutil.Save(&chartv2.Chart{Metadata: &chartv2.Metadata{APIVersion: "v2", Name: "agent", Version: version, Description: description}}, u.dir)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if listedAs == "" {
		listedAs = version
	}
	u.entries = append(u.entries, fmt.Sprintf("  - {version: %q, urls: [%q], digest: %x, created: \"2026-01-%02dT00:00:00Z\"}\n",
		listedAs, strings.ReplaceAll(filepath.Base(file), "+", "%2B"), sha256.Sum256(data), len(u.entries)+1))
	u.write(t)
}

func (u *upstream) write(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(u.dir, "index.yaml"), []byte("apiVersion: v1\nentries:\n  agent:\n"+strings.Join(u.entries, "")), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (u *upstream) run(t *testing.T, place string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	o := u.options(t, place)
	o.Out = &out
	err := Run(t.Context(), o)
	return out.String(), err
}

func (u *upstream) options(t *testing.T, place string) Options {
	t.Helper()
	rules, err := rewrite.New(rewrite.Config{Registry: "registry.example.com/castai", Track: rewrite.Track{Repository: u.url, Charts: []string{"agent"}, Newest: 10}})
	if err != nil {
		t.Fatal(err)
	}
	return Options{Rules: rules, Cache: chart.Cache{}, Place: place, URL: u.served, Out: io.Discard, Warnf: t.Logf}
}

// content returns the files of a folder, without that of the lock.
func content(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if e.Name() != lockFile {
			all[e.Name()] = string(data)
		}
	}
	return all
}

func names(all map[string]string) (names []string) {
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// fetch does what the operator does in the cluster: it reads the index by plain HTTP, and
// gets the URL of a version as it stands there. It also compares the digest.
func fetch(ctx context.Context, repository, name, version string) error {
	get := func(address string) ([]byte, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
		if err != nil {
			return nil, err
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s: %s", address, response.Status)
		}
		return io.ReadAll(response.Body)
	}
	text, err := get(repository + "/index.yaml")
	if err != nil {
		return err
	}
	var index struct {
		Entries map[string][]struct {
			Version, Digest string
			URLs            []string
		}
	}
	if err := yaml.Unmarshal(text, &index); err != nil {
		return err
	}
	for _, e := range index.Entries[name] {
		if e.Version != version {
			continue
		}
		data, err := get(e.URLs[0])
		if err == nil && fmt.Sprintf("%x", sha256.Sum256(data)) != e.Digest {
			err = errors.New("the digest differs")
		}
		return err
	}
	return fmt.Errorf("no %s %s in\n%s", name, version, text)
}

func TestARepositoryForPlainHTTP(t *testing.T) {
	u, folder := newUpstream(t), t.TempDir()
	s := httptest.NewServer(http.StripPrefix("/charts", http.FileServer(http.Dir(folder))))
	defer s.Close()
	for _, v := range []string{"0.9.0", "0.10.0", "1.0.0+build.7"} {
		u.publish(t, v, "An agent: 'quoted'", "")
	}
	u.served = ""
	out, err := u.run(t, folder)
	if err != nil || !strings.Contains(out, "3 versions of charts, 3 of them new") {
		t.Fatal(out, err)
	}
	if err := fetch(t.Context(), s.URL+"/charts", "agent", "0.9.0"); err == nil {
		t.Error("a client that does not resolve addresses finds an archive without --url")
	}
	u.served = s.URL + "/charts/"
	if out, err := u.run(t, folder); err != nil || !strings.Contains(out, "3 versions of charts, 0 of them new") {
		t.Fatal(out, err)
	}
	for _, v := range []string{"0.9.0", "0.10.0", "1.0.0+build.7"} {
		if err := fetch(t.Context(), s.URL+"/charts", "agent", v); err != nil {
			t.Error(err)
		}
	}
	// As Helm reads it.
	index, err := repo.LoadIndexFile(filepath.Join(folder, "index.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	newest, err := index.Get("agent", "")
	if err != nil || newest.Version != "1.0.0+build.7" || newest.Description != "An agent: 'quoted'" || newest.Created.Day() != 3 || !index.Generated.Equal(newest.Created) {
		t.Errorf("%+v, %v", newest, err)
	}
}

// Nothing new changes no byte, and what the repository has lost stays.
func TestWhatIsThereStays(t *testing.T) {
	u, folder := newUpstream(t), t.TempDir()
	u.publish(t, "1.0.0", "", "")
	u.publish(t, "1.1.0", "", "")
	if _, err := u.run(t, folder); err != nil {
		t.Fatal(err)
	}
	before := content(t, folder)
	info, err := os.Stat(filepath.Join(folder, "index.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := u.run(t, folder); err != nil || !strings.Contains(out, "2 versions of charts, 0 of them new") {
		t.Error(out, err)
	}
	again, err := os.Stat(filepath.Join(folder, "index.yaml"))
	if err != nil || !os.SameFile(info, again) {
		t.Error("the index was written again", err)
	}
	u.entries = u.entries[1:]
	u.publish(t, "1.2.0", "", "")
	if out, err := u.run(t, folder); err != nil || !strings.Contains(out, "3 versions of charts, 1 of them new") {
		t.Error(out, err)
	}
	after := content(t, folder)
	if got := names(after); !slices.Equal(got, []string{"agent-1.0.0.tgz", "agent-1.1.0.tgz", "agent-1.2.0.tgz", "index.yaml"}) || after["agent-1.0.0.tgz"] != before["agent-1.0.0.tgz"] {
		t.Error(got)
	}
	// An archive that was removed comes back.
	if err := os.Remove(filepath.Join(folder, "agent-1.2.0.tgz")); err != nil {
		t.Fatal(err)
	}
	if _, err := u.run(t, folder); err != nil || content(t, folder)["agent-1.2.0.tgz"] != after["agent-1.2.0.tgz"] {
		t.Error(err)
	}
}

// What is wrong with a version is that version's trouble alone.
func TestVersionsThatAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(t *testing.T, u *upstream)
		want   string
	}{
		"replaced": {func(t *testing.T, u *upstream) {
			u.entries = nil
			u.publish(t, "1.0.0", "another", "")
		}, "has replaced the archive of this version"},
		"another digest than the index says": {func(t *testing.T, u *upstream) {
			u.entries = append(u.entries, fmt.Sprintf("  - {version: 1.1.0, urls: [agent-1.0.0.tgz], digest: %q}\n", strings.Repeat("0", 64)))
			u.write(t)
		}, "the repository's index says 000"},
		"another version than the index says": {func(t *testing.T, u *upstream) {
			u.publish(t, "1.1.1", "", "1.1.0")
		}, "its Chart.yaml says agent 1.1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, folder := newUpstream(t), t.TempDir()
			u.publish(t, "1.0.0", "", "")
			if _, err := u.run(t, folder); err != nil {
				t.Fatal(err)
			}
			before := content(t, folder)
			tc.change(t, u)
			u.publish(t, "2.0.0", "", "")
			out, err := u.run(t, folder)
			if exitcode.Code(err) != exitcode.Failed || !strings.Contains(err.Error(), tc.want) || !strings.Contains(out, "2 versions of charts, 1 of them new") {
				t.Errorf("%s, %v", out, err)
			}
			after := content(t, folder)
			if got := names(after); !slices.Equal(got, []string{"agent-1.0.0.tgz", "agent-2.0.0.tgz", "index.yaml"}) || after["agent-1.0.0.tgz"] != before["agent-1.0.0.tgz"] {
				t.Error(got)
			}
		})
	}
}

// A version that is listed twice counts once.
func TestAVersionThatIsListedTwice(t *testing.T) {
	u, folder := newUpstream(t), t.TempDir()
	u.publish(t, "1.0.0", "", "")
	u.entries = append(u.entries, u.entries[0])
	u.write(t)
	if out, err := u.run(t, folder); err != nil || !strings.Contains(out, "1 versions of charts, 1 of them new") {
		t.Error(out, err)
	}
}

// Runs at the same time lose no version.
func TestTwoRunsAtATime(t *testing.T) {
	folder := t.TempDir()
	var all sync.WaitGroup
	for n := range 8 {
		u := newUpstream(t)
		u.publish(t, fmt.Sprintf("1.%d.0", n), "", "")
		all.Go(func() {
			if _, err := u.run(t, folder); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	index, err := repo.LoadIndexFile(filepath.Join(folder, "index.yaml"))
	if err != nil || len(index.Entries["agent"]) != 8 || index.Entries["agent"][0].Version != "1.7.0" {
		t.Errorf("%+v, %v", index, err)
	}
}

// A folder with an index.yaml of something else is not touched.
func TestAFolderOfSomethingElse(t *testing.T) {
	for _, text := range []string{"", "entries: [", "kind: Pod\n", "apiVersion: v1\nentries: {}\n"} {
		u, folder := newUpstream(t), t.TempDir()
		u.publish(t, "1.0.0", "", "")
		if err := os.WriteFile(filepath.Join(folder, "index.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := u.run(t, folder); err == nil || !strings.Contains(err.Error(), "name another place, or remove the file") {
			t.Errorf("%q: %v", text, err)
		}
		if after := content(t, folder); len(after) != 1 || after["index.yaml"] != text {
			t.Errorf("%q: %v", text, names(after))
		}
	}
}

// A run that has to wait says so, and then goes on.
func TestARunThatWaitsSaysSo(t *testing.T) {
	u, folder := newUpstream(t), t.TempDir()
	u.publish(t, "1.0.0", "", "")
	other := flock.New(filepath.Join(folder, lockFile))
	if err := other.Lock(); err != nil {
		t.Fatal(err)
	}
	o, warnings := u.options(t, folder), []string{}
	o.Warnf = func(format string, args ...any) {
		warnings = append(warnings, fmt.Sprintf(format, args...))
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := Run(t.Context(), o); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "another run writes "+folder) {
		t.Error(warnings, err)
	}
	if got := names(content(t, folder)); !slices.Equal(got, []string{"agent-1.0.0.tgz", "index.yaml"}) {
		t.Error(got)
	}
}

// A chart is offered once its images are mirrored.
func TestVersionsWaitForTheirImages(t *testing.T) {
	for name, tc := range map[string]struct {
		tracked map[string]string
		want    []string
		left    int // versions that wait
		wantErr string
	}{
		"up to a version": {map[string]string{"agent": "1.9.0"}, []string{"agent-1.2.0.tgz", "agent-1.9.0.tgz", "index.yaml"}, 1, ""},
		"another chart":   {map[string]string{"other": "9.0.0"}, nil, 3, "run privatelink mirror --track --lock"},
		"no lock":         {nil, nil, 3, "run privatelink mirror --track --lock"},
	} {
		t.Run(name, func(t *testing.T) {
			u, folder := newUpstream(t), t.TempDir()
			for _, v := range []string{"1.2.0", "1.10.0", "1.9.0"} {
				u.publish(t, v, "", "")
			}
			o, left := u.options(t, folder), 0
			store := lockstore.File(filepath.Join(t.TempDir(), "lock.yaml"))
			if tc.tracked != nil {
				l := &lock.Lock{Registry: "registry.example.com/castai", Tracked: tc.tracked, Images: []lock.Entry{{
					Source: "quay.io/a/b:1", Target: "registry.example.com/castai/b:1", Digest: digest.Digest("sha256:" + strings.Repeat("0", 64)), MediaType: "m",
				}}}
				if err := store.Write(t.Context(), l); err != nil {
					t.Fatal(err)
				}
			}
			o.Lock, o.Warnf = store, func(string, ...any) { left++ }
			err := Run(t.Context(), o)
			if (err == nil) != (tc.wantErr == "") || err != nil && !strings.Contains(err.Error(), tc.wantErr) {
				t.Error(err)
			}
			if got := names(content(t, folder)); !slices.Equal(got, tc.want) || left != tc.left {
				t.Errorf("%v, %d left out", got, left)
			}
		})
	}
}

func TestPlaces(t *testing.T) {
	for name, want := range map[string]string{
		"charts": "charts", "s3://my-charts": "s3://my-charts", "s3://my-charts/": "s3://my-charts", "s3://my-charts/a/b_c.d/": "s3://my-charts/a/b_c.d",
		"s3://": "", "s3://UPPER": "", "s3:///prefix": "", "s3://my-charts//a": "", "s3://my-charts/../a": "", "s3://my-charts/a b": "", "s3://my-charts/.": "",
		"https://example.com/charts": "",
	} {
		p, err := open(Options{Place: name})
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "s3://BUCKET") {
				t.Errorf("%s: %v, %v", name, p, err)
			}
			continue
		}
		if err != nil || p.String() != want || p.at("index.yaml") != want+"/index.yaml" {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	u := newUpstream(t)
	if _, err := u.run(t, "gs://charts"); exitcode.Code(err) != exitcode.Usage {
		t.Error(err)
	}
}

// busy is a place whose index another run replaces each time.
type busy struct {
	folder
	tries int
}

func (b *busy) replaceIndex(context.Context, []byte) error { b.tries++; return s3bucket.ErrChanged }

func TestRunsThatNeverEndAreGivenUp(t *testing.T) {
	b := &busy{folder: folder(t.TempDir())}
	i, err := readIndex(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	version := entry{of: chart.Version{Chart: "agent", Version: "1.0.0"}, fields: map[string]any{"version": "1.0.0"}}
	if _, _, err := i.commit(t.Context(), b, "", []entry{version}); err == nil || b.tries != maxAttempts || !strings.Contains(err.Error(), "see which schedules write it") {
		t.Error(b.tries, err)
	}
}

func TestAddressesThatAreRefused(t *testing.T) {
	for _, address := range []string{"charts.example.com", "oci://charts.example.com", "https://", "https://ann:secret@charts.example.com", "https://charts.example.com?a=b", "https://%zz"} {
		folder := filepath.Join(t.TempDir(), "charts")
		u := newUpstream(t)
		u.served = address
		if _, err := u.run(t, folder); exitcode.Code(err) != exitcode.Usage || strings.Contains(fmt.Sprint(err), "want") == strings.Contains(fmt.Sprint(err), "leave") && !strings.Contains(address, "%") {
			t.Errorf("%s: %v", address, err)
		}
		if _, err := os.Stat(folder); err == nil {
			t.Errorf("%s: the folder was created", address)
		}
	}
}

func TestAddressOfABucket(t *testing.T) {
	for region, want := range map[string]string{
		"us-east-1": "https://acme-charts.s3.us-east-1.amazonaws.com/castai", "cn-north-1": "https://acme-charts.s3.cn-north-1.amazonaws.com.cn/castai",
	} {
		if got := s3bucket.NewWithClient("acme-charts", s3.New(s3.Options{Region: region})).URL("castai"); got != want || checkURL(got) != nil {
			t.Errorf("%s: %s, want %s", region, got, want)
		}
	}
}
