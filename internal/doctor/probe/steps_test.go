// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"syscall"
	"testing"
)

func TestSocketFault(t *testing.T) {
	for _, tc := range []struct {
		goos  string
		errno syscall.Errno
		want  Fault
	}{
		{"linux", syscall.ECONNREFUSED, Refused}, {"linux", syscall.EHOSTUNREACH, Unreachable}, {"linux", syscall.EACCES, ""}, {"linux", 10061, ""},
		{"windows", 10061, Refused}, {"windows", 10049, Unreachable}, {"windows", 10051, Unreachable}, {"windows", 10065, Unreachable},
		{"windows", 10013, ""}, // WSAEACCES
	} {
		f, known := socketFault(tc.goos, tc.errno)
		if known != (tc.want != "") || known && f != tc.want {
			t.Errorf("%s, %d: %q, %v, want %q", tc.goos, uintptr(tc.errno), f, known, tc.want)
		}
	}
}
