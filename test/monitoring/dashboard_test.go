// SPDX-License-Identifier: Apache-2.0

//go:build monitoring

package monitoring

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/internal/testutil/golden"
	"github.com/castai/privatelink-webhook/internal/testutil/prometheus"
	"github.com/castai/privatelink-webhook/test/monitoring/picture"
)

// dashboardPanels are the panels of the shipped dashboard.
func dashboardPanels(t *testing.T) (panels []picture.Panel) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "deploy", "components", "monitoring", "dashboard.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var configMap struct{ Data map[string]string }
	if err := yaml.Unmarshal(text, &configMap); err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title, Type string
			GridPos     struct{ X, Y, W, H int }
			FieldConfig struct {
				Defaults struct {
					Unit       string
					Thresholds struct {
						Steps []struct {
							Value *float64
							Color string
						}
					}
				}
			}
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal([]byte(configMap.Data["privatelink-webhook.json"]), &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		panel := picture.Panel{Title: p.Title, Unit: p.FieldConfig.Defaults.Unit, IsStat: p.Type == "stat", X: p.GridPos.X, Y: p.GridPos.Y, W: p.GridPos.W, H: p.GridPos.H}
		for _, s := range p.FieldConfig.Defaults.Thresholds.Steps {
			panel.Steps = append(panel.Steps, picture.Step{From: s.Value, Color: s.Color})
		}
		for _, target := range p.Targets {
			panel.Queries = append(panel.Queries, picture.Query{Expr: target.Expr, Legend: target.LegendFormat})
		}
		panels = append(panels, panel)
	}
	if len(panels) < 10 {
		t.Fatalf("the dashboard has only %d panels", len(panels))
	}
	return panels
}

// drawn is how long the picture shows the site.
const drawn = time.Minute

// The picture in the documentation shows the panels of the dashboard as they are now, with
// the answers of a real Prometheus while a site has faults. -update draws it again.
func TestThePictureOfTheDashboard(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", 90*24*time.Hour)
	s.minuteOfFaults()
	panels := dashboardPanels(t)
	empty := picture.WithoutData(picture.Draw(panels, drawn.Seconds()))
	for i := range panels {
		for _, q := range panels[i].Queries {
			panels[i].Series = append(panels[i].Series, s.series(q)...)
		}
		if len(panels[i].Series) == 0 {
			t.Errorf("%s has no answer", panels[i].Title)
		}
	}
	file := filepath.Join(repository, "docs", "reference", "dashboard.svg")
	now := picture.Draw(panels, drawn.Seconds())
	if golden.Update() {
		if err := os.WriteFile(file, now, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	shown, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// Values differ each time. All else is the same.
	const again = "the picture is of an older dashboard: run go test -tags monitoring -run TestThePictureOfTheDashboard ./test/monitoring -update"
	if d := gocmp.Diff(empty, picture.WithoutData(shown)); d != "" {
		t.Errorf("%s (-dashboard +picture)\n%s", again, d)
	}
	if d := gocmp.Diff(picture.Legends(now), picture.Legends(shown)); d != "" {
		t.Errorf("%s (-dashboard +picture)\n%s", again, d)
	}
}

// minuteOfFaults makes something happen in every panel.
func (s *site) minuteOfFaults() {
	public := []string{"us-docker.pkg.dev/castai-hub/library/agent:v1", "ghcr.io/castai/images/evictor:v1", registry + "/agent:v1"}
	waits := func(pod string) *string {
		return new(state(fmt.Sprintf("kube_pod_container_status_waiting_reason{namespace=\"castai-agent\",pod=%q,container=\"main\",reason=\"ImagePullBackOff\"} 1\n", pod), time.Now()))
	}
	s.must(s.control(control{Images: public}))
	s.began = time.Now()
	at := func(seconds int, do func()) {
		time.Sleep(time.Until(s.began.Add(time.Duration(seconds) * time.Second)))
		do()
	}
	at(8, func() { s.must(s.control(control{State: waits("evictor-0")})) })
	at(15, func() { s.must(s.control(control{IsBlocked: new(true)})) })
	at(20, func() { s.must(s.control(control{IsBlocked: new(false)})) })
	at(25, func() {
		s.must(s.control(control{State: new(state("", time.Now())), Images: append(public, "Ghcr.IO/a")}))
	})
	at(32, func() {
		s.must(os.WriteFile(s.configs[0], []byte("registry: "+registry+"\nkeep: [quay.io/kept]\n"), 0o600))
	})
	at(35, func() { s.must(s.control(control{Images: public})) })
	for second := 38; second < 45; second++ {
		at(second, s.noReview)
	}
	at(46, func() { s.must(os.WriteFile(s.configs[0], []byte("registry: "+registry+"\n"), 0o600)) })
	at(48, func() { s.must(s.control(control{State: waits("agent-1")})) })
	at(int(drawn.Seconds())+1, func() {})
}

// noReview sends a request that is no review.
func (s *site) noReview() {
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	response, err := client.Post("https://"+s.reviews+"/mutate", "text/plain", strings.NewReader("hello"))
	s.must(err)
	_ = response.Body.Close()
}

var label = regexp.MustCompile(`\{\{(\w+)\}\}`)

// series are the answers to a query of a panel, one a second, in the order of legends.
func (s *site) series(q picture.Query) (all []picture.Series) {
	s.Helper()
	expression := strings.ReplaceAll(q.Expr, "$__rate_interval", "4s") // Prometheus scrapes twice a second
	var answer struct {
		Result []struct {
			Metric map[string]string
			Values [][2]any
		}
	}
	s.must(prometheus.Get(s.Context(), s.query, "query_range", url.Values{
		"query": {expression}, "start": {fmt.Sprint(s.began.Unix())}, "end": {fmt.Sprint(s.began.Add(drawn).Unix())}, "step": {"1"},
	}, &answer))
	for _, r := range answer.Result {
		one := picture.Series{Legend: label.ReplaceAllStringFunc(q.Legend, func(l string) string { return r.Metric[label.FindStringSubmatch(l)[1]] })}
		for _, v := range r.Values {
			at, _ := v[0].(float64) // Prometheus' format: a number and a string
			text, _ := v[1].(string)
			if value, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(value) {
				one.Points = append(one.Points, picture.Point{At: at - float64(s.began.Unix()), Value: value})
			}
		}
		if len(one.Points) > 0 {
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b picture.Series) int { return cmp.Compare(a.Legend, b.Legend) })
	return all
}
