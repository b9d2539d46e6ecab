// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import "syscall"

// diesWithUs: only Linux can bind a child's life to ours. Elsewhere stop does
// it, on every path but a kill of the harness itself.
func diesWithUs() *syscall.SysProcAttr { return nil }
