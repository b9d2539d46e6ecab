// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import "syscall"

// killWithParent: only Linux can kill a child when its parent ends. Elsewhere stop does
// it, on every path but a kill of the harness itself.
func killWithParent() *syscall.SysProcAttr { return nil }
