// SPDX-License-Identifier: Apache-2.0

//go:build linux

package isolated

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// packages are what the node takes from the distribution, Debian or Ubuntu: by
// name, and a program of each. None of them has a service that would start. The
// container runtime is not among them: what distributions have is too old for
// images as volumes.
func packages() map[string]string {
	needed := map[string]string{
		"containernetworking-plugins": networkPlugins + "/bridge",
		"iproute2":                    "ip",
		"nftables":                    "nft",
		"runc":                        "runc",
	}
	if withStory {
		needed["busybox-static"] = "busybox" // the shell of an empty machine
	}
	return needed
}

const networkPlugins = "/usr/lib/cni"

// searchPath is where programs are looked for. The PATH of a user may lack sbin.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// installPackages installs those that are missing.
func installPackages(ctx context.Context, log io.Writer) error {
	if os.Geteuid() != 0 {
		return errors.New("a node needs root")
	}
	unlock, err := lock(filepath.Join(os.TempDir(), "privatelink-packages.lock")) // of other nodes: apt-get would fail
	if err != nil {
		return err
	}
	defer unlock()
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(packages())) {
		if !present(packages()[name]) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	fmt.Fprintf(log, "installing %s\n", strings.Join(missing, ", "))
	for _, args := range [][]string{{"update"}, append([]string{"install", "--yes", "--no-install-recommends"}, missing...)} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "PATH="+searchPath)
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, said)
		}
	}
	return nil
}

// present looks in searchPath and not in the PATH of the user.
func present(program string) bool {
	for dir := range strings.SplitSeq(searchPath, ":") {
		file := program
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, program)
		}
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}
