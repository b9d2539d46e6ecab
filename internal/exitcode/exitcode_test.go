// SPDX-License-Identifier: Apache-2.0

package exitcode

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

func TestReport(t *testing.T) {
	cause := errors.New("no such file")
	for name, tc := range map[string]struct {
		err     error
		code    int
		printed string
	}{
		"no error":                    {nil, OK, ""},
		"a plain error":               {cause, Failed, "p: no such file\n"},
		"usage":                       {Usagef("--config: %w", cause), Usage, "p: --config: no such file\n"},
		"wrapped usage":               {fmt.Errorf("reading: %w", AsUsage(cause)), Usage, "p: reading: no such file\n"},
		"usage without an error":      {AsUsage(nil), OK, ""},
		"causes were printed":         {AlreadyPrintedf("%d images were not copied", 2), Failed, ""},
		"something that needs action": {ActionNeededf("%d images are missing", 2), ActionNeeded, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if code := Report(&b, "p", tc.err); code != tc.code || b.String() != tc.printed {
				t.Errorf("code %d, want %d; printed %q, want %q", code, tc.code, b.String(), tc.printed)
			}
		})
	}
	if !errors.Is(AsUsage(cause), cause) {
		t.Error("the cause is lost")
	}
}
