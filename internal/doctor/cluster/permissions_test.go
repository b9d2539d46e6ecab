// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"testing"

	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

// test/e2e holds the permissions sufficient and minimal.
func TestTheComponentHasTheRoles(t *testing.T) {
	var roles bytes.Buffer
	if err := WriteRoles(&roles); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "../../../deploy/components/doctor-rbac/roles.yaml", roles.Bytes())
}
