// SPDX-License-Identifier: Apache-2.0

//go:build !webhookimage

package webhookimage

import "io/fs"

// Layout returns the OCI layout of the webhook's image that this program carries, nil if
// it was built without.
func Layout() fs.FS { return nil }
