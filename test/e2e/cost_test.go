// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster/metrics"
	"github.com/castai/privatelink-webhook/test/e2e/framework/harness"
)

// BenchmarkAdmission measures what the webhook adds to the creation of a pod on
// a real API server: to the whole call, and to the admission in it. With and
// without take turns, so that what else happens on the machine happens to both.
//
// The quantiles of the client are exact. Those of the API server come from
// histograms whose first bucket ends at 5 ms: where all is in it, p50 is 2.5 ms
// and p99 4.95 ms, whatever the truth is. The means are exact there as well.
func BenchmarkAdmission(b *testing.B) {
	const turns, pods = 8, 250
	configuration := installed(b)
	with, without := &cost{image: target}, &cost{image: public}
	for b.Loop() {
		for range turns {
			configured(b, nil)
			without.measure(b, pods)
			configured(b, configuration)
			with.measure(b, pods)
		}
	}
	b.ReportMetric(0, "ns/op") // of all turns together: it says nothing
	table := fmt.Sprintf("%d pods each; of what the API server says, quantiles below 5 ms are interpolated, and the means exact\n%-28s %8s %8s %8s", with.client.Count(), "milliseconds", "p50", "p99", "mean")
	table += row(b, "create-with", "the client's call, with", &with.client, nil)
	table += row(b, "create-without", "                   without", &without.client, nil)
	table += row(b, "create-ratio", "                   ratio", &with.client, &without.client)
	table += row(b, "admit-with", "admission in it, with", &with.admit, nil)
	table += row(b, "admit-without", "                 without", &without.admit, nil)
	table += row(b, "admit-ratio", "                 ratio", &with.admit, &without.admit)
	table += row(b, "webhook", "the webhook in that", &with.webhook, nil)
	b.Log(table)
	if n, m := without.webhook.Count(), with.webhook.Count(); n > 0 || m != with.client.Count() {
		b.Errorf("the webhook was called %d times without its configuration, and %d times with it for %d pods", n, m, with.client.Count())
	}
}

// spread is what can be said of many durations.
type spread interface {
	Mean() time.Duration
	Quantile(float64) time.Duration
}

// row reports milliseconds, or the ratio to what there is to compare with. It
// returns the same as a row of a table.
func row(b *testing.B, unit, title string, of, to spread) string {
	b.Helper()
	var line strings.Builder
	line.WriteString(fmt.Sprintf("\n%-28s", title))
	for _, v := range []struct {
		name string
		of   func(spread) time.Duration
	}{
		{"p50", func(s spread) time.Duration { return s.Quantile(.5) }},
		{"p99", func(s spread) time.Duration { return s.Quantile(.99) }},
		{"mean", spread.Mean},
	} {
		value, suffix := v.of(of).Seconds()*1000, "-ms"
		if to != nil {
			value, suffix = value/(v.of(to).Seconds()*1000), ""
		}
		b.ReportMetric(value, unit+"-"+v.name+suffix)
		line.WriteString(fmt.Sprintf(" %8.2f", value))
	}
	return line.String()
}

// cost is what the creation of pods took, over some turns.
type cost struct {
	image          string // that they get
	client         calls
	admit, webhook metrics.Durations // as the API server sees them
}

// measure creates pods one after the other, and removes them.
func (c *cost) measure(b *testing.B, pods int) {
	b.Helper()
	before := scrape(b)
	for range pods {
		p := pod("", public)
		p.GenerateName, p.Labels = "cost-", map[string]string{"cost": ""}
		begin := time.Now()
		p, err := h.Client.CoreV1().Pods(Namespace).Create(testCtx, p, metav1.CreateOptions{})
		c.client = append(c.client, time.Since(begin))
		if err != nil {
			b.Fatal(err)
		}
		if got := p.Spec.Containers[0].Image; got != c.image {
			b.Fatalf("image %q, want %q", got, c.image)
		}
	}
	after := scrape(b)
	for name, to := range map[string]*metrics.Durations{metrics.Step: &c.admit, metrics.Webhook: &c.webhook} {
		labels := map[string]string{"operation": "CREATE", "type": "admit"}
		if name == metrics.Webhook {
			labels["name"] = "pods.privatelink.cast.ai"
		}
		d, err := metrics.Between(before, after, name, labels)
		if err != nil {
			b.Fatal(err)
		}
		to.Add(d)
	}
	now := int64(0)
	if err := h.Client.CoreV1().Pods(Namespace).DeleteCollection(testCtx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{LabelSelector: "cost"}); err != nil {
		b.Fatal(err)
	}
}

func scrape(b *testing.B) []byte {
	b.Helper()
	text, err := metrics.Scrape(testCtx, h.Client.CoreV1().RESTClient())
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// calls are the durations of calls, each of them.
type calls []time.Duration

func (c calls) Count() int { return len(c) }

func (c calls) Mean() (d time.Duration) {
	for _, one := range c {
		d += one
	}
	return d / time.Duration(len(c))
}

func (c calls) Quantile(q float64) time.Duration {
	return slices.Sorted(slices.Values(c))[int(q*float64(len(c)-1))]
}

// installed installs the bundle and returns the configuration with which pods
// are rewritten.
func installed(b *testing.B) *admissionv1.MutatingWebhookConfiguration {
	b.Helper()
	dir, err := h.Tree()
	if err == nil {
		_, err = h.Kubectl(testCtx, nil, "apply", "-k", dir)
	}
	if err == nil {
		err = h.AwaitWebhook(testCtx)
	}
	if err != nil {
		b.Fatal(err)
	}
	_, err = h.Client.CoreV1().Namespaces().Create(testCtx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		b.Fatal(err)
	}
	await(b, target)
	c, err := h.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(testCtx, deploy.ConfigurationName, metav1.GetOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// configured makes this the webhook's configuration, which has its caBundle in
// it; nil takes it away.
func configured(b *testing.B, c *admissionv1.MutatingWebhookConfiguration) {
	b.Helper()
	api := h.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	if c == nil {
		if err := api.Delete(testCtx, deploy.ConfigurationName, metav1.DeleteOptions{}); err != nil {
			b.Fatal(err)
		}
		await(b, public)
		return
	}
	c = c.DeepCopy()
	c.ResourceVersion, c.UID = "", ""
	if _, err := api.Create(testCtx, c, metav1.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
	await(b, target)
}

// await returns when a pod with the public image gets this one.
func await(b *testing.B, image string) {
	b.Helper()
	err := harness.Eventually(testCtx, 30*time.Second, func(ctx context.Context) error {
		got, err := try(ctx, Namespace, public)
		if err == nil && got != image {
			err = fmt.Errorf("image %s, want %s", got, image)
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}
