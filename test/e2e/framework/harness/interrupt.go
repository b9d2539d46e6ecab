// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interruptible returns a context that ends with an interrupt. A second one
// ends the process, for those who cannot wait for a clean end.
func interruptible() (context.Context, context.CancelFunc) {
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, release)
	return ctx, release
}
