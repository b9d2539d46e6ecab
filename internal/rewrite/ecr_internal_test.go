// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"
	"strings"
	"testing"
)

// The pattern is constant, because it is part of the rendered bundle. It must
// name the domains of the partitions and no others.
func TestECRPatternHasTheDomainsOfThePartitions(t *testing.T) {
	var want []string
	for _, p := range partitions {
		want = append(want, p.domain)
		if p.dualStack != "" {
			want = append(want, p.dualStack)
		}
	}
	_, rest, _ := strings.Cut(ECRPattern, "[a-z0-9-]+[.](")
	list, _, _ := strings.Cut(rest, ")(:[0-9]+)?/")
	var got []string
	for domain := range strings.SplitSeq(strings.ReplaceAll(list, "[.]", "."), "|") {
		if short, ok := strings.CutSuffix(domain, "(.cn)?"); ok {
			got = append(got, short+".cn")
			domain = short
		}
		got = append(got, domain)
	}
	slices.Sort(want)
	slices.Sort(got)
	if want = slices.Compact(want); !slices.Equal(got, want) {
		t.Errorf("the pattern has the domains %q, the partitions have %q", got, want)
	}
}
