// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOriginalImages(t *testing.T) {
	for name, tc := range map[string]struct {
		annotations map[string]string
		want        map[string]string
		err         string
	}{
		"no annotation":           {nil, nil, ""},
		"another annotation":      {map[string]string{"a": "b"}, nil, ""},
		"one image":               {map[string]string{OriginalImages: `{"containers/a":"busybox"}`}, map[string]string{"containers/a": "busybox"}, ""},
		"an invalid one":          {map[string]string{OriginalImages: "busybox"}, nil, "annotation " + OriginalImages + ": invalid character"},
		"a value of another type": {map[string]string{OriginalImages: `{"containers/a":1}`}, nil, "annotation " + OriginalImages + ": json: cannot unmarshal number"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Pod{Annotations: tc.annotations}.OriginalImages()
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.err)) {
				t.Fatalf("error %v, want %q", err, tc.err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
