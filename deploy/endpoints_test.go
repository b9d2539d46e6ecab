// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"regexp"
	"testing"
)

func TestEveryRegionHasEveryServiceOfCASTAIOnce(t *testing.T) {
	e, err := NeededEndpoints()
	if err != nil {
		t.Fatal(err)
	}
	if len(e.AWS) == 0 || len(e.CASTAI) == 0 || len(e.PrivateLinkRegions()) == 0 {
		t.Fatalf("%+v", e)
	}
	seen := map[string]bool{}
	for _, region := range e.PrivateLinkRegions() {
		services := e.Regions[region]
		if len(services) != len(e.CASTAI) {
			t.Errorf("%s has %d services, want %d", region, len(services), len(e.CASTAI))
		}
		form := regexp.MustCompile(`^com\.amazonaws\.vpce\.` + region + `\.vpce-svc-[0-9a-f]{17}$`)
		for _, s := range e.CASTAI {
			name := services[s.Name]
			if !form.MatchString(name) || seen[name] {
				t.Errorf("%s %s: %q", region, s.Name, name)
			}
			seen[name] = true
		}
	}
}
