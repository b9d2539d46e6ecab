// SPDX-License-Identifier: Apache-2.0

//go:build !race

package admission

// share is the part of the generated pods that is tested: all of them.
const share = 1
