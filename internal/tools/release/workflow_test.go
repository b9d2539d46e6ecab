// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// A tag is read as a released version, so the images have none until everything was
// verified.
func TestTheWorkflowTagsAndPublishesLast(t *testing.T) {
	text, err := os.ReadFile("../../../.github/workflows/release.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs map[string]struct {
			Steps []struct{ Run string }
		}
	}
	if err := yaml.Unmarshal(text, &workflow); err != nil {
		t.Fatal(err)
	}
	var at []int
	for _, command := range []string{"make push-images", "./test/release/verify draft", "make tag-images", "gh release edit"} {
		at = append(at, slices.IndexFunc(workflow.Jobs["release"].Steps, func(step struct{ Run string }) bool {
			return strings.Contains(step.Run, command)
		}))
	}
	if slices.Contains(at, -1) || !slices.IsSorted(at) {
		t.Errorf("push by digest, verify, tag and publish are the steps %v", at)
	}
}
