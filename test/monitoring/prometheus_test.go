// SPDX-License-Identifier: Apache-2.0

//go:build monitoring

// Package monitoring tests the shipped alerts with the programs of the Prometheus project:
// promtool evaluates cases, and Prometheus scrapes the webhook while it has faults.
package monitoring

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/internal/testutil/prometheus"
)

// repository is the path of the product's folder.
const repository = "../.."

// programs is where the programs are, and the addresses that they were given. dir is to be
// deleted.
type programs struct {
	prometheus.Programs
	webhook, dir string
	given        *sync.Map
}

var installed = sync.OnceValues(install)

func find(t *testing.T) programs {
	t.Helper()
	p, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// install builds the webhook, and finds promtool and prometheus.
func install() (p programs, err error) {
	p.given = new(sync.Map)
	if p.dir, err = os.MkdirTemp("", "prometheus-*"); err != nil {
		return p, err
	}
	p.webhook = filepath.Join(p.dir, "privatelink-webhook")
	if out, err := exec.Command("go", "build", "-o", p.webhook, "./"+filepath.Join(repository, "cmd", "privatelink-webhook")).CombinedOutput(); err != nil {
		return p, fmt.Errorf("building the webhook: %w\n%s", err, out)
	}
	p.Programs, err = prometheus.Find(p.dir)
	return p, err
}

// address returns a free address that no other process was given. The kernel may return the
// port of a listener again as soon as it is closed, and the sites start at the same time.
func (p programs) address(t *testing.T) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		_ = l.Close()
		if _, isRepeated := p.given.LoadOrStore(address, true); !isRepeated {
			return address
		}
	}
}

// remove deletes what install made.
func remove() {
	if p, _ := installed(); p.dir != "" {
		os.RemoveAll(p.dir)
	}
}

func shipped(t *testing.T) prometheus.Rules {
	t.Helper()
	rules, err := prometheus.Shipped(repository)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func write(t *testing.T, file string, value any) string {
	t.Helper()
	text, err := yaml.Marshal(value)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}
