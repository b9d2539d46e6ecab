// SPDX-License-Identifier: Apache-2.0

//go:build monitoring

package monitoring

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) {
	if isProcess() {
		os.Exit(1) // it serves until it is killed
	}
	code := m.Run()
	remove()
	os.Exit(code)
}

// A fault is what happens to a site, and the alerts that fire then.
type fault struct {
	name   string
	role   string        // of the webhooks, if they are not the program
	leaf   time.Duration // how long the certificate is valid; 90 days if zero
	inject func(s *site)
	fires  []string
}

func kill(s *site, webhooks ...int) {
	for _, i := range webhooks {
		s.must(s.webhooks[i].Process.Kill())
	}
}

func faults() []fault {
	const agent = `{namespace="castai-agent",pod="agent-1",container="agent",reason="ImagePullBackOff"} 1` + "\n"
	show := func(more string, ago time.Duration) func(*site) {
		return func(s *site) { s.must(s.control(control{State: new(state(more, time.Now().Add(-ago)))})) }
	}
	return []fault{
		{name: "the certificate is not renewed", leaf: 12 * time.Hour, inject: func(*site) {}, fires: []string{"PrivatelinkCertificateExpires"}},
		{name: "none", inject: func(*site) {}},
		{name: "all webhook pods die", inject: func(s *site) { kill(s, 0, 1) }, fires: []string{"PrivatelinkPodsRefused", "PrivatelinkWebhookDown"}},
		{name: "a webhook pod dies", inject: func(s *site) { kill(s, 1) }, fires: []string{"PrivatelinkWebhookNotRedundant"}},
		{name: "the API server cannot connect", inject: func(s *site) { s.must(s.control(control{IsBlocked: new(true)})) }, fires: []string{"PrivatelinkPodsRefused"}},
		{name: "caBundle is of another CA", inject: func(s *site) { s.must(s.control(control{CA: s.otherCA})) }, fires: []string{"PrivatelinkCertificateDistrusted", "PrivatelinkPodsRefused"}},
		{name: "the configuration has an error", inject: func(s *site) {
			for _, file := range s.configs {
				s.must(os.WriteFile(file, []byte("registry: UPPER/case\n"), 0o600))
			}
		}, fires: []string{"PrivatelinkConfigRefused"}},
		{name: "a pod has another configuration", inject: func(s *site) {
			s.must(os.WriteFile(s.configs[0], []byte("registry: "+registry+"\nkeep: [quay.io/kept]\n"), 0o600))
		}, fires: []string{"PrivatelinkConfigDiffers"}},
		{name: "an image cannot be mapped", inject: func(s *site) { s.must(s.control(control{Image: new("Ghcr.IO/a")})) }, fires: []string{"PrivatelinkImagesNotRewritten"}},
		{name: "the webhook panics", role: rolePanics, inject: func(*site) {}, fires: []string{"PrivatelinkPanic"}},
		{name: "the webhook is slow", role: roleSlow, inject: func(*site) {}, fires: []string{"PrivatelinkSlow"}},
		{name: "an image is missing", inject: show("kube_pod_container_status_waiting_reason"+agent, 0), fires: []string{"PrivatelinkImagesMissing"}},
		{name: "an image of an init container is missing", inject: show("kube_pod_init_container_status_waiting_reason"+agent, 0), fires: []string{"PrivatelinkImagesMissing"}},
		{name: "the mirror does not succeed", inject: show("", 4*time.Hour), fires: []string{"PrivatelinkMirrorOverdue"}},
	}
}

// Each fault fires its alerts in a real Prometheus, and no other.
func TestFaults(t *testing.T) {
	program := filepath.Join(t.TempDir(), "privatelink-webhook")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./"+filepath.Join(repository, "cmd", "privatelink-webhook")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	find(t)
	var mu sync.Mutex
	table := map[string][]string{}
	t.Run("fault", func(t *testing.T) {
		for _, f := range faults() {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				fired := f.observe(t, program)
				mu.Lock()
				defer mu.Unlock()
				table[f.name] = fired
				if diff := cmp.Diff(f.fires, fired); diff != "" {
					t.Errorf("-want +fired\n%s", diff)
				}
			})
		}
	})
	t.Logf("\n%s", format(shipped(t).alerts(), table))
	for _, alert := range shipped(t).alerts() {
		if !slices.ContainsFunc(faults(), func(f fault) bool { return slices.Contains(f.fires, alert) }) {
			t.Errorf("no fault fires %s", alert)
		}
	}
}

// observe returns the alerts that fired.
func (f fault) observe(t *testing.T, program string) []string {
	if f.leaf == 0 {
		f.leaf = 90 * 24 * time.Hour
	}
	s := newSite(t, program, f.role, f.leaf)
	f.inject(s)
	s.await("alerts "+strings.Join(f.fires, ", "), func() error {
		if fired := s.fired(); len(fired) < len(f.fires) {
			return fmt.Errorf("only %v fired", fired)
		}
		return nil
	})
	texts := s.texts()
	if len(f.fires) > 0 && texts == "" || strings.Contains(texts, "{{") || strings.Contains(texts, "<no value>") || strings.Contains(texts, "<error") {
		t.Errorf("the annotations are %q", texts)
	}
	time.Sleep(9 * time.Second) // for others: all but that of certificates wait less
	return s.fired()
}

// format is the table of alerts and faults.
func format(alerts []string, table map[string][]string) string {
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, f := range faults() {
		fmt.Fprintf(w, "%s", f.name)
		for _, alert := range alerts {
			mark := "-"
			if slices.Contains(table[f.name], alert) {
				mark = strings.TrimPrefix(alert, "Privatelink")
			}
			fmt.Fprintf(w, "\t%s", mark)
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // into a buffer
	return out.String()
}
