// SPDX-License-Identifier: Apache-2.0

//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package cluster

import (
	"context"
	"io"
)

// lock does nothing here: two cold builds at a time are slow and not wrong.
func lock(context.Context, string, io.Writer) (unlock func(), err error) { return func() {}, nil }
