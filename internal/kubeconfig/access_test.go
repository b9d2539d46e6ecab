// SPDX-License-Identifier: Apache-2.0

package kubeconfig

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/castai/privatelink-webhook/internal/target"
	"github.com/castai/privatelink-webhook/internal/testutil/fakedns"
)

// closedPort is the URL of a port on which nothing listens.
const closedPort = "https://127.0.0.1:1"

func status(t *testing.T, code int, reason string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"` + reason + `"}`))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// Each way in which the API server is not reached is told apart, by real connections.
func TestExplain(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silent.Close)
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(untrusted.Close)
	names, err := fakedns.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = names.Close() })
	for name, tc := range map[string]struct {
		server, user, proxy string
		problem, remedy     string // "" if it is not the access
	}{
		"an expired token":          {server: status(t, 401, "Unauthorized"), problem: "refuses the credentials", remedy: "aws eks update-kubeconfig"},
		"a login command":           {server: closedPort, user: `{"exec":{"apiVersion":"client.authentication.k8s.io/v1","command":"false","interactiveMode":"Never"}}`, problem: "the login command of the kubeconfig failed", remedy: "aws sso login"},
		"packets are dropped":       {server: silent.URL, problem: "does not answer in time", remedy: "VPN"},
		"another authority":         {server: untrusted.URL, problem: "is not trusted", remedy: "NO_PROXY"},
		"nothing listens":           {server: closedPort, problem: "is not reached", remedy: "tunnel"},
		"a host that was deleted":   {server: "https://cluster.invalid", problem: "does not resolve", remedy: "VPC"},
		"a proxy that is down":      {server: closedPort, proxy: closedPort, problem: "the proxy", remedy: "HTTPS_PROXY"},
		"an object that is missing": {server: status(t, 404, "NotFound")},
		"no permission":             {server: status(t, 403, "Forbidden")},
		"a fault of the server":     {server: status(t, 500, "InternalError")},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := ""
			if tc.proxy != "" {
				proxy = `,"proxy-url":"` + strings.Replace(tc.proxy, "https", "http", 1) + `"`
			}
			if tc.user == "" {
				tc.user = `{"token":"t"}`
			}
			file := filepath.Join(t.TempDir(), "config")
			text := `{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
				"clusters":[{"name":"c","cluster":{"server":"` + tc.server + `"` + proxy + `}}],"users":[{"name":"u","user":` + tc.user + `}]}`
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			o := Options{File: file}
			_, config, err := o.Connect()
			if err != nil {
				t.Fatal(err)
			}
			config.Dial = (&net.Dialer{Resolver: names.Resolver()}).DialContext
			if tc.proxy == "" {
				config.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil } // not that of this machine
			}
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err = client.CoreV1().Pods("castai-agent").Get(ctx, "p", metav1.GetOptions{})
			if err == nil {
				t.Fatal("the request succeeded")
			}
			explained := o.Explain(err)
			access, isAccess := errors.AsType[*AccessError](explained)
			if isAccess != (tc.problem != "") || !isAccess && !errors.Is(explained, err) {
				t.Fatalf("%v became %v", err, explained)
			}
			if isAccess && (!strings.Contains(access.Problem, tc.problem) || !strings.Contains(access.Remedy, tc.remedy) || !errors.Is(access, err)) {
				t.Errorf("%v became %q, remedy %q; want %q, %q", err, access.Problem, access.Remedy, tc.problem, tc.remedy)
			}
			if isAccess && strings.Contains(access.Problem, "/castai-agent/") {
				t.Errorf("%q differs between requests", access.Problem)
			}
			if again := o.Explain(explained); again.Error() != explained.Error() {
				t.Errorf("explained twice: %v", again)
			}
		})
	}
	if err := (Options{}).Explain(nil); err != nil {
		t.Error(err)
	}
}

func TestTarget(t *testing.T) {
	const arn = `arn:aws:eks:eu-central-1:123456789012:cluster/prod`
	for name, tc := range map[string]struct {
		cluster, server, args string
		want                  target.Target
	}{
		"by aws eks update-kubeconfig": {arn, "https://A1.gr7.eu-central-1.eks.amazonaws.com", `["--region","eu-central-1","eks","get-token","--cluster-name","prod","--output","json"]`,
			target.Target{Context: "c", Server: "https://A1.gr7.eu-central-1.eks.amazonaws.com", Cluster: "prod", Account: "123456789012", Region: "eu-central-1"}},
		"by another program":    {"prod", "https://A1.yl4.us-east-1.eks.amazonaws.com", `["token","-i","prod"]`, target.Target{Context: "c", Server: "https://A1.yl4.us-east-1.eks.amazonaws.com", Cluster: "prod", Region: "us-east-1"}},
		"a cluster of another":  {"kind", "https://127.0.0.1:6443", `[]`, target.Target{Context: "c", Server: "https://127.0.0.1:6443"}},
		"a host in China":       {"prod", "https://A1.sk1.cn-north-1.eks.amazonaws.com.cn", `[]`, target.Target{Context: "c", Server: "https://A1.sk1.cn-north-1.eks.amazonaws.com.cn", Region: "cn-north-1"}},
		"an ARN without tokens": {arn, "https://127.0.0.1:8443", `[]`, target.Target{Context: "c", Server: "https://127.0.0.1:8443", Cluster: "prod", Account: "123456789012", Region: "eu-central-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config")
			text := `{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"` + tc.cluster + `","user":"u"}}],
				"clusters":[{"name":"` + tc.cluster + `","cluster":{"server":"` + tc.server + `","certificate-authority-data":"` + base64.StdEncoding.EncodeToString(nil) + `"}}],
				"users":[{"name":"u","user":{"exec":{"apiVersion":"client.authentication.k8s.io/v1beta1","command":"aws","args":` + tc.args + `}}}]}`
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := (Options{File: file}).Target(); got != tc.want {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
		})
	}
}
