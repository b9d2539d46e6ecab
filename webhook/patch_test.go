// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/castai/privatelink-webhook/test/corpus"
)

var update = flag.Bool("update", false, "write testdata/patches afresh")

const registry = corpus.Registry

func TestEveryPodOfTheCorpusIsAPodToTheAPIServer(t *testing.T) {
	for name, pod := range corpus.Pods() {
		var typed corev1.Pod
		if err := utiljson.Unmarshal(pod, &typed); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if typed.APIVersion != "v1" || typed.Kind != "Pod" {
			t.Errorf("%s: %s of %s", name, typed.Kind, typed.APIVersion)
		}
	}
}

func TestPatchesOfTheCorpus(t *testing.T) {
	p, pods := testPatcher(t), corpus.Pods()
	patches := map[string][]byte{}
	for name, pod := range pods {
		patches[name], _ = p.Create(pod)
	}
	patches["ephemeral.update"], _ = p.UpdateEphemeral(pods["ephemeral.new"], pods["ephemeral.old"])

	for name, patch := range patches {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := json.Indent(&got, patch, "", "  "); err != nil {
				t.Fatal(err)
			}
			got.WriteByte('\n')
			path := filepath.Join("testdata", "patches", name+".json")
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v; write it with -update, and read it", err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("another patch than in %s (-want +got); with -update it is taken over:\n%s", path, diff)
			}
		})
	}
	files, err := filepath.Glob("testdata/patches/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".json"); patches[name] == nil {
			t.Errorf("%s belongs to no pod of the corpus", f)
		}
	}
}
