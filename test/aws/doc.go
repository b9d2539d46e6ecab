// SPDX-License-Identifier: Apache-2.0

// Package aws tests the client of the ECR control plane, and the doctor's checks of
// network and identity, against moto, an AWS emulator from PyPI: see
// test/aws/emulator. Each fault that is injected into an account must be found by
// exactly one check, and no check may fail in a healthy account. The tests have the
// build tag aws, and need python3 and a package index that pip can reach:
//
//	go test -tags aws ./test/aws
//
// internal/testutil/fakeecr has what moto does not: layer uploads and account settings.
package aws
