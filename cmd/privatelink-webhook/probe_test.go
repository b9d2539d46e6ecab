// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/castai/privatelink-webhook/internal/doctor/probe"
)

func TestProbeReportsFailedTargets(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	const refused = "127.0.0.1:1" // nothing listens
	var out, log bytes.Buffer
	if err := run(t.Context(), []string{"probe", server.Listener.Addr().String(), refused}, func(string) string { return "" }, &out, &log); err != nil {
		t.Fatal(err)
	}
	if log.Len() > 0 || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("a pod's log has both streams: it must be one line of JSON. stdout %q, stderr %q", out.String(), log.String())
	}
	results, err := probe.Decode(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 2 || results[0].TLS == nil || !bytes.Equal(results[0].TLS.Chain[0], server.Certificate().Raw) {
		t.Fatalf("%+v", results)
	}
	if r := results[1]; r.Connected() || r.String() != refused || r.Dials[0].Fault != probe.Refused {
		t.Errorf("%+v", r)
	}
}

func TestProbeUsageErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no host":         {nil, "want HOST:PORT..."},
		"no port":         {[]string{"api.cast.ai"}, `"api.cast.ai": want HOST:PORT`},
		"a URL":           {[]string{"https://api.cast.ai:443"}, "want HOST:PORT"},
		"a port too high": {[]string{"api.cast.ai:65536"}, "from 1 to 65535"},
		"a flag":          {[]string{"--timeout=3s"}, "unknown flag --timeout=3s"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, log bytes.Buffer
			err := run(t.Context(), append([]string{"probe"}, tc.args...), func(string) string { return "" }, &out, &log)
			var wrong usageError
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), tc.want) || out.Len() > 0 {
				t.Errorf("err = %v, want a usage error with %q; stdout %q", err, tc.want, out.String())
			}
		})
	}
	var out, log bytes.Buffer
	if err := run(t.Context(), []string{"probe", "--help"}, func(string) string { return "" }, &out, &log); !errors.Is(err, pflag.ErrHelp) || !strings.Contains(out.String(), "HOST:PORT...") {
		t.Errorf("%v, %q", err, out.String())
	}
}
