// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/registry"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// pushed starts a registry with charts/agent in three versions. The fault applies to
// the requests of the test.
func pushed(t *testing.T, fault fakeregistry.Fault) (host string) {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HELM_CONFIG_HOME", t.TempDir())
	server := fakeregistry.Start(t)
	c, err := registry.NewClient(registry.ClientOptPlainHTTP())
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range packed(t, t.TempDir(), "1.1.0", "1.10.0+build.7", "2.0.0-rc.1") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		version := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "agent-"), ".tgz")
		if _, err := c.Push(data, server.Host+"/charts/agent:"+version); err != nil {
			t.Fatal(err)
		}
	}
	server.SetFault(fault)
	return server.Host
}

func TestVersionsOfARegistry(t *testing.T) {
	host := pushed(t, nil)
	answer, err := http.Head("http://" + host + "/v2/charts/agent/manifests/2.0.0-rc.1")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	for name, tc := range map[string]struct{ ref, version, want string }{
		"the newest is taken, but no pre-release": {"charts/agent", "", "1.10.0+build.7"},
		"a version is taken as it is":             {"charts/agent", "1.1.0", "1.1.0"},
		"a tag is a version":                      {"charts/agent:1.1.0", "", "1.1.0"},
		"the newest of a range is taken":          {"charts/agent", "<1.5", "1.1.0"},
		"a digest needs no version":               {"charts/agent@" + answer.Header.Get("Docker-Content-Digest"), "", "2.0.0-rc.1"},
		"a plus is an underscore in the tag":      {"charts/agent", "1.10.0+build.7", "1.10.0+build.7"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Render(t.Context(), Options{Chart: "oci://" + host + "/" + tc.ref, Version: tc.version})
			if err != nil {
				t.Fatal(err)
			}
			if got.Version != tc.want {
				t.Errorf("rendered %s, want %s", got.Version, tc.want)
			}
		})
	}
	for name, tc := range map[string]struct {
		ref, version string
		want         []string
	}{
		"a version that is not there":   {"charts/agent", "9.9.9", []string{"charts/agent", "not found"}},
		"a chart that is not there":     {"charts/none", "", []string{"charts/none", "404"}},
		"a tag that is not the version": {"charts/agent:1.1.0", "1.2.0", []string{"mismatch"}},
		"a reference that is none":      {"Charts/agent", "", []string{"oci://" + host + "/Charts/agent", "invalid", "name it as oci://"}},
		"a version before a digest":     {"charts/agent@1.1.0@sha256:" + strings.Repeat("a", 64), "", []string{"name it as oci://REGISTRY/NAME, with @VERSION, :VERSION or :VERSION@DIGEST"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Render(t.Context(), Options{Chart: "oci://" + host + "/" + tc.ref, Version: tc.version})
			wantError(t, err, tc.want...)
		})
	}
}

func TestARegistryThatRequiresCredentials(t *testing.T) {
	host := pushed(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="charts"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
	o := Options{Chart: "oci://" + host + "/charts/agent", Version: "1.1.0"}
	_, err := Render(t.Context(), o)
	wantError(t, err, "docker login "+host)

	config := fmt.Sprintf(`{"auths":{%q:{"auth":"bWU6c2VjcmV0"}}}`, host) // me:secret
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Render(t.Context(), o); err != nil {
		t.Errorf("with the credentials of docker: %v", err)
	}
}

func TestARegistryThatServesADamagedArchive(t *testing.T) {
	host := pushed(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		response := httptest.NewRecorder()
		next.ServeHTTP(response, r)
		body := response.Body.Bytes()
		if strings.Contains(r.URL.Path, "/blobs/") && len(body) > 100 {
			body[50] ^= 1
		}
		maps.Copy(w.Header(), response.Header())
		w.WriteHeader(response.Code)
		_, _ = w.Write(body)
	})
	_, err := Render(t.Context(), Options{Chart: "oci://" + host + "/charts/agent", Version: "1.1.0"})
	wantError(t, err, "charts/agent", "digest")
}

func TestARegistryThatPromisesTooMuch(t *testing.T) {
	host := pushed(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			next.ServeHTTP(w, r)
			return
		}
		layer := fmt.Sprintf(`{"mediaType":%q,"digest":"sha256:%064d","size":%d}`, registry.ChartLayerMediaType, 1, int64(1)<<50)
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		_, _ = fmt.Fprintf(w, `{"schemaVersion":2,"config":{"mediaType":%q,"digest":"sha256:%064d","size":2},"layers":[%s]}`, registry.ConfigMediaType, 2, layer)
	})
	_, err := Render(t.Context(), Options{Chart: "oci://" + host + "/charts/agent", Version: "1.1.0"})
	wantError(t, err, "this is no chart")
}
