// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// stopAndPeak stops the process and returns the most memory that it had
// resident, in bytes; 0 where the system does not report it.
func (p *process) stopAndPeak() int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	p.stop()
	if err == nil {
		if n, ok := highWater(status); ok {
			return n
		}
	}
	// Second choice: on Linux this figure is at least that of the harness at
	// the moment of the fork.
	return maxResident(p.cmd.ProcessState)
}

// highWater finds VmHWM in a /proc/PID/status.
func highWater(status []byte) (int64, bool) {
	for line := range bytes.Lines(status) {
		if v, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			kb, err := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(v), []byte(" kB"))), 10, 64)
			return kb << 10, err == nil
		}
	}
	return 0, false
}
