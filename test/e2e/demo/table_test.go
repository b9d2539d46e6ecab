// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/test/e2e"
	"github.com/castai/privatelink-webhook/test/e2e/framework/harness"
)

const target = harness.Registry + "/agent:v1"

func TestTheReport(t *testing.T) {
	rules, err := rewrite.New(rewrite.Config{Registry: harness.Registry})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		pod, line, last string
		want            error
	}{
		"the annotation contains the source": {
			pod: `{"metadata":{"name":"p","annotations":{"privatelink.cast.ai/original-images":"{\"containers/a\":\"ghcr.io/castai/images/agent:v1\"}"}},
				"spec":{"containers":[{"name":"a","image":"` + target + `"}]}}`,
			line: "p a ghcr.io/castai/images/agent:v1 " + target, last: "1 pods, 1 images, 0 public",
		},
		"an image counts once": {
			pod:  `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"a","image":"` + target + `"},{"name":"b","image":"` + target + `"}]}}`,
			line: "p b (as it is) " + target, last: "1 pods, 1 images, 0 public",
		},
		"the list is named unless it is containers": {
			pod:  `{"metadata":{"name":"p"},"spec":{"initContainers":[{"name":"i","image":"` + target + `"}]}}`,
			line: "p i (init) (as it is) " + target, last: "1 pods, 1 images, 0 public",
		},
		"a volume": {
			pod:  `{"metadata":{"name":"p"},"spec":{"volumes":[{"name":"v","image":{"reference":"` + target + `"}}]}}`,
			line: "p v (volume) (as it is) " + target, last: "1 pods, 1 images, 0 public",
		},
		"an ephemeral container has the source of the demo": {
			pod:  `{"metadata":{"name":"p"},"spec":{"ephemeralContainers":[{"name":"e","image":"` + target + `"}]}}`,
			line: "p e (ephemeral) " + e2e.DebugImage + " " + target, last: "1 pods, 1 images, 0 public",
		},
		"digests are shortened": {
			pod:  `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"a","image":"` + target + `@sha256:` + strings.Repeat("0", 64) + `"}]}}`,
			line: "p a (as it is) " + target + "@sha256:000000000000...", last: "1 pods, 1 images, 0 public",
		},
		"a public image is an error": {
			pod:  `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"a","image":"quay.io/acme/x:1"}]}}`,
			line: "p a (as it is) quay.io/acme/x:1 <- PUBLIC", last: "1 pods, 1 images, 1 public", want: errPublic,
		},
		"an image that the rules cannot map is public, too": {
			pod:  `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"a","image":"Upper.io/x:1"}]}}`,
			line: "p a (as it is) Upper.io/x:1 <- PUBLIC", last: "1 pods, 1 images, 1 public", want: errPublic,
		},
		"so is a public value of a listed variable, but not a tag": {
			pod: `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"a","image":"` + target + `","env":[
				{"name":"SCANNERS_IMAGE","value":"v1.2.3"},{"name":"JMX_EXPORTER_INIT_IMAGE","value":"quay.io/acme/jmx:1"}]}]}}`,
			line: "p a ($JMX_EXPORTER_INIT_IMAGE) (as it is) quay.io/acme/jmx:1 <- PUBLIC", last: "1 pods, 2 images, 1 public", want: errPublic,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if err := report(&out, rules, []json.RawMessage{json.RawMessage(tc.pod)}); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			found := false
			for _, l := range lines {
				found = found || strings.Join(strings.Fields(l), " ") == tc.line
			}
			if !found {
				t.Errorf("no line %q in\n%s", tc.line, out.String())
			}
			if got := lines[len(lines)-1]; got != tc.last {
				t.Errorf("last line %q, want %q", got, tc.last)
			}
		})
	}
}

func TestTheReportRefusesInvalidPods(t *testing.T) {
	rules, err := rewrite.New(rewrite.Config{Registry: harness.Registry})
	if err != nil {
		t.Fatal(err)
	}
	for pod, want := range map[string]string{
		`{"spec":{"containers":3}}`: "pod/spec/containers: want an array",
		`{"metadata":{"name":"p","annotations":{"privatelink.cast.ai/original-images":"x"}}}`: "pod p: annotation",
	} {
		if err := report(io.Discard, rules, []json.RawMessage{json.RawMessage(pod)}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", pod, err, want)
		}
	}
}
