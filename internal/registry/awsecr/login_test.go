// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
)

func TestConcurrentCallersShareAToken(t *testing.T) {
	s, r, _ := start(t, fakeecr.Options{}, Config{})
	s.Inject(fakeecr.Fault{Delay: 100 * time.Millisecond})
	var callers sync.WaitGroup
	var passwords sync.Map
	for range 50 {
		callers.Go(func() {
			c, err := r.Credential(t.Context())
			if err != nil || c.Username != "AWS" {
				t.Errorf("%q: %v", c.Username, err)
			}
			passwords.Store(c.Password, true)
		})
	}
	callers.Wait()
	if n := len(s.Log()); n != 1 {
		t.Errorf("%d requests", n)
	}
	passwords.Range(func(p, _ any) bool {
		if p == "" {
			t.Error("an empty password")
		}
		return true
	})
}

func TestCanceledCallerDoesNotCancelTheFetch(t *testing.T) {
	s, r, _ := start(t, fakeecr.Options{}, Config{})
	s.Inject(fakeecr.Fault{Delay: 200 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.Credential(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if _, err := r.Credential(t.Context()); err != nil || len(s.Log()) != 1 {
		t.Errorf("%v after %d requests", err, len(s.Log()))
	}
}

func TestTokenAge(t *testing.T) {
	s, r, _ := start(t, fakeecr.Options{}, Config{})
	now := time.Now()
	r.tokens.now = func() time.Time { return now }
	for _, step := range []struct {
		name          string
		after         time.Duration
		mayBeRejected bool
		fetches       int
	}{
		{"the first token is fetched", 0, true, 1},
		{"concurrent callers use the same token", 9 * time.Second, true, 1},
		{"a token is used for half of its lifetime", 5 * time.Hour, false, 1},
		{"after that it is replaced", time.Hour, false, 2},
		{"a later request means that the token was rejected", 11 * time.Second, true, 3},
		{"a token from the future is replaced", -time.Hour, false, 4},
	} {
		now = now.Add(step.after)
		if _, err := r.token(t.Context(), step.mayBeRejected); err != nil {
			t.Fatal(err)
		}
		if n := len(s.Log()); n != step.fetches {
			t.Errorf("%s: %d fetches", step.name, n)
		}
	}
}

func TestInvalidTokenResponses(t *testing.T) {
	for name, response := range map[string]string{
		"none":             `{"authorizationData":[]}`,
		"no base64":        `{"authorizationData":[{"authorizationToken":"secret!"}]}`,
		"no colon":         `{"authorizationData":[{"authorizationToken":"` + base64.StdEncoding.EncodeToString([]byte("secret")) + `"}]}`,
		"without password": `{"authorizationData":[{"authorizationToken":"` + base64.StdEncoding.EncodeToString([]byte("secret:")) + `"}]}`,
	} {
		_, r, _ := start(t, fakeecr.Options{}, Config{})
		t.Setenv("AWS_ENDPOINT_URL_ECR", serveText(t, response))
		r, err := New(t.Context(), Config{Prefix: r.host.Name})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Credential(t.Context())
		t.Log(name, err)
		wantError(t, err, "ecr:GetAuthorizationToken on *")
	}
}

func serveText(t *testing.T, text string) string {
	t.Helper()
	return httpServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

func httpServer(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

func TestCredentials(t *testing.T) {
	s, r, w := start(t, fakeecr.Options{}, Config{})
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write("config.json", fmt.Sprintf(`{
		"auths": {"ghcr.io": {"auth": %q}, "broken.example": {"auth": %q}, "https://index.docker.io/v1/": {"auth": %q}},
		"credHelpers": {"helped.example": "good", "failing.example": "bad", "absent.example": "absent"}
	}`, b64("user:pass"), b64("secret-without-colon"), b64("hub:pass")))
	write("docker-credential-good", "#!/bin/sh\necho '{\"Username\":\"helped\",\"Secret\":\"pass\"}'\n")
	write("docker-credential-bad", "#!/bin/sh\necho '{\"Secret\":\"secret\"}'\nexit 1\n")
	l, err := NewLogin(LoginConfig{Known: []*Registry{r}, Warn: w.warn})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]struct{ user, warning string }{
		"ghcr.io":              {user: "user"},
		"registry-1.docker.io": {user: "hub"},
		"helped.example":       {user: "helped"},
		"quay.io":              {},
		"broken.example":       {warning: "broken.example is accessed anonymously"},
		"failing.example":      {warning: "`docker login failing.example`"},
		"absent.example":       {warning: "docker-credential-absent"},
		s.Host():               {user: "AWS"},
		"123456789012.dkr-ecr.eu-central-1.on.aws":        {user: "AWS"}, // another host of the same registry
		"210987654321.dkr.ecr.eu-central-1.amazonaws.com": {user: "AWS"}, // another account
		"123456789012.dkr.ecr.us-east-1.amazonaws.com":    {user: "AWS"}, // another region
	} {
		w.all = nil
		for range 2 {
			got, err := l.Credential(t.Context(), host)
			if err != nil || got.Username != want.user || (got.Password == "") != (want.user == "") {
				t.Errorf("%s: %q %v", host, got.Username, err)
			}
		}
		if !strings.Contains(w.String(), want.warning) || len(w.all) != min(1, len(want.warning)) || strings.Contains(w.String(), "secret") {
			t.Errorf("%s: warned %q", host, w)
		}
	}
	if n := len(s.Log()); n != 3 {
		t.Errorf("%d tokens for 3 registries", n)
	}
	_, err = l.Credential(t.Context(), "123456789012.dkr.ecr.cn-north-1.amazonaws.com")
	wantError(t, err, "does not fit")
	// A token of AWS must not be sent to a host outside the domains of AWS.
	if got, err := l.Credential(t.Context(), "123456789012.dkr.ecr.evil.example"); err != nil || got.Username != "" {
		t.Errorf("user %q, %v", got.Username, err)
	}

	write("config.json", `{"auths": "secret`)
	_, err = NewLogin(LoginConfig{})
	wantError(t, err, "Docker configuration", "DOCKER_CONFIG")
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// newAuthClient returns an HTTP client that authenticates with ECR.
func newAuthClient(t *testing.T, s *fakeecr.Server, r *Registry) *http.Client {
	t.Helper()
	l, err := NewLogin(LoginConfig{Known: []*Registry{r}})
	if err != nil {
		t.Fatal(err)
	}
	base := registry.NewTransport()
	base.DialContext = s.Dial
	t.Cleanup(base.CloseIdleConnections)
	return &http.Client{Transport: l.Transport(base)}
}

func TestRequestsAreAuthenticated(t *testing.T) {
	s, r, _ := start(t, fakeecr.Options{}, Config{})
	c := newAuthClient(t, s, r)
	ping := func(body io.Reader) int {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Host()+"/v2/", body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if got := ping(nil); got != 200 || len(s.Log()) != 2 {
		t.Errorf("%d after %v", got, s.Log())
	}
	for _, status := range []int{401, 403} {
		s.Set(func(w *fakeecr.Switches) { w.ExpiredStatus = status })
		s.Expire()
		s.ResetLog()
		if got := ping(strings.NewReader("a body that can be sent again")); got != 200 || len(s.Log()) != 3 {
			t.Errorf("%d after %v", got, s.Log())
		}
		s.Expire()
		if got := ping(io.MultiReader(strings.NewReader("a body that cannot"))); got != status {
			t.Errorf("%d", got)
		}
		if got := ping(io.MultiReader(strings.NewReader("the next one"))); got != 200 {
			t.Errorf("%d", got)
		}
	}
	s.Inject(fakeecr.Fault{Status: 403, Code: "DENIED", Message: "not authorized to perform: ecr:PutImage"})
	s.ResetLog()
	if got := ping(nil); got != 403 || len(s.Log()) != 1 {
		t.Errorf("missing permissions are handled like an expired token: %d after %v", got, s.Log())
	}
}

func TestTokensAreSentToECROnly(t *testing.T) {
	s, r, _ := start(t, fakeecr.Options{}, Config{})
	var got []string
	url := httpServer(t, func(_ http.ResponseWriter, q *http.Request) { got = append(got, q.Header.Get("Authorization")) })
	resp, err := newAuthClient(t, s, r).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || len(got) != 1 || got[0] != "" {
		t.Errorf("%q %v", got, err)
	}
}

func TestATokenDoesNotPrintItsPassword(t *testing.T) {
	_, r, _ := start(t, fakeecr.Options{}, Config{})
	if _, err := r.Credential(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := r.tokens.current.password; p == "" || strings.Contains(fmt.Sprint(r.tokens.current), p) {
		t.Errorf("it prints %v", r.tokens.current)
	}
}

func TestResponseBodyRemainsReadable(t *testing.T) {
	text, err := json.Marshal(map[string]any{"errors": []any{map[string]string{"message": strings.Repeat("x", 2*maxErrorBody)}}})
	if err != nil {
		t.Fatal(err)
	}
	resp := &http.Response{StatusCode: 403, Body: io.NopCloser(bytes.NewReader(text))}
	if isExpired(http.MethodGet, resp) {
		t.Error("expired")
	}
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes of %d: %v", len(got), len(text), err)
	}
}

// The part of a stalled body that was received remains readable.
func TestStalledErrorBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const text = `{"errors":[{"message":"not authorized`
		body, registry := io.Pipe()
		go func() { _, _ = io.WriteString(registry, text) }()
		resp := &http.Response{StatusCode: http.StatusForbidden, Body: body}
		begin := time.Now()
		if isExpired(http.MethodGet, resp) || time.Since(begin) != maxErrorTime {
			t.Errorf("expired, or took %s", time.Since(begin))
		}
		if got, err := io.ReadAll(resp.Body); string(got) != text || !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%q, %v", got, err)
		}
	})
}
