// SPDX-License-Identifier: Apache-2.0

package kubelet

import "syscall"

// attributes: a Ctrl-C of the terminal is not for the process, and it dies with
// the thread that started it, however that one ends.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
