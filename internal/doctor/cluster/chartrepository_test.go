// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

const operatorClusters = "/apis/castware.cast.ai/v1alpha1/clusters"

// operator is an API server with CAST AI's operator, whose object has this address.
func operator(address, image, env string) map[string]string {
	return map[string]string{
		"/apis/castware.cast.ai/v1alpha1": `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"castware.cast.ai/v1alpha1","resources":[]}`,
		operatorClusters:                  fmt.Sprintf(`{"items":[{"metadata":{"namespace":"castai-agent","name":"castai"},"spec":{"helmRepoURL":%q}}]}`, address),
		"/apis/apps/v1/namespaces/castai-agent/deployments": fmt.Sprintf(`{"kind":"DeploymentList","apiVersion":"apps/v1","items":[
			{"metadata":{"name":"agent","annotations":{"meta.helm.sh/release-name":"castai-agent"},"labels":{"helm.sh/chart":"castai-agent-0.98.0"}}},
			{"metadata":{"name":"operator"},"spec":{"template":{"spec":{"containers":[{"name":"operator","image":%q,"env":[%s]}]}}}}]}`, image, env),
	}
}

func TestChartRepository(t *testing.T) {
	const (
		public  = "https://castai.github.io/helm-charts"
		private = "https://charts.example.com/castai"
		image   = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai/castware-operator:v0.10.1"
		proxy   = `{"name":"https_proxy","value":"http://ann:word@proxy.example.com:3128"},{"name":"NO_PROXY","value":".example.com"}`
	)
	forbidden, noList := operator(public, image, ""), operator(public, image, "")
	delete(forbidden, operatorClusters)
	noList[operatorClusters] = "[]"
	for name, tc := range map[string]struct {
		responses map[string]string
		isProbed  bool
		want      doctor.Status
		found     string // in the finding, its details or its remedy
	}{
		"the public repository": {operator(public, image, ""), false, doctor.Warning, "kubectl -n castai-agent patch clusters.castware.cast.ai castai --type=merge"},
		"the probe tells":       {operator(public, image, ""), true, doctor.OK, public},
		"upper case":            {operator("https://CASTAI.github.io/helm-charts", image, ""), false, doctor.Warning, "fetches charts from castai.github.io"},
		"a private repository":  {operator(private, image, ""), false, doctor.OK, "castai-agent (castai-agent-0.98.0): Helm does not store its repository"},
		"through a proxy":       {operator(public, image, proxy), false, doctor.OK, "through the proxy http://proxy.example.com:3128\n"},
		"not through the proxy": {operator(private, image, proxy), false, doctor.OK, "helmRepoURL \"" + private + "\"\n"},
		"a registry":            {operator("oci://charts.example.com/castai", image, ""), true, doctor.Failed, "knows no OCI registry"},
		"a password":            {operator("https://ann:word@charts.example.com", image, ""), false, doctor.OK, `helmRepoURL "https://ann:xxxxx@charts.example.com"`},
		"a password, no URL":    {operator("https://ann:word@%zz", image, ""), false, doctor.Failed, `charts from "%zz"`},
		"no URL":                {operator("https://%zz", image, ""), false, doctor.Failed, `charts from "https://%zz"`},
		"no address":            {operator("", image, ""), false, doctor.Failed, `charts from ""`},
		"not installed":         {nil, false, doctor.OK, "not installed"},
		"objects left behind":   {operator(public, "registry.example.com/castware-operator-tools:v1", ""), false, doctor.OK, "not installed"},
		"no permission":         {forbidden, false, doctor.Unknown, "clusters.castware.cast.ai is forbidden"},
		"not a list":            {noList, false, doctor.Unknown, "cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				switch text, ok := tc.responses[r.URL.Path]; {
				case ok:
					fmt.Fprint(w, text)
				case r.URL.Path == operatorClusters:
					w.WriteHeader(http.StatusForbidden)
					fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"clusters.castware.cast.ai is forbidden: User ann cannot list resource"}`)
				default:
					w.WriteHeader(http.StatusNotFound)
					fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
				}
			}))
			defer server.Close()
			k := newChecker(t, server.URL)
			k.IsProbed = tc.isProbed
			f := k.chartRepository(t.Context())
			if text := f.Found + "\n" + strings.Join(f.Details, "\n") + f.Remedy; strings.Contains(text, "word") || f.Status != tc.want || !strings.Contains(text, tc.found) || (f.Remedy == "") != (tc.want == doctor.OK) {
				t.Errorf("%+v, want %s with %q", f, tc.want, tc.found)
			}
		})
	}
}
