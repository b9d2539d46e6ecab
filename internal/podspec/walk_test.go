// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWalk(t *testing.T) {
	for document, want := range map[string][]string{
		`{"kind": "Pod", "metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": []}}`:                                                {"Pod n/p /spec"},
		`{"kind": "Deployment", "metadata": {"generateName": "d-"}, "spec": {"template": {"spec": {"initContainers": [{}]}}}}`:                    {"Deployment /d- /spec/template/spec"},
		`{"kind": "Nightly", "metadata": {"name": "c"}, "spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": []}}}}}}`:           {"Nightly /c /spec/jobTemplate/spec/template/spec"},
		`{"kind": "PodList", "items": [{"metadata": {"name": "a"}, "spec": {"containers": []}}, {"kind": "Secret", "spec": {"containers": []}}]}`: {"Pod /a /items/0/spec"},
		`{"kind": "WishList", "metadata": {"name": "w"}, "spec": {"template": {"spec": {"containers": []}}}}`:                                     {"WishList /w /spec/template/spec"},
		`{"kind": "ConfigMap", "spec": {"template": {"spec": {"containers": []}}}}`:                                                               nil,
		`{"kind": "Custom", "spec": {"template": {"spec": {"volumes": []}}}}`:                                                                     nil,
		`3`: nil,
	} {
		var decoded any
		if err := json.Unmarshal([]byte(document), &decoded); err != nil {
			t.Fatal(err)
		}
		var have []string
		Walk(JSON{}, decoded, func(w Workload[any]) {
			have = append(have, w.Kind+" "+w.Namespace+"/"+w.Name+" "+w.Path)
		})
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s: -want +have\n%s", document, diff)
		}
	}
}
