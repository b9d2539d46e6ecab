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
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// repository is the path of the product's folder.
const repository = "../.."

// programs is where the programs are. dir is to be deleted.
type programs struct{ promtool, prometheus, webhook, dir string }

var installed = sync.OnceValues(install)

func find(t *testing.T) programs {
	t.Helper()
	p, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// install builds the webhook, and finds promtool and prometheus, or unpacks Debian's package:
// its scripts would start a server.
func install() (programs, error) {
	dir, err := os.MkdirTemp("", "prometheus-*")
	if err != nil {
		return programs{}, err
	}
	webhook := filepath.Join(dir, "privatelink-webhook")
	if out, err := exec.Command("go", "build", "-o", webhook, "./"+filepath.Join(repository, "cmd", "privatelink-webhook")).CombinedOutput(); err != nil {
		return programs{dir: dir}, fmt.Errorf("building the webhook: %w\n%s", err, out)
	}
	promtool, err := exec.LookPath("promtool")
	if err == nil {
		prometheus, err := exec.LookPath("prometheus")
		return programs{promtool, prometheus, webhook, dir}, err
	}
	script := "{ apt-get download -q prometheus || { apt-get update -q && apt-get download -q prometheus; }; } && dpkg -x prometheus_*.deb ."
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return programs{dir: dir}, &installError{err, string(out)}
	}
	bin := filepath.Join(dir, "usr", "bin")
	return programs{filepath.Join(bin, "promtool"), filepath.Join(bin, "prometheus"), webhook, dir}, nil
}

// remove deletes what install made.
func remove() {
	if p, _ := installed(); p.dir != "" {
		os.RemoveAll(p.dir)
	}
}

type installError struct {
	err error
	out string
}

func (e *installError) Error() string {
	return "unpacking the Debian package prometheus: " + e.err.Error() + ": install promtool and prometheus, or run this on Debian or Ubuntu\n" + e.out
}

// rules are the groups of the PrometheusRule.
type rules struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

type rule struct {
	Alert       string            `json:"alert,omitempty"`
	Record      string            `json:"record,omitempty"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

func shipped(t *testing.T) rules {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "deploy", "components", "monitoring", "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var object struct{ Spec rules }
	if err := yaml.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	return object.Spec
}

func (r rules) alerts() (names []string) {
	for _, g := range r.Groups {
		for _, rule := range g.Rules {
			if rule.Alert != "" {
				names = append(names, rule.Alert)
			}
		}
	}
	return names
}

// duration is one in an expression: of a range, or of an offset.
var duration = regexp.MustCompile(`(\[|offset )(\d+)([mh])`)

// faster divides all durations, so that an hour passes within seconds.
func (r rules) faster(by time.Duration) rules {
	shorter := func(number, unit string) string {
		n, _ := strconv.Atoi(number) // the expression has digits
		d := time.Duration(n) * map[string]time.Duration{"m": time.Minute, "h": time.Hour}[unit] / by
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	}
	out := rules{}
	for _, g := range r.Groups {
		copied := g
		copied.Rules = nil
		for _, rule := range g.Rules {
			rule.Expr = duration.ReplaceAllStringFunc(rule.Expr, func(s string) string {
				m := duration.FindStringSubmatch(s)
				return m[1] + shorter(m[2], m[3])
			})
			if n := len(rule.For); n > 0 {
				rule.For = shorter(rule.For[:n-1], rule.For[n-1:])
			}
			copied.Rules = append(copied.Rules, rule)
		}
		out.Groups = append(out.Groups, copied)
	}
	return out
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
