// SPDX-License-Identifier: Apache-2.0

//go:build webhookimage

package webhookimage

import (
	"embed"
	"io/fs"
)

// The layout is not in the repository: `make webhook-image` builds it.
//
//go:embed layout
var layout embed.FS

// Layout returns the OCI layout of the webhook's image that this program carries, nil if
// it was built without.
func Layout() fs.FS {
	sub, _ := fs.Sub(layout, "layout") // fails for invalid names only
	return sub
}
