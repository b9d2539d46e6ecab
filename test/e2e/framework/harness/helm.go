// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"

	"github.com/castai/privatelink-webhook/test/e2e/framework/helm"
)

// Helm runs Helm of a major version, as an administrator of the cluster. The tests that
// call it have the build tag helm.
func (h *Harness) Helm(ctx context.Context, major int, args ...string) ([]byte, error) {
	program, err := helm.Path(h.Root, major)
	if err != nil {
		return nil, err
	}
	return h.runAsAdministrator(ctx, program, args...)
}
