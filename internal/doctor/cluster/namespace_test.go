// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestFindNamespace(t *testing.T) {
	configuration := func(configs ...admissionv1.WebhookClientConfig) *admissionv1.MutatingWebhookConfiguration {
		c := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "zz"}}
		for i, config := range configs {
			c.Webhooks = append(c.Webhooks, admissionv1.MutatingWebhook{Name: fmt.Sprint(i), ClientConfig: config})
		}
		return c
	}
	service := admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "team-x"}}
	url := admissionv1.WebhookClientConfig{URL: new("https://example.com")}
	for name, tc := range map[string]struct {
		configuration *admissionv1.MutatingWebhookConfiguration
		want          string
	}{
		"of the Service":            {configuration(service), "team-x"},
		"of the entry with Service": {configuration(url, service), "team-x"},
		"by URL":                    {configuration(url), "fallback"},
		"without entries":           {configuration(), "fallback"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := FindNamespace(t.Context(), fake.NewClientset(tc.configuration), "zz", "fallback"); got != tc.want {
				t.Errorf("have %s, want %s", got, tc.want)
			}
		})
	}
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	if got := FindNamespace(t.Context(), newChecker(t, server.URL).Client, "zz", "fallback"); got != "fallback" {
		t.Errorf("without a configuration: have %s", got)
	}
}
