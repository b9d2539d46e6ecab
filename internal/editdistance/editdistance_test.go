// SPDX-License-Identifier: Apache-2.0

package editdistance

import "testing"

func TestOf(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"lock", "lock", 0}, {"lokc", "lock", 2}, {"registry", "regstry", 1}, {"kitten", "sitting", 3}} {
		if got := Of(tc.a, tc.b); got != tc.want {
			t.Errorf("Of(%q, %q) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}
