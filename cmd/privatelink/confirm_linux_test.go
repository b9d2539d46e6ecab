// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/castai/privatelink-webhook/internal/testutil/pty"
)

// A command that changes a cluster names it, and asks on a terminal.
func TestCertsResetAsks(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(server.Close)
	file := write(t, "kubeconfig", `{"apiVersion":"v1","kind":"Config","current-context":"prod","contexts":[{"name":"prod","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":"`+server.URL+`"}}],"users":[{"name":"u","user":{"token":"expired"}}]}`)
	args := []string{"certs", "reset", "--kubeconfig", file}
	question := "This will replace the CA of the webhook in the cluster (context prod, " + server.URL + "). Continue? [y/N]"
	for name, tc := range map[string]struct {
		answer, says string
		asks         bool
	}{
		"no":         {"n\n", "canceled; nothing was changed", false},
		"no answer":  {"\n", "canceled; nothing was changed", false},
		"yes":        {"y\n", "refuses the credentials", true},
		"in a word":  {"Yes\n", "refuses the credentials", true},
		"a mistyped": {"yno\n", "canceled", false},
	} {
		t.Run(name, func(t *testing.T) {
			requests.Store(0)
			displayed, err := pty.Answer(t, startable(t, nil, args...), tc.answer)
			if err == nil || !strings.Contains(displayed, question) || !strings.Contains(displayed, tc.says) || (requests.Load() > 0) != tc.asks {
				t.Errorf("%v, %d requests:\n%s", err, requests.Load(), displayed)
			}
		})
	}
	requests.Store(0)
	if code, _, stderr := call(t, nil, "", args...); code != 2 || !strings.Contains(stderr, "--yes and --context NAME") || requests.Load() > 0 {
		t.Errorf("without a terminal: code %d, %q", code, stderr)
	}
	if code, _, stderr := call(t, map[string]string{"PRIVATELINK_CONTEXT": "prod"}, "", append(args, "--yes")...); code != 1 {
		t.Errorf("the context from the environment: code %d, %q", code, stderr)
	}
	prune := []string{"prune", "--registry", ecr, "--keep", "3", "--yes", "--kubeconfig", file}
	if code, _, stderr := call(t, nil, "", prune...); code != 2 || !strings.Contains(stderr, "delete these images of "+ecr) || !strings.Contains(stderr, "confirm it with --context NAME") {
		t.Errorf("prune: code %d, %q", code, stderr)
	}
	if code, _, stderr := call(t, nil, "", append(prune, "--context", "prod")...); code != 1 || !strings.Contains(stderr, "refuses the credentials") {
		t.Errorf("prune, confirmed: code %d, %q", code, stderr)
	}
}

// The same trouble with the login has the same exit code in all commands, and is named.
func TestTroubleWithTheLoginIsUnknownEverywhere(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	t.Cleanup(server.Close)
	file := write(t, "kubeconfig", `{"apiVersion":"v1","kind":"Config","current-context":"prod","contexts":[{"name":"prod","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":"`+server.URL+`"}}],"users":[{"name":"u","user":{"token":"expired"}}]}`)
	for name, args := range map[string][]string{
		"doctor":                       isolated(t, "--only", "cluster,identity"),
		"doctor, with a configuration": isolated(t, "--only", "cluster", "--registry", ecr),
		"status":                       {"status", "--no-registry"},
		"prune":                        {"prune", "--registry", ecr, "--keep", "3"},
		"images":                       {"images", "--registry", ecr, "--cluster"},
		"check":                        {"check", "--registry", ecr, "--cluster"},
		"certs reset":                  {"certs", "reset", "--yes", "--context", "prod"},
	} {
		code, stdout, stderr := call(t, nil, "", append(args, "--kubeconfig", file)...)
		if text := stdout + stderr; code != 1 || strings.Count(text, "log in again") != 1 || !strings.Contains(text, server.URL+" refuses the credentials") {
			t.Errorf("%s: code %d\n%s", name, code, text)
		}
	}
}
