// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/repo/v1"
)

// packed makes archives of testdata/agent in dir, one for each version.
func packed(t *testing.T, dir string, versions ...string) (paths []string) {
	t.Helper()
	for _, v := range versions {
		c, err := loader.Load("testdata/agent")
		if err != nil {
			t.Fatal(err)
		}
		c.Metadata.Version, c.Metadata.AppVersion = v, "v"+v
		path, err := chartutil.Save(c, dir)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// repository serves charts in three versions with an index that Helm made.
// change may spoil the index or the archives.
func repository(t *testing.T, change func(dir string, index *repo.IndexFile)) *httptest.Server {
	t.Helper()
	dir := t.TempDir()
	packed(t, dir, "1.1.0", "1.10.0", "2.0.0-rc.1")
	index, err := repo.IndexDirectory(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(dir, index)
	}
	if err := index.WriteFile(filepath.Join(dir, "index.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := http.StripPrefix("/charts", http.FileServer(http.Dir(dir)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, ok := r.BasicAuth(); ok && password != "secret" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestVersionsOfARepository(t *testing.T) {
	server := repository(t, nil)
	for name, tc := range map[string]struct{ repo, version, want string }{
		"the newest is taken, but no pre-release": {"/charts", "", "1.10.0"},
		"a slash at the end does no harm":         {"/charts/", "", "1.10.0"},
		"a version is taken as it is":             {"/charts", "1.1.0", "1.1.0"},
		"the newest of a range is taken":          {"/charts", "~1.1", "1.1.0"},
		"a pre-release is taken if it is named":   {"/charts", "2.0.0-rc.1", "2.0.0-rc.1"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Render(t.Context(), Options{Chart: "agent", Repo: server.URL + tc.repo, Version: tc.version})
			if err != nil {
				t.Fatal(err)
			}
			if got.Version != tc.want {
				t.Errorf("rendered %s, want %s", got.Version, tc.want)
			}
			if all := strings.Join(images(got), "\n"); !strings.Contains(all, "/agent:v"+tc.want) {
				t.Errorf("no agent of %s in\n%s", tc.want, all)
			}
		})
	}
}

func TestRepositoriesThatFail(t *testing.T) {
	first := func(index *repo.IndexFile) *repo.ChartVersion {
		index.SortEntries()
		return index.Entries["agent"][1]
	}
	for name, tc := range map[string]struct {
		path, version string
		change        func(string, *repo.IndexFile)
		want          []string
	}{
		"another build of a version": { // https://github.com/helm/helm/issues/30986
			"/charts", "1.1.0+missing", func(string, *repo.IndexFile) {}, []string{`"agent" has no version 1.1.0+missing; the newest is 2.0.0-rc.1`},
		},
		"a digest that is not the index's": {
			"/charts", "", func(_ string, i *repo.IndexFile) { first(i).Digest = strings.Repeat("0", 64) },
			[]string{"agent-1.10.0.tgz: its SHA-256 is", "index says 0000", "damaged"},
		},
		"an archive that is cut off, without a digest": {
			"/charts", "", func(dir string, i *repo.IndexFile) {
				first(i).Digest = ""
				if err := os.Truncate(filepath.Join(dir, "agent-1.10.0.tgz"), 700); err != nil {
					t.Error(err)
				}
			},
			[]string{"agent-1.10.0.tgz", "the archive is cut off", "fetch it again"},
		},
		"an archive that is not there": {
			"/charts", "", func(_ string, i *repo.IndexFile) { first(i).URLs = []string{"gone.tgz"} },
			[]string{"/charts/gone.tgz: the server answers 404 Not Found"},
		},
		"an entry without a URL": {
			"/charts", "1.10.0", func(_ string, i *repo.IndexFile) { first(i).URLs = nil }, []string{`"agent" has no version 1.10.0`},
		},
		"another chart": {
			"/charts", "", func(_ string, i *repo.IndexFile) {
				i.Entries["egressd"] = i.Entries["agent"]
				delete(i.Entries, "agent")
			}, []string{`no chart "agent", only egressd`},
		},
		"pre-releases only": {
			"/charts", "", func(_ string, i *repo.IndexFile) { i.SortEntries(); i.Entries["agent"] = i.Entries["agent"][:1] },
			[]string{"only pre-releases", "name a version"},
		},
		"a version that is not there": {"/charts", "9.9.9", nil, []string{`"agent" has no version 9.9.9`, "the newest is 2.0.0-rc.1"}},
		"a version that is none":      {"/charts", "newest", nil, []string{`"agent"`, "newest"}},
		"no index":                    {"/elsewhere", "", nil, []string{"there is no index.yaml"}},
		"an index that is none": {
			"/charts", "", func(_ string, i *repo.IndexFile) { clear(i.Entries) }, []string{"index.yaml lists no chart"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := repository(t, tc.change)
			_, err := Render(t.Context(), Options{Chart: "agent", Repo: server.URL + tc.path, Version: tc.version})
			wantError(t, err, append(tc.want, server.URL)...)
			if strings.Contains(err.Error(), os.TempDir()) {
				t.Errorf("the error names a file that is gone: %v", err)
			}
		})
	}
}

func TestAPasswordOfARepositoryIsUsedAndNotShown(t *testing.T) {
	server := repository(t, nil)
	with := func(password string) string {
		return strings.Replace(server.URL, "http://", "http://me:"+password+"@", 1) + "/charts"
	}
	if _, err := Render(t.Context(), Options{Chart: "agent", Repo: with("secret")}); err != nil {
		t.Error(err)
	}
	_, err := Render(t.Context(), Options{Chart: "agent", Repo: with("forgotten")})
	wantError(t, err, "401", "me:xxxxx@", "give a user and a password")
	if strings.Contains(err.Error(), "forgotten") {
		t.Errorf("the password is shown: %v", err)
	}
}

// https://github.com/helm/helm/issues/2863: the order of an index means nothing, and as
// texts 0.9.0 is above 0.19.0.
func TestTheNewestVersionDoesNotDependOnTheOrderOfTheIndex(t *testing.T) {
	versions := []string{"0.9.0", "0.19.0", "0.20.0-rc.10", "0.20.0-rc.9", "0.2.0"}
	for shift := range versions {
		index := repo.NewIndexFile()
		for i := range versions {
			v := versions[(i+shift)%len(versions)]
			index.Entries["agent"] = append(index.Entries["agent"], &repo.ChartVersion{Metadata: &chartv2.Metadata{APIVersion: "v2", Name: "agent", Version: v}, URLs: []string{"agent.tgz"}})
		}
		file := filepath.Join(t.TempDir(), "index.yaml")
		if err := index.WriteFile(file, 0o600); err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) }))
		t.Cleanup(server.Close)
		read, err := ReadIndex(t.Context(), server.URL, Cache{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for version, want := range map[string]string{"": "0.19.0", "0.x": "0.19.0", ">=0.20.0-0": "0.20.0-rc.10"} {
			if got, err := read.choose("agent", version); err != nil || got.Version != want {
				t.Errorf("%v: %q is %v, want %s; %v", index.Entries["agent"], version, got, want, err)
			}
		}
	}
}

// An entry that does not count is named, whether or not another version is taken for it.
func TestEntriesThatDoNotCount(t *testing.T) {
	spoil := func(number int) func(string, *repo.IndexFile) {
		return func(_ string, i *repo.IndexFile) {
			i.SortEntries()
			i.Entries["other"] = []*repo.ChartVersion{i.Entries["agent"][1]}
			for n := range number {
				entry := *i.Entries["agent"][n]
				entry.URLs = nil
				i.Entries["agent"][n] = &entry
			}
		}
	}
	server := repository(t, spoil(2))
	got, err := Render(t.Context(), Options{Chart: "agent", Repo: server.URL + "/charts"})
	if err != nil || got.Version != "1.1.0" || !strings.Contains(strings.Join(got.Warnings, "\n"), `version "2.0.0-rc.1" does not count: it has no URL`) {
		t.Errorf("%s, warnings %q, %v", got.Version, got.Warnings, err)
	}
	server = repository(t, spoil(3))
	_, err = Render(t.Context(), Options{Chart: "agent", Repo: server.URL + "/charts"})
	wantError(t, err, `"agent" has no version that can be used`, "it has no URL", server.URL)
}

// A repository is as hostile as its charts: its index is parsed within the same limits.
func TestTheIndexOfANamedChartIsParsedInTheProcess(t *testing.T) {
	server := repository(t, nil)
	_, err := Render(t.Context(), Options{Chart: "agent", Repo: server.URL + "/charts", Command: []string{"/nonexistent"}})
	wantError(t, err, server.URL, "index.yaml: start the process for it")
}

func TestABlankDigestIsNone(t *testing.T) {
	for _, digest := range []string{"", " ", "sha256:"} {
		if err := verify([]byte("x"), digest); err != nil {
			t.Errorf("%q: %v", digest, err)
		}
	}
}

// https://github.com/helm/helm/issues/3065: relative and absolute addresses in one
// index. Credentials reach the origin of the repository alone.
func TestAddressesAndRedirectsOfAnIndex(t *testing.T) {
	archive, err := os.ReadFile(packed(t, t.TempDir(), "1.0.0")[0])
	if err != nil {
		t.Fatal(err)
	}
	type request struct{ host, path, user string }
	var requests []request
	var index string
	serve := func(w http.ResponseWriter, r *http.Request) {
		user, _, _ := r.BasicAuth()
		requests = append(requests, request{r.Host, r.URL.Path, user})
		switch {
		case strings.HasSuffix(r.URL.Path, "index.yaml"):
			_, _ = w.Write([]byte(index))
		case strings.HasPrefix(r.URL.Path, "/to/"):
			http.Redirect(w, r, strings.TrimPrefix(r.URL.RequestURI(), "/to/"), http.StatusFound)
		case strings.HasSuffix(r.URL.Path, "agent.tgz"):
			_, _ = w.Write(archive)
		default:
			http.NotFound(w, r)
		}
	}
	origin, other := httptest.NewServer(http.HandlerFunc(serve)), httptest.NewServer(http.HandlerFunc(serve))
	t.Cleanup(origin.Close)
	t.Cleanup(other.Close)
	host := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }
	for name, tc := range map[string]struct {
		address string
		want    request // the last
		err     string
	}{
		"relative":                        {"agent.tgz", request{host(origin), "/base/charts/agent.tgz", "me"}, ""},
		"relative with folders":           {"sub/agent.tgz", request{host(origin), "/base/charts/sub/agent.tgz", "me"}, ""},
		"absolute in the origin":          {origin.URL + "/x/agent.tgz", request{host(origin), "/x/agent.tgz", "me"}, ""},
		"absolute elsewhere":              {other.URL + "/x/agent.tgz", request{host(other), "/x/agent.tgz", ""}, ""},
		"redirected in the origin":        {origin.URL + "/to//x/agent.tgz", request{host(origin), "/x/agent.tgz", "me"}, ""},
		"redirected to another port":      {origin.URL + "/to/" + other.URL + "/agent.tgz", request{host(other), "/agent.tgz", ""}, ""},
		"redirected to what is not there": {origin.URL + "/to/" + other.URL + "/gone", request{host(other), "/gone", ""}, "redirected to " + other.URL + "/gone: the server answers 404"},
	} {
		for _, slash := range []string{"", "/"} {
			t.Run(name+slash, func(t *testing.T) {
				requests = nil
				index = "apiVersion: v1\nentries:\n  agent:\n  - {apiVersion: v2, name: agent, version: 1.0.0, urls: ['" + tc.address + "']}\n"
				repository := strings.Replace(origin.URL, "http://", "http://me:secret@", 1) + "/base/charts" + slash
				_, err := Render(t.Context(), Options{Chart: "agent", Repo: repository})
				if tc.err != "" {
					wantError(t, err, tc.err)
				} else if err != nil {
					t.Fatal(err)
				}
				if got := requests[len(requests)-1]; got != tc.want {
					t.Errorf("the last request is %+v, want %+v", got, tc.want)
				}
			})
		}
	}
}

// https://github.com/fluxcd/source-controller/issues/976: a redirect that names the
// default port stays in the origin.
func TestOrigins(t *testing.T) {
	for other, want := range map[string]bool{
		"https://h.example/x": true, "https://h.example:443/x": true, "https://H.example": true,
		"http://h.example": false, "https://h.example:8443": false, "https://sub.h.example": false, "https://h.example.evil": false,
	} {
		a, errA := url.Parse("https://h.example/charts")
		b, errB := url.Parse(other)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if got := isSameOrigin(a, b); got != want {
			t.Errorf("%s: %v, want %v", other, got, want)
		}
	}
}

func TestRedirectsEnd(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }))
	t.Cleanup(server.Close)
	_, err := Render(t.Context(), Options{Chart: server.URL + "/agent.tgz"})
	wantError(t, err, "more than 10 redirects")
}
