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

// Rules and hosts that are taken make legal names; this guards against one that does not.
func TestAComposedTargetMustReadAsItself(t *testing.T) {
	for _, tc := range []struct {
		registry, path, tag string
		want                Reason
	}{
		{"registry.example.com/castai", "quay.io/acme/w", "v1", ""},
		{"registry.example.com/castai", "quay.io/Acme/w", "v1", NotECRLegal},
		{"registry.example.com/castai", "quay.io/acme/w", "v 1", NotECRLegal},
		{"index.docker.io/castai", "quay.io/acme/w", "v1", NotECRLegal}, // reads as docker.io/castai
	} {
		target, _, reason := (&Rules{registry: tc.registry}).compose(tc.path, Reference{Tag: tc.tag}, decision{})
		if reason != tc.want || (target == "") != (reason != "") {
			t.Errorf("%s/%s:%s: target %q, reason %q, want %q", tc.registry, tc.path, tc.tag, target, reason, tc.want)
		}
	}
}
