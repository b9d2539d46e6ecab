// SPDX-License-Identifier: Apache-2.0

//go:build monitoring

package monitoring

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/testutil/prometheus"
)

// A promCase is a history of metrics, a sample a minute, and what fires in the end. Series
// that it does not name are those of a healthy cluster.
type promCase struct {
	series map[string]string
	at     int // minutes
	fires  []string
}

const refused = `apiserver_admission_webhook_rejection_count{name="pods.privatelink.cast.ai",error_type="calling_webhook_error",instance="api",job="apiserver"}`

// open counts what was admitted unchanged, with the failure policy Ignore.
const open = `apiserver_admission_webhook_fail_open_count{name="pods.privatelink.cast.ai",type="admit",instance="api",job="apiserver"}`

// healthy has two pods that are scraped twice, by the PodMonitor and by their
// annotations, and an API server. It lasts for ten hours.
func healthy() map[string]string {
	all := map[string]string{
		`up{instance="api",job="apiserver"}`: "1x600", `process_start_time_seconds{instance="api",job="apiserver"}`: "-90000x600",
		`kube_cronjob_status_last_successful_time{namespace="castai-mirror",cronjob="privatelink-mirror"}`: "0+60x600",
		`kube_cronjob_created{namespace="castai-mirror",cronjob="privatelink-mirror"}`:                     "-90000x600",
		`kube_mutatingwebhookconfiguration_info{mutatingwebhookconfiguration="zz-privatelink-webhook"}`:    "1x600",
		`kube_mutatingwebhookconfiguration_info{mutatingwebhookconfiguration="pod-identity-webhook"}`:      "1x600",
	}
	for _, instance := range []string{"a", "b"} {
		for _, job := range []string{"castai-privatelink/privatelink-webhook", "kubernetes-pods"} {
			labels := fmt.Sprintf(`instance=%q,job=%q}`, instance, job)
			for series, values := range map[string]string{
				`up{`: "1x600", `process_start_time_seconds{`: "-90000x600",
				`privatelink_build_info{version="v1",`: "1x600", `privatelink_config_info{hash="h1",`: "1x600",
				`privatelink_config_last_load_successful{`: "1x600", `privatelink_panics_total{`: "0x600", `privatelink_tls_distrusted_total{`: "0x600",
				`privatelink_images_total{outcome="rewritten",`: "0+3x600", `privatelink_images_total{outcome="unparsable",`: "0x600", `privatelink_images_total{outcome="illegal",`: "0x600",
				`privatelink_reviews_total{operation="create",result="rewritten",`: "0+3x600",
				`privatelink_certificate_not_after_seconds{certificate="leaf",`:    "604800x600", `privatelink_certificate_not_after_seconds{certificate="ca",`: "31536000x600",
				`privatelink_review_duration_seconds_bucket{le="0.001",`: "0+3x600", `privatelink_review_duration_seconds_bucket{le="1",`: "0+3x600", `privatelink_review_duration_seconds_bucket{le="+Inf",`: "0+3x600",
			} {
				all[series+labels] = values
			}
		}
	}
	return all
}

// of returns the series of both pods and jobs with a prefix, all with the values.
func of(prefix, values string) map[string]string {
	out := map[string]string{}
	for series := range healthy() {
		if strings.HasPrefix(series, prefix) {
			out[series] = values
		}
	}
	return out
}

func join(all ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range all {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

const waiting, waitingInit = `kube_pod_container_status_waiting_reason{namespace="castai-agent",pod="p",container="c",`, `kube_pod_init_container_status_waiting_reason{namespace="castai-agent",pod="p",container="i",`

// late are the series of a healthy cluster, from an hour on.
func late() map[string]string {
	out := map[string]string{}
	for series, values := range healthy() {
		out[series] = "_x60 " + values
	}
	return out
}

// replaced are the webhook's series of two new pods, from an hour on.
func replaced() map[string]string {
	out := map[string]string{}
	for series, values := range healthy() {
		if strings.HasPrefix(series, "privatelink_") || strings.HasPrefix(series, "process_start") && !strings.Contains(series, `"apiserver"`) {
			if strings.HasPrefix(series, "process_start") {
				values = "3600x600"
			}
			out[strings.NewReplacer(`instance="a"`, `instance="c"`, `instance="b"`, `instance="d"`).Replace(series)] = "_x60 " + values
		}
	}
	return out
}

// twice is a series of kube-state-metrics, which has two replicas.
func twice(series, values string) map[string]string {
	return map[string]string{series + `,instance="1"}`: values, series + `,instance="2"}`: values}
}

// gone are values that end: Prometheus marks a series of a target that is gone.
const gone = "1x20 stale _x600"

func cases() map[string]promCase {
	a := `instance="a",job="kubernetes-pods"}`
	oneLeft := map[string]string{}
	for series := range healthy() {
		if strings.HasPrefix(series, "privatelink_") && strings.Contains(series, `instance="b"`) {
			oneLeft[series] = gone
		}
	}
	return map[string]promCase{
		"a healthy cluster":                                           {nil, 500, nil},
		"a healthy cluster without a pod":                             {join(of("privatelink_reviews_total", "7x600"), of("privatelink_review_duration", "7x600")), 500, nil},
		"no webhook pod":                                              {of("privatelink_", gone), 24, []string{"PrivatelinkWebhookDown"}},
		"no webhook pod for a minute":                                 {of("privatelink_", gone), 22, nil},
		"one pod, scraped twice":                                      {oneLeft, 37, []string{"PrivatelinkWebhookNotRedundant"}},
		"one pod for ten minutes":                                     {oneLeft, 31, nil},
		"a first refusal, long ago":                                   {map[string]string{refused: "_x60 1x600"}, 300, nil},
		"a first refusal":                                             {map[string]string{refused: "_x60 1x600"}, 67, []string{"PrivatelinkPodsRefused"}},
		"a second refusal":                                            {map[string]string{refused: "1x60 2x600"}, 67, []string{"PrivatelinkPodsRefused"}},
		"refusals from before Prometheus":                             {join(map[string]string{refused: "_x60 5x600"}, map[string]string{`up{instance="api",job="apiserver"}`: "_x60 1x600"}), 67, nil},
		"a first pod is admitted unchanged":                           {map[string]string{open: "_x60 1x600"}, 62, []string{"PrivatelinkPodsAdmittedUnchanged"}}, // https://github.com/JiRaska/open-bank-oss/pull/1259
		"the same, an hour ago":                                       {map[string]string{open: "_x60 1x600"}, 120, nil},
		"another webhook fails open":                                  {map[string]string{strings.Replace(open, "pods.privatelink.cast.ai", "other.example.com", 1): "_x60 1+1x600"}, 67, nil},
		"another webhook refuses":                                     {map[string]string{strings.Replace(refused, "pods.privatelink.cast.ai", "other.example.com", 1): "_x60 1+1x600"}, 67, nil},
		"a policy of the webhook refuses":                             {map[string]string{strings.Replace(refused, "calling_webhook_error", "no_error", 1): "_x60 1+1x600"}, 67, nil},
		"refusals, without a label job":                               {map[string]string{strings.Replace(refused, `,job="apiserver"`, "", 1): "_x60 1x600", `up{instance="api"}`: "1x600"}, 67, []string{"PrivatelinkPodsRefused"}},
		"the certificate is distrusted":                               {join(of("privatelink_tls_distrusted_total", "0x60 0+5x600"), map[string]string{refused: "_x60 1+5x600"}), 67, []string{"PrivatelinkPodsRefused", "PrivatelinkCertificateDistrusted"}},
		"distrusted by a new process":                                 {join(of("privatelink_tls_distrusted_total", "_x60 1x600"), of(`process_start_time_seconds{instance="a"`, "3600x600"), map[string]string{refused: "_x60 1x600"}), 67, []string{"PrivatelinkPodsRefused", "PrivatelinkCertificateDistrusted"}},
		"a scanner distrusts it":                                      {of("privatelink_tls_distrusted_total", "0x60 0+5x600"), 67, nil},
		"a leaf is not renewed":                                       {of(`privatelink_certificate_not_after_seconds{certificate="leaf",instance="a"`, "90000x600"), 130, []string{"PrivatelinkCertificateExpires"}},
		"there is no leaf":                                            {of(`privatelink_certificate_not_after_seconds{certificate="leaf"`, "0x600"), 70, []string{"PrivatelinkCertificateExpires"}},
		"a CA is not renewed":                                         {of(`privatelink_certificate_not_after_seconds{certificate="ca"`, "5184000x600"), 70, []string{"PrivatelinkCertificateExpires"}},
		"the CA of files is not known":                                {of(`privatelink_certificate_not_after_seconds{certificate="ca"`, "0x600"), 130, nil},
		"a leaf is renewed half an hour late":                         {of(`privatelink_certificate_not_after_seconds{certificate="leaf"`, "90000x90 700000x600"), 130, nil},
		"a configuration is refused":                                  {of(`privatelink_config_last_load_successful{instance="a"`, "1x60 0x600"), 67, []string{"PrivatelinkConfigRefused"}},
		"a configuration is corrected":                                {of(`privatelink_config_last_load_successful{instance="a"`, "1x60 0x3 1x600"), 67, nil},
		"configurations differ":                                       {join(of(`privatelink_config_info{hash="h1",instance="a"`, "1x60 stale _x600"), map[string]string{`privatelink_config_info{hash="h2",` + a: "_x60 1x600"}), 77, []string{"PrivatelinkConfigDiffers"}},
		"a configuration is rolled out":                               {join(of(`privatelink_config_info{hash="h1"`, "1x62 stale _x600"), map[string]string{`privatelink_config_info{hash="h2",` + a: "_x60 1x600"}), 77, nil},
		"a first image that is unparsable":                            {of(`privatelink_images_total{outcome="unparsable",instance="a"`, "0x60 1x600"), 62, []string{"PrivatelinkImagesNotRewritten"}},
		"the same, of a new process":                                  {join(of(`privatelink_images_total{outcome="illegal",instance="a"`, "_x60 1x600"), of(`process_start_time_seconds{instance="a"`, "3600x600")), 62, []string{"PrivatelinkImagesNotRewritten"}},
		"the same, two hours ago":                                     {of(`privatelink_images_total{outcome="unparsable",instance="a"`, "0x60 1x600"), 190, nil},
		"a panic":                                                     {of(`privatelink_panics_total{instance="a"`, "0x60 1x600"), 62, []string{"PrivatelinkPanic"}},
		"a panic of a new process":                                    {join(of(`privatelink_panics_total{instance="a"`, "_x60 1x600"), of(`process_start_time_seconds{instance="a"`, "3600x600")), 62, []string{"PrivatelinkPanic"}},
		"a panic, two hours ago":                                      {of(`privatelink_panics_total{instance="a"`, "0x60 1x600"), 190, nil},
		"a certificate has expired":                                   {of(`privatelink_certificate_not_after_seconds{certificate="leaf",instance="a"`, "3600x600"), 130, []string{"PrivatelinkCertificateExpires"}},
		"Prometheus begins to scrape a healthy cluster":               {late(), 62, nil},
		"all pods are replaced":                                       {join(of("privatelink_", "1x60 stale _x600"), replaced()), 80, nil},
		"an API server misses a scrape after a refusal":               {map[string]string{refused: "_x60 1x2 _ 1x600"}, 67, []string{"PrivatelinkPodsRefused"}},
		"an image is missing, with two of kube-state-metrics":         {twice(waiting+`reason="ImagePullBackOff"`, "_x60 1x600"), 67, []string{"PrivatelinkImagesMissing"}},
		"the mirror does not succeed, with two of kube-state-metrics": {join(of("kube_cronjob_status", "_x600"), twice(`kube_cronjob_status_last_successful_time{namespace="castai-mirror",cronjob="privatelink-mirror"`, "0x600")), 187, []string{"PrivatelinkMirrorOverdue"}},
		"reviews are slow":                                            {of(`privatelink_review_duration_seconds_bucket{le="0.001"`, "0x600"), 75, []string{"PrivatelinkSlow"}},
		"reviews were slow for five minutes":                          {of(`privatelink_review_duration_seconds_bucket{le="0.001"`, "0+3x60 180x5 180+3x600"), 72, nil},
		"the webhook configuration is deleted":                        {of(`kube_mutatingwebhookconfiguration_info{mutatingwebhookconfiguration="zz-`, "1x60 stale _x600"), 67, []string{"PrivatelinkConfigurationDeleted"}},
		"the webhook configuration is missing for three minutes":      {of(`kube_mutatingwebhookconfiguration_info{mutatingwebhookconfiguration="zz-`, "1x60 stale _x2 1x600"), 67, nil},
		"no webhook configuration is known":                           {of("kube_mutatingwebhookconfiguration_info", "_x600"), 67, nil},
		"an image is missing":                                         {map[string]string{waiting + `reason="ImagePullBackOff"}`: "_x60 1x600"}, 67, []string{"PrivatelinkImagesMissing"}},
		"an image of an init container is missing":                    {map[string]string{waitingInit + `reason="ErrImagePull"}`: "_x60 1x600"}, 67, []string{"PrivatelinkImagesMissing"}},
		"the reasons alternate": {map[string]string{
			waiting + `reason="ImagePullBackOff"}`: "_x60" + strings.Repeat(" 1 1 stale _", 30), waiting + `reason="ErrImagePull"}`: "_x60" + strings.Repeat(" stale _ 1 1", 30),
		}, 80, []string{"PrivatelinkImagesMissing"}},
		"an image comes after three minutes": {map[string]string{waiting + `reason="ImagePullBackOff"}`: "_x60 1x3 stale _x600"}, 67, nil},
		"a pod of another namespace waits":   {map[string]string{strings.Replace(waiting, "castai-agent", "default", 1) + `reason="ImagePullBackOff"}`: "1x600"}, 67, nil},
		"a container waits for its creation": {map[string]string{waiting + `reason="ContainerCreating"}`: "1x600"}, 67, nil},
		"the mirror does not succeed":        {of("kube_cronjob_status", "0x600"), 187, []string{"PrivatelinkMirrorOverdue"}},
		"the mirror has never succeeded":     {join(of("kube_cronjob_status", "_x600"), of("kube_cronjob_created", "0x600")), 187, []string{"PrivatelinkMirrorOverdue"}},
		"the mirror is two hours old":        {join(of("kube_cronjob_status", "_x600"), of("kube_cronjob_created", "0x600")), 120, nil},
		"another CronJob does not succeed":   {map[string]string{`kube_cronjob_status_last_successful_time{namespace="castai-mirror",cronjob="other"}`: "0x600"}, 500, nil},
	}
}

// subjects are the alerts that a case which stays silent comes close to.
func subjects() map[string]string {
	return map[string]string{
		"PrivatelinkWebhookDown": "no webhook pod for a minute", "PrivatelinkWebhookNotRedundant": "one pod for ten minutes",
		"PrivatelinkPodsRefused": "a first refusal, long ago", "PrivatelinkPodsAdmittedUnchanged": "the same, an hour ago", "PrivatelinkCertificateDistrusted": "a scanner distrusts it",
		"PrivatelinkCertificateExpires": "a leaf is renewed half an hour late", "PrivatelinkConfigRefused": "a configuration is corrected",
		"PrivatelinkConfigDiffers": "a configuration is rolled out", "PrivatelinkImagesNotRewritten": "the same, two hours ago",
		"PrivatelinkPanic": "a panic, two hours ago", "PrivatelinkSlow": "reviews were slow for five minutes",
		"PrivatelinkConfigurationDeleted": "the webhook configuration is missing for three minutes",
		"PrivatelinkImagesMissing":        "an image comes after three minutes", "PrivatelinkMirrorOverdue": "the mirror is two hours old",
	}
}

func TestEveryAlertHasACaseInWhichItFiresAndOneInWhichItDoesNot(t *testing.T) {
	all, names := cases(), shipped(t).Alerts()
	for _, name := range names {
		fires := false
		for _, c := range all {
			fires = fires || slices.Contains(c.fires, name)
		}
		if silent, ok := all[subjects()[name]]; !fires || !ok || slices.Contains(silent.fires, name) {
			t.Errorf("%s: there is no case in which it fires, or none in which it does not", name)
		}
	}
	for _, c := range all {
		for _, name := range c.fires {
			if !slices.Contains(names, name) {
				t.Errorf("there is no alert %s", name)
			}
		}
	}
}

type object = map[string]any

func (c promCase) test(name string) object {
	series := []object{}
	for s, values := range join(healthy(), c.series) {
		series = append(series, object{"series": s, "values": values})
	}
	samples := []object{}
	for _, alert := range c.fires {
		samples = append(samples, object{"labels": fmt.Sprintf("{alertname=%q}", alert), "value": 1})
	}
	return object{"name": name, "interval": "1m", "input_series": series, "promql_expr_test": []object{{
		// All alerts, not only the one that the case is about.
		"expr": `group by (alertname) (ALERTS{alertstate="firing"})`, "eval_time": fmt.Sprintf("%dm", c.at), "exp_samples": samples,
	}}}
}

var repeated = regexp.MustCompile(`x(\d+)$`)

// minutes is the number of samples of a series.
func minutes(values string) (n int) {
	for word := range strings.FieldsSeq(values) {
		m := repeated.FindStringSubmatch(word)
		if m == nil {
			n++
			continue
		}
		times, _ := strconv.Atoi(m[1]) // the expression has digits
		n += times
		if !strings.HasPrefix(word, "_") {
			n++
		}
	}
	return n
}

func TestPromtool(t *testing.T) {
	var tests []object
	for name, c := range cases() {
		for series, values := range join(healthy(), c.series) {
			if _, known := healthy()[series]; minutes(values) <= c.at || strings.HasPrefix(series, "privatelink_") && !known && !strings.Contains(series, `hash="h2"`) && !strings.Contains(series, `instance="c"`) && !strings.Contains(series, `instance="d"`) {
				t.Errorf("%s: %s ends before %d minutes, or is no series of the webhook", name, series, c.at)
			}
		}
		tests = append(tests, c.test(name))
	}
	tests = append(tests, objectives(t)...)
	runPromtool(t, tests)
}

// ofTwoJobs are refusals of one API server, which two jobs scrape.
func ofTwoJobs(values string) map[string]string {
	other := func(series string) string { return strings.Replace(series, `job="apiserver"`, `job="kubernetes"`, 1) }
	const up = `up{instance="api",job="apiserver"}`
	return map[string]string{refused: values, other(refused): values, other(up): "1x600"}
}

// named returns a rule by the name of its alert.
func named(t *testing.T, alert string) prometheus.Rule {
	t.Helper()
	for _, g := range shipped(t).Groups {
		for _, r := range g.Rules {
			if r.Alert == alert {
				return r
			}
		}
	}
	t.Fatalf("there is no alert %s", alert)
	return prometheus.Rule{}
}

// objectives are cases of the recording rules, and of the values in annotations.
func objectives(t *testing.T) []object {
	t.Helper()
	expect := func(name string, series map[string]string, at int, expr string, value any, labels string) object {
		test := promCase{series: series, at: at}.test(name)
		samples := []object{}
		if value != nil {
			samples = append(samples, object{"labels": labels, "value": value})
		}
		test["promql_expr_test"] = []object{{"expr": expr, "eval_time": fmt.Sprintf("%dm", at), "exp_samples": samples}}
		return test
	}
	const ratio, missing = "privatelink:reviews_answered:ratio5m", "privatelink:image_missing:seconds"
	wait := map[string]string{waiting + `reason="ImagePullBackOff"}`: "_x60 1x10 stale _x600", waiting + `reason="ErrImagePull"}`: "_x71 1x10 stale _x600"}
	ofContainer := missing + `{container="c",namespace="castai-agent",pod="p"}`
	return []object{
		expect("all reviews are answered", nil, 100, ratio, 1, ratio),
		expect("a tenth is refused", join(of("privatelink_reviews_total", "0x600"), of(`privatelink_reviews_total{operation="create",result="rewritten",instance="a"`, "0+9x600"), map[string]string{refused: "0+1x600"}), 100, ratio, 0.9, ratio),
		expect("all are refused", join(of("privatelink_", gone), map[string]string{refused: "0+1x600"}), 100, ratio, 0, ratio),
		expect("a tenth is refused, by an API server that two jobs scrape", join(of("privatelink_reviews_total", "0x600"), of(`privatelink_reviews_total{operation="create",result="rewritten",instance="a"`, "0+9x600"), ofTwoJobs("0+1x600")), 100, ratio, 0.9, ratio),
		expect("four are refused, by an API server that two jobs scrape", ofTwoJobs("_x60 4x600"), 67, named(t, "PrivatelinkPodsRefused").Expr, 4, `{name="pods.privatelink.cast.ai"}`),
		expect("an image is missing, with two of kube-state-metrics", twice(waiting+`reason="ErrImagePull"`, "_x60 1x600"), 65, missing, 300, ofContainer),
		expect("idle: neither a value nor NaN", of("privatelink_reviews_total", "7x600"), 500, ratio, nil, ""),
		expect("an image is missing for five minutes", wait, 65, missing, 300, ofContainer),
		expect("for a quarter of an hour, with two reasons", wait, 75, missing, 900, ofContainer),
		expect("the image is there", wait, 90, missing, nil, ""),
		expect("the time until it was there", wait, 300, "max_over_time("+missing+"[1d])", 1260, `{container="c",namespace="castai-agent",pod="p"}`),
	}
}

// The annotations of an alert name what it is about, for both kinds of containers.
func TestAnnotationsNameThePod(t *testing.T) {
	for container, series := range map[string]string{"c": waiting + `reason="ImagePullBackOff"}`, "i": waitingInit + `reason="ImagePullBackOff"}`} {
		test := promCase{series: map[string]string{series: "1x600"}, at: 100}.test("annotations")
		delete(test, "promql_expr_test")
		annotations := named(t, "PrivatelinkImagesMissing").Annotations
		test["alert_rule_test"] = []object{{"alertname": "PrivatelinkImagesMissing", "eval_time": "100m", "exp_alerts": []object{{
			"exp_labels": object{"severity": "warning", "namespace": "castai-agent", "pod": "p", "container": container},
			"exp_annotations": object{
				"summary": annotations["summary"], "runbook_url": annotations["runbook_url"],
				"description": "Container " + container + " of pod castai-agent/p cannot pull its image. Copy the images that pods wait for with `privatelink mirror --config privatelink.yaml --missing`.",
			},
		}}}}
		runPromtool(t, []object{test})
	}
}

func runPromtool(t *testing.T, tests []object) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "rules.yaml"), shipped(t))
	cmd := exec.CommandContext(t.Context(), find(t).Promtool, "test", "rules", write(t, filepath.Join(dir, "tests.yaml"), object{
		"rule_files": []string{"rules.yaml"}, "evaluation_interval": "1m", "tests": tests,
	}))
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "SUCCESS") {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
