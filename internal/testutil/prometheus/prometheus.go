// SPDX-License-Identifier: Apache-2.0

// Package prometheus finds the programs of the Prometheus project for tests, reads the
// rules that are shipped, and asks a server.
package prometheus

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// Programs is where the programs are.
type Programs struct{ Promtool, Prometheus string }

// Find finds the programs, or unpacks Debian's package in dir: its scripts would start a
// server. What was unpacked there earlier is found as well.
func Find(dir string) (Programs, error) {
	unpacked := Programs{filepath.Join(dir, "usr", "bin", "promtool"), filepath.Join(dir, "usr", "bin", "prometheus")}
	if _, err := os.Stat(unpacked.Prometheus); err == nil {
		return unpacked, nil
	}
	if promtool, err := exec.LookPath("promtool"); err == nil {
		prometheus, err := exec.LookPath("prometheus")
		return Programs{promtool, prometheus}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Programs{}, err
	}
	cmd := exec.Command("sh", "-c", "{ apt-get download -q prometheus || { apt-get update -q && apt-get download -q prometheus; }; } && dpkg -x prometheus_*.deb . && rm prometheus_*.deb")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return Programs{}, fmt.Errorf("unpacking the Debian package prometheus: %w: install promtool and prometheus, or run this on Debian or Ubuntu\n%s", err, out)
	}
	return unpacked, nil
}

// Rules are the groups of the PrometheusRule.
type Rules struct {
	Groups []Group `json:"groups"`
}

// A Group is a group of rules.
type Group struct {
	Name  string `json:"name"`
	Rules []Rule `json:"rules"`
}

// A Rule is an alert or a record.
type Rule struct {
	Alert       string            `json:"alert,omitempty"`
	Record      string            `json:"record,omitempty"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Shipped reads the rules that are shipped. root is the product's folder.
func Shipped(root string) (Rules, error) {
	text, err := os.ReadFile(filepath.Join(root, "deploy", "components", "monitoring", "rules.yaml"))
	if err != nil {
		return Rules{}, err
	}
	var object struct{ Spec Rules }
	err = yaml.Unmarshal(text, &object)
	return object.Spec, err
}

// Alerts are the names of the alerts, in their order.
func (r Rules) Alerts() (names []string) {
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

// Faster divides all durations, so that an hour passes within seconds.
func (r Rules) Faster(by time.Duration) Rules {
	shorter := func(number, unit string) string {
		n, _ := strconv.Atoi(number) // the expression has digits
		d := time.Duration(n) * map[string]time.Duration{"m": time.Minute, "h": time.Hour}[unit] / by
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	}
	out := Rules{}
	for _, g := range r.Groups {
		copied := Group{Name: g.Name}
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

// Table is a table in Markdown of the faults, in their order, and of the alerts that each
// of them fires.
func Table(alerts, faults []string, fires map[string][]string) string {
	var out strings.Builder
	out.WriteString("| fault |")
	for _, alert := range alerts {
		fmt.Fprintf(&out, " %s |", strings.TrimPrefix(alert, "Privatelink"))
	}
	fmt.Fprintf(&out, "\n|---|%s\n", strings.Repeat("---|", len(alerts)))
	for _, fault := range faults {
		fmt.Fprintf(&out, "| %s |", fault)
		for _, alert := range alerts {
			mark := "–"
			if slices.Contains(fires[fault], alert) {
				mark = "fires"
			}
			fmt.Fprintf(&out, " %s |", mark)
		}
		out.WriteString("\n")
	}
	return out.String()
}

// Get reads the data of an answer of Prometheus' HTTP API: of /api/v1/ and the path.
// https://prometheus.io/docs/prometheus/latest/querying/api/
func Get(ctx context.Context, address, path string, query url.Values, data any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/api/v1/"+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer := struct {
		Error string
		Data  any
	}{Data: data}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Error != "" {
		return fmt.Errorf("%s %v: %s", path, query, answer.Error)
	}
	return nil
}
