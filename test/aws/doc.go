// SPDX-License-Identifier: Apache-2.0

// Package aws runs our control plane of ECR, and the doctor's checks of network
// and identity, against an AWS emulator that nobody here wrote: moto, of PyPI
// (see test/aws/emulator). Each of the ways to break a customer's VPC is found by the one
// check that names it, and healthy ones are all green. Its tests have the build tag aws and need python3
// and a package index that pip can reach:
//
//	go test -tags aws ./test/aws
//
// What moto lacks, a data plane and the account's settings, is in internal/testutil/fakeecr.
package aws
