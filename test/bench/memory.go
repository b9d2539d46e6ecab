// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
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

// ticksPerSecond is the unit of times in /proc, the same on all architectures that
// Go supports (proc_pid_stat(5), sysconf(_SC_CLK_TCK)).
const ticksPerSecond = 100

// processorTime is the time that the process has run so far, in user mode and in
// the kernel; 0 where there is no /proc.
func (p *process) processorTime() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	return processorTime(stat)
}

// processorTime sums utime and stime of a /proc/PID/stat. The program's name,
// which may have spaces, is the last field in parentheses.
func processorTime(stat []byte) time.Duration {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	var ticks time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0
		}
		ticks += time.Duration(n)
	}
	return ticks * time.Second / ticksPerSecond
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
