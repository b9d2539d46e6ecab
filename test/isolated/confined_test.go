// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// webhooks returns the processes of the webhook on this machine.
func webhooks(t *testing.T) (pids []int) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if program, err := os.Readlink(link); err == nil && filepath.Base(program) == "privatelink-webhook" {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// isConfined checks the processes in the kernel, not the manifest.
func isConfined(t *testing.T) {
	pids := webhooks(t)
	if len(pids) != 2 {
		t.Fatalf("%d processes of the webhook, want 2", len(pids))
	}
	for _, pid := range pids {
		proc := filepath.Join("/proc", strconv.Itoa(pid))
		status, err := os.ReadFile(filepath.Join(proc, "status"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"Uid:\t65532\t65532\t65532\t65532", "Gid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000",
			"CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2",
		} {
			if !slices.Contains(strings.Split(string(status), "\n"), want) {
				t.Errorf("process %d lacks %q", pid, want)
			}
		}
		mounts, err := os.ReadFile(filepath.Join(proc, "mountinfo"))
		if err != nil {
			t.Fatal(err)
		}
		first := strings.Fields(strings.SplitN(string(mounts), "\n", 2)[0])
		if first[4] != "/" || !slices.Contains(strings.Split(first[5], ","), "ro") {
			t.Errorf("process %d: its root is mounted with %s at %s, want it read-only", pid, first[5], first[4])
		}
	}
}
