// SPDX-License-Identifier: Apache-2.0

//go:build linux

package isolated

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/castai/privatelink-webhook/test/isolated/machine"
)

// variable hands the programs to the process on the machine, which has no
// network to download a module from.
const variable = "PRIVATELINK_NODE_PROGRAMS"

// Run builds what a node needs and calls f on a machine of its own, where Start
// may be called. It returns f's exit code; nothing is left then but the cached
// programs. The context of f ends with an interrupt.
//
// It starts this program again, so it comes before all else in main or TestMain.
func Run(log io.Writer, f func(context.Context, Programs) int) int {
	if machine.Enter() {
		ctx, release := interruptible()
		defer release()
		list := filepath.SplitList(os.Getenv(variable))
		return f(ctx, Programs{Root: list[0], Kubernetes: list[1], Cache: list[2], Version: list[3]})
	}
	ctx, release := interruptible()
	defer release()
	p, err := Build(ctx, ".", log)
	if err != nil {
		fmt.Fprintln(log, "node:", err)
		return 1
	}
	for _, hidden := range machine.Hidden() {
		if strings.HasPrefix(p.Root, hidden+"/") {
			fmt.Fprintf(log, "node: a node has a %s of its own and would not see %s: check the repository out elsewhere\n", hidden, p.Root)
			return 1
		}
	}
	release() // the process inside gets the signals
	const separator = string(filepath.ListSeparator)
	code, err := machine.Run(variable + "=" + p.Root + separator + p.Kubernetes + separator + p.Cache + separator + p.Version)
	if err != nil {
		fmt.Fprintln(log, "node:", err)
		return max(1, code)
	}
	return code
}

// interruptible returns a context that ends with an interrupt. A second one
// ends the process, for those who cannot wait for a clean end.
func interruptible() (context.Context, context.CancelFunc) {
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, release)
	return ctx, release
}
