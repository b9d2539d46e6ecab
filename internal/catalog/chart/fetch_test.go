// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestArchives(t *testing.T) {
	file := packed(t, t.TempDir(), "1.5.0")[0]
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(t.TempDir(), "short.tgz")
	if err := os.WriteFile(short, data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/whole.tgz":
			_, _ = w.Write(data)
		case "/short.tgz": // sends half of its Content-Length
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_, _ = w.Write(data[:len(data)/2])
		case "/endless.tgz":
			_, _ = io.CopyN(w, zeros{}, maxArchive+1)
		case "/page.tgz":
			_, _ = io.WriteString(w, "<html>please log in</html>")
		}
	}))
	t.Cleanup(server.Close)

	for name, from := range map[string]string{"a file": file, "a URL": server.URL + "/whole.tgz"} {
		t.Run(name, func(t *testing.T) {
			got, err := Render(t.Context(), Options{Chart: from})
			if err != nil || got.Version != "1.5.0" {
				t.Errorf("rendered version %q, %v", got.Version, err)
			}
		})
	}
	for name, tc := range map[string]struct {
		from, version string
		want          []string
	}{
		"a file that is cut off":        {short, "", []string{"the archive is cut off"}},
		"an answer that is cut off":     {server.URL + "/short.tgz", "", []string{"/short.tgz", "unexpected EOF"}},
		"an answer without an end":      {server.URL + "/endless.tgz", "", []string{"larger than 100 MiB"}},
		"an answer that is no archive":  {server.URL + "/page.tgz", "", []string{"/page.tgz", "gzip"}},
		"an archive of another version": {server.URL + "/whole.tgz", "1.6.0", []string{"is version 1.5.0, not 1.6.0"}},
		"a server that does not exist":  {"http://127.0.0.1:1/x.tgz", "", []string{"127.0.0.1:1", "refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Render(t.Context(), Options{Chart: tc.from, Version: tc.version})
			wantError(t, err, tc.want...)
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestAFetchEndsWithItsContext(t *testing.T) {
	entered, release := make(chan struct{}, 8), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-release
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	for name, o := range map[string]Options{
		"of a repository": {Chart: "agent", Repo: server.URL},
		"of a registry":   {Chart: "oci://" + server.Listener.Addr().String() + "/charts/agent"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { _, err := Render(ctx, o); done <- err }()
			<-entered
			cancel()
			select {
			case err := <-done:
				wantError(t, err, "context canceled")
			case <-time.After(10 * time.Second):
				t.Error("it goes on without its context")
			}
		})
	}
}

// The standard library reads the proxy's variables once for each process, and
// never uses a proxy for a loopback host: hence a process, and hosts that do not
// exist.
func TestTheProxyIsUsed(t *testing.T) {
	if os.Getenv("RENDER_BY_PROXY") != "" {
		got, err := Render(t.Context(), Options{Chart: "agent", Repo: "http://charts.example.invalid/charts"})
		fmt.Println("repository:", got.Version, err)
		_, err = Render(t.Context(), Options{Chart: "oci://registry.example.invalid/charts/agent", Version: "1.1.0"})
		fmt.Println("registry:", err)
		return
	}
	behind, err := url.Parse(repository(t, nil).URL)
	if err != nil {
		t.Fatal(err)
	}
	var requests bytes.Buffer
	var mu sync.Mutex
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		fmt.Fprintln(&requests, r.Method, r.RequestURI)
		mu.Unlock()
		if r.Method == http.MethodConnect {
			http.Error(w, "only plain HTTP here", http.StatusForbidden)
			return
		}
		answer, err := http.Get(behind.JoinPath(r.URL.Path).String())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		w.WriteHeader(answer.StatusCode)
		_, _ = io.Copy(w, answer.Body)
	}))
	t.Cleanup(proxy.Close)

	child := exec.Command(os.Args[0], "-test.run=^TestTheProxyIsUsed$")
	child.Env = append(os.Environ(), "RENDER_BY_PROXY=1", "HTTP_PROXY="+proxy.URL, "HTTPS_PROXY="+proxy.URL, "NO_PROXY=")
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"repository: 1.10.0 <nil>", "registry: chart oci://registry.example.invalid/charts/agent"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the child does not say %q:\n%s", want, out)
		}
	}
	for _, want := range []string{"GET http://charts.example.invalid/charts/index.yaml", "GET http://charts.example.invalid/charts/agent-1.10.0.tgz", "CONNECT registry.example.invalid:443"} {
		if !strings.Contains(requests.String(), want) {
			t.Errorf("the proxy received no %q, but\n%s", want, requests.String())
		}
	}
}
