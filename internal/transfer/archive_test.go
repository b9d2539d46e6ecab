// SPDX-License-Identifier: Apache-2.0

package transfer

import "testing"

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "1": 1, "10k": 10 << 10, "4G": 4 << 30, "4095M": 4095 << 20, "1TiB": 1 << 40, "5mb": 5 << 20} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
}
