// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package cluster

import "syscall"

func childAttributes() *syscall.SysProcAttr { return nil }
