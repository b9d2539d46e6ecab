// SPDX-License-Identifier: Apache-2.0

package s3bucket

import (
	"path/filepath"
	"strings"
	"testing"
)

// Without a region, no request is sent.
func TestNoRegion(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": "", "AWS_CONFIG_FILE": missing, "AWS_SHARED_CREDENTIALS_FILE": missing} {
		t.Setenv(name, value)
	}
	b := New("charts", "")
	_, _, readErr := b.Read(t.Context(), "index.yaml", 1)
	_, writeErr := b.Replace(t.Context(), "index.yaml", "", "text/plain", nil)
	for _, err := range []error{b.Check(t.Context(), "index.yaml"), readErr, writeErr} {
		if err == nil || !strings.HasPrefix(err.Error(), "s3://charts/index.yaml: ") || !strings.Contains(err.Error(), "set AWS_REGION") {
			t.Error(err)
		}
	}
}
