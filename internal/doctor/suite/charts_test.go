// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"net/url"
	"testing"

	"github.com/castai/privatelink-webhook/internal/doctor/cluster"
)

func TestChartHost(t *testing.T) {
	for address, want := range map[string]string{
		"https://castai.github.io/helm-charts":        "castai.github.io:443",
		"http://charts.example.com":                   "charts.example.com:80",
		"https://charts.example.com:8443/castai":      "charts.example.com:8443",
		"http://chartmuseum:8080/charts":              "chartmuseum.castai-agent.svc:8080",
		"http://charts.tools.svc.cluster.local":       "charts.tools.svc:80",
		"https://[fd00:ec2::1]/charts":                "[fd00:ec2::1]:443",
		"https://charts.s3.us-east-1.amazonaws.com./": "charts.s3.us-east-1.amazonaws.com:443",
		"oci://charts.example.com":                    "",
	} {
		got := ""
		if target, ok := chartHost(cluster.ChartRepository{Namespace: "castai-agent", URL: address}); ok {
			got = target.String()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
	proxy := &url.URL{Scheme: "http", Host: "proxy.example.com:3128"}
	if got, _ := chartHost(cluster.ChartRepository{URL: "https://castai.github.io", Proxy: proxy}); got.String() != proxy.Host {
		t.Errorf("through a proxy: %s", got)
	}
}
