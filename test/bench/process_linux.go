// SPDX-License-Identifier: Apache-2.0

package main

import "syscall"

func killWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
