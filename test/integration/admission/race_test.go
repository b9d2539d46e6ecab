// SPDX-License-Identifier: Apache-2.0

//go:build race

package admission

// share is the part of the generated pods that is tested. The race detector
// makes CEL many times slower; make unit runs this package without it as well.
const share = 20
