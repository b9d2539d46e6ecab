// SPDX-License-Identifier: Apache-2.0

//go:build !helm

package harness

const withHelm = false
