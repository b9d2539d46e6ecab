// SPDX-License-Identifier: Apache-2.0

// Command dashboard prints the ConfigMap with the Grafana dashboard of the webhook. Go
// builders check the fields, which a JSON file would not.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

func main() {
	text, err := configMap()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
	fmt.Print(text)
}

const header = `# Generated: go test ./... -update in internal/tools/dashboard. The label is the one that
# the sidecar of Grafana's chart looks for.
apiVersion: v1
kind: ConfigMap
metadata:
  name: privatelink-webhook-dashboard
  namespace: castai-privatelink
  labels:
    app.kubernetes.io/name: privatelink-webhook
    app.kubernetes.io/part-of: castai-privatelink
    grafana_dashboard: "1"
data:
  privatelink-webhook.json: |-
`

func configMap() (string, error) {
	d, err := build()
	if err != nil {
		return "", err
	}
	text, err := json.MarshalIndent(d, "    ", "  ")
	if err != nil {
		return "", err
	}
	return header + "    " + string(text) + "\n", nil
}

// A panel is a query with its unit and thresholds.
type panel struct {
	title, description string
	queries            []query
	unit               string
	isStat             bool
	steps              []step // at least the first, without a limit
}

type query struct{ expr, legend string }

// A step is the color from a value on.
type step struct {
	from  float64
	color string
}

// scrapeInterval is the smallest step of a panel: below the longest usual interval between
// two scrapes, $__rate_interval would have too few samples.
const scrapeInterval = "1m"

const refused = `apiserver_admission_webhook_rejection_count{name=~".+[.]privatelink[.]cast[.]ai",error_type="calling_webhook_error"}`

// perSecond sums a counter of the webhook by labels. A pod may be scraped twice, by its
// annotations and by the PodMonitor, and counts once.
func perSecond(metric, of, by string) string {
	return fmt.Sprintf("sum by (%s) (max by (instance, %s) (rate(%s[$__rate_interval])))", by, of, metric)
}

func quantile(q string) string {
	return "histogram_quantile(" + q + ", sum by (le) (rate(privatelink_review_duration_seconds_bucket[$__rate_interval])))"
}

func panels() []panel {
	return []panel{
		{
			title: "Webhook pods", description: "Pods that Prometheus scrapes. With one, a failure of its node refuses pods.", unit: "short", isStat: true,
			queries: []query{{"count(count by (instance) (privatelink_build_info)) or vector(0)", "pods"}}, steps: []step{{0, "red"}, {1, "yellow"}, {2, "green"}},
		},
		{
			title: "Reviews answered", description: "Share of the API server's calls that the webhook answered in five minutes. Needs the recording rules. Without a call there is no value.", unit: "percentunit", isStat: true,
			queries: []query{{"privatelink:reviews_answered:ratio5m", "answered"}}, steps: []step{{0, "red"}, {0.99, "yellow"}, {0.999, "green"}},
		},
		{
			title: "Containers that wait for an image", description: "Copy the images with: privatelink mirror --config privatelink.yaml --missing. Needs kube-state-metrics and the recording rules.", unit: "short", isStat: true,
			queries: []query{{"count(privatelink:image_missing:seconds) or vector(0)", "containers"}}, steps: []step{{0, "green"}, {1, "red"}},
		},
		{
			title: "Certificate expires in", description: "The serving certificate that expires first.", unit: "s", isStat: true,
			queries: []query{{`min(privatelink_certificate_not_after_seconds{certificate="leaf"}) - time()`, "leaf"}}, steps: []step{{0, "red"}, {86400, "green"}},
		},
		{
			title: "Reviews", description: "Reviews a second, by result.", unit: "reqps",
			queries: []query{{perSecond("privatelink_reviews_total", "operation, result", "result"), "{{result}}"}}, steps: []step{{0, "green"}},
		},
		{
			title: "Duration of reviews", description: "The API server waits three seconds, then it refuses the pod.", unit: "s",
			queries: []query{{quantile("0.5"), "median"}, {quantile("0.99"), "99 of 100"}}, steps: []step{{0, "green"}, {0.5, "yellow"}, {3, "red"}},
		},
		{
			title: "Pods refused", description: "Calls a second that the API server could not make, by the entry of the webhook configuration.", unit: "reqps",
			queries: []query{{"sum by (name) (max by (instance, name, type, operation, rejection_code) (rate(" + refused + "[$__rate_interval])))", "{{name}}"}}, steps: []step{{0, "green"}, {0.001, "red"}},
		},
		{
			title: "Waiting for images", description: "How long each container has been waiting for its image. Needs kube-state-metrics and the recording rules.", unit: "s",
			queries: []query{{"privatelink:image_missing:seconds", "{{namespace}}/{{pod}} {{container}}"}}, steps: []step{{0, "green"}, {300, "red"}},
		},
		{
			title: "Images", description: "Image references a second, by outcome. Those that are unparsable or illegal keep their public name.", unit: "ops",
			queries: []query{{perSecond("privatelink_images_total", "outcome", "outcome"), "{{outcome}}"}}, steps: []step{{0, "green"}},
		},
		{
			title: "Rewritten images", description: "Image references a second, by the registry that they came from.", unit: "ops",
			queries: []query{{perSecond("privatelink_images_rewritten_total", "source", "source"), "{{source}}"}}, steps: []step{{0, "green"}},
		},
		{
			title: "Rejected requests", description: "Requests a second that are no reviews, or too many large ones at once.", unit: "reqps",
			queries: []query{{perSecond("privatelink_requests_rejected_total", "reason", "reason"), "{{reason}}"}}, steps: []step{{0, "green"}},
		},
		{
			title: "Configurations", description: "Pods by the hash of the configuration in use.", unit: "short",
			queries: []query{{"count by (hash) (max by (instance, hash) (privatelink_config_info))", "{{hash}}"}}, steps: []step{{0, "green"}},
		},
		{
			title: "Memory", description: "Resident memory by pod. The limit is 128 MiB.", unit: "bytes",
			queries: []query{{"max by (instance) (process_resident_memory_bytes and on (job, instance) privatelink_build_info)", "{{instance}}"}}, steps: []step{{0, "green"}, {128 << 20, "red"}},
		},
	}
}

func build() (dashboard.Dashboard, error) {
	d := dashboard.NewDashboardBuilder("privatelink-webhook").
		Uid("privatelink-webhook").Tags([]string{"privatelink", "castai"}).Refresh("1m").Time("now-6h", "now").Timezone("browser").
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus"))
	for _, p := range panels() {
		if p.isStat {
			d.WithPanel(p.stat())
		} else {
			d.WithPanel(p.timeseries())
		}
	}
	return d.Build()
}

func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

func (p panel) thresholds() *dashboard.ThresholdsConfigBuilder {
	var all []dashboard.Threshold
	for i, s := range p.steps {
		t := dashboard.Threshold{Color: s.color}
		if i > 0 {
			t.Value = cog.ToPtr(s.from)
		}
		all = append(all, t)
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(all)
}

func (p panel) stat() *stat.PanelBuilder {
	b := stat.NewPanelBuilder().Title(p.title).Description(p.description).Datasource(source()).Unit(p.unit).Thresholds(p.thresholds()).Span(6).Height(4).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).Orientation(common.VizOrientationAuto)
	for i, q := range p.queries {
		b.WithTarget(q.target(i).Instant())
	}
	return b
}

func (p panel) timeseries() *timeseries.PanelBuilder {
	b := timeseries.NewPanelBuilder().Title(p.title).Description(p.description).Datasource(source()).Unit(p.unit).Thresholds(p.thresholds()).Min(0).
		Interval(scrapeInterval).Span(12).Height(8).
		// Without these, the builder's zero values hide both.
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	if len(p.steps) > 1 {
		b.ThresholdsStyle(common.NewGraphThresholdsStyleConfigBuilder().Mode(common.GraphThresholdsStyleModeDashed))
	}
	for i, q := range p.queries {
		b.WithTarget(q.target(i).Range())
	}
	return b
}

func (q query) target(i int) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().RefId(string(rune('A' + i))).Expr(q.expr).LegendFormat(q.legend)
}
