// SPDX-License-Identifier: Apache-2.0

//go:build helm

package harness

// withHelm makes Run compile Helm as well: tests with the build tag helm run it.
const withHelm = true
