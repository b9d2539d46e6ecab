// SPDX-License-Identifier: Apache-2.0

//go:build monitoring

// Package monitoring tests the shipped alerts with the programs of the Prometheus project:
// promtool evaluates cases, and Prometheus scrapes the webhook while it has faults.
package monitoring

import (
	"fmt"
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

// programs is where the programs are. dir is to be deleted.
type programs struct {
	prometheus.Programs
	webhook, dir string
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
