// SPDX-License-Identifier: Apache-2.0

package kubeconfig

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCompletions(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/namespaces" {
			t.Errorf("request for %s", r.URL.Path)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"apiVersion":"v1","kind":"NamespaceList","items":[{"metadata":{"name":"castai-agent"}},{"metadata":{"name":"default"}}]}`)
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(sample, "https://127.0.0.1:1", server.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{File: file, Context: "local"}
	if got := o.Contexts(); !slices.Equal(got, []string{"arn", "local", "login"}) {
		t.Errorf("contexts %q", got)
	}
	if got := o.Namespaces(t.Context()); !slices.Equal(got, []string{"castai-agent", "default"}) {
		t.Errorf("namespaces %q", got)
	}
}

func TestCompletionsWithoutACluster(t *testing.T) {
	missing := Options{File: filepath.Join(t.TempDir(), "none")}
	if got := append(missing.Contexts(), missing.Namespaces(t.Context())...); len(got) > 0 {
		t.Errorf("%q", got)
	}
	refused := httptest.NewServer(http.NotFoundHandler())
	refused.Close()
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silent.Close)
	for _, url := range []string{refused.URL, silent.URL} {
		file := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(sample, "https://127.0.0.1:1", url)), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := (Options{File: file, Context: "local"}).Namespaces(t.Context()); len(got) > 0 {
			t.Errorf("%q", got)
		}
	}
}
