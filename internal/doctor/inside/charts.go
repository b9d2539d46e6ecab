// SPDX-License-Identifier: Apache-2.0

package inside

import (
	"context"
	"slices"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/probe"
)

// fixAuthority names values of the chart castware-operator.
const fixAuthority = "use a certificate of a public authority; or mount yours in the operator with the values extraVolumes and extraVolumeMounts, and name its folder in webhook.env.SSL_CERT_DIR"

func (k *checker) charts(ctx context.Context) doctor.Finding {
	switch {
	case k.Charts.Err != nil:
		return probeFailed(k.Charts.Err)
	case len(k.Charts.Hosts) == 0 && k.Charts.IsUnusable:
		return doctor.Skippedf("the operator fetches no charts, see cluster/chart-repository")
	case len(k.Charts.Hosts) == 0:
		return doctor.OKf("CAST AI's operator is not installed")
	}
	return k.evaluate(k.Charts.Hosts, k.evaluateCharts)(ctx)
}

// evaluateCharts requires connections and, on port 443, certificates. A proxy or a
// repository on another port may speak HTTP.
func (k *checker) evaluateCharts(results []probe.Result) doctor.Finding {
	failed, details := unreachable(results)
	if len(failed) > 0 {
		return doctor.Failf(k.Charts.Remedy+"\nIf the host is inside, allow its port in security groups and NetworkPolicies", "%s", doctor.List(failed, 2)).With(details...)
	}
	secure := slices.DeleteFunc(slices.Clone(results), func(r probe.Result) bool { return r.Port != 443 })
	if f := evaluateTLS(k.Roots)(secure); f.Status == doctor.Failed {
		// The operator may have authorities that this machine does not.
		return doctor.Warnf(fixAuthority, "%s", f.Found).With(f.Details...)
	}
	return doctor.OKf("%d hosts answer", len(results))
}
