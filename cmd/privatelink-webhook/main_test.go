// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

const registry = "registry: 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai\n"

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// pair writes a certificate and its key.
func pair(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "tls.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), write(t, "tls.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

func TestUsageErrors(t *testing.T) {
	config, cert, key, otherKey := write(t, "c.yaml", []byte(registry)), "", "", ""
	cert, key = pair(t)
	_, otherKey = pair(t)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	tls := []string{"--tls-cert-file", cert, "--tls-private-key-file", key}
	for name, tc := range map[string]struct {
		env  map[string]string
		args []string
		want string
	}{
		"no configuration":             {nil, nil, "--config is required"},
		"an unknown flag":              {nil, []string{"--confg", "x"}, "see --help"},
		"an argument":                  {nil, []string{"--config", config, "x"}, `unexpected argument "x"`},
		"a configuration with a typo":  {nil, append([]string{"--config", write(t, "t.yaml", []byte(registry+"keeps: []\n"))}, tls...), "t.yaml:2: keeps: unknown key: did you mean keep?"},
		"a wrong prefix":               {nil, append([]string{"--config", write(t, "t.yaml", []byte("registry: https://x/y\n"))}, tls...), "begins with a scheme"},
		"a duplicate rule":             {nil, append([]string{"--config", write(t, "t.yaml", []byte(registry+"rules: [{source: quay.io, target: p}, {source: quay.io, target: q}]\n"))}, tls...), "rules[1].source"},
		"no such configuration":        {nil, append([]string{"--config", "/does/not/exist"}, tls...), "no such file"},
		"a certificate without a key":  {nil, []string{"--config", config, "--tls-cert-file", cert}, "go together"},
		"a key of another certificate": {nil, []string{"--config", config, "--tls-cert-file", cert, "--tls-private-key-file", otherKey}, cert},
		"an unknown log level":         {nil, []string{"--config", config, "--log-level", "loud"}, "use debug, info, warn or error"},
		"the same in the environment":  {map[string]string{"PRIVATELINK_LOG_LEVEL": "loud"}, []string{"--config", config}, "use debug, info, warn or error"},
		"a port in use":                {nil, append([]string{"--config", config, "--listen", busy.Addr().String(), "--metrics-listen", "127.0.0.1:0"}, tls...), "--listen:"},
		"a kustomize namePrefix":       {map[string]string{"PRIVATELINK_SERVICE_ACCOUNT": "acme-privatelink-webhook"}, []string{"--config", config}, "remove namePrefix"},
		"a negative memory limit":      {map[string]string{"PRIVATELINK_MEMORY_LIMIT": "-1"}, []string{"--config", config}, "--memory-limit -1"},
		"no cluster":                   {nil, []string{"--config", config}, "--kubeconfig"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, log bytes.Buffer
			err := run(t.Context(), tc.args, func(k string) string { return tc.env[k] }, &out, &log)
			var wrong usageError
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want a usage error with %q", err, tc.want)
			}
		})
	}
}

// The collector keeps a quarter of the container's memory free for what is not heap.
func TestTheCollectorHasALimitBelowThatOfTheContainer(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	for name, tc := range map[string]struct {
		env  map[string]string
		want int64
	}{
		"three quarters of the default": {map[string]string{"PRIVATELINK_MEMORY_LIMIT": "134217728"}, 96 << 20},
		"three quarters of less":        {map[string]string{"PRIVATELINK_MEMORY_LIMIT": "67108864"}, 48 << 20},
		"none":                          {nil, before},
		"that of Go's own variable":     {map[string]string{"PRIVATELINK_MEMORY_LIMIT": "134217728", "GOMEMLIMIT": "50MiB"}, before},
	} {
		t.Run(name, func(t *testing.T) {
			t.Cleanup(func() { debug.SetMemoryLimit(before) })
			var out, log bytes.Buffer
			_ = run(t.Context(), []string{"--config", "/does/not/exist"}, func(k string) string { return tc.env[k] }, &out, &log)
			if got := debug.SetMemoryLimit(-1); got != tc.want {
				t.Errorf("limit %d, want %d", got, tc.want)
			}
		})
	}
}

func TestVersionAndHelp(t *testing.T) {
	var out, log bytes.Buffer
	if err := run(t.Context(), []string{"--version"}, func(string) string { return "" }, &out, &log); err != nil || !strings.HasPrefix(out.String(), "privatelink-webhook ") {
		t.Errorf("%v, %q", err, out.String())
	}
	out.Reset()
	if err := run(t.Context(), []string{"--help"}, func(string) string { return "" }, &out, &log); !errors.Is(err, pflag.ErrHelp) || !strings.Contains(out.String(), "--config FILE") {
		t.Errorf("%v, %q", err, out.String())
	}
}

// syncBuffer is a log that can be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestServeWithFilesUntilCanceled(t *testing.T) {
	cert, key := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	var log syncBuffer
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"--config", write(t, "c.yaml", []byte(registry)), "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--tls-cert-file", cert, "--tls-private-key-file", key},
			func(string) string { return "" }, &out, &log)
	}()
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(log.String(), `"msg":"serving"`) {
		if time.Now().After(deadline) {
			t.Fatalf("not serving after 20s: %s", log.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("stopped with %v", err)
	}
	if !strings.Contains(log.String(), `"msg":"draining"`) || strings.Contains(log.String(), "PRIVATE KEY") {
		t.Errorf("log: %s", log.String())
	}
}
