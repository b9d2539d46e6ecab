// SPDX-License-Identifier: Apache-2.0

// Package report opens HTML reports in Chromium: of a healthy customer, and of one fault
// after the other. The checks of the network run against fixed responses of AWS; those of
// the other groups have given findings.
package report
