// SPDX-License-Identifier: Apache-2.0

// Package isolated is the customer's situation on one machine: a whole Kubernetes
// node, real in every part, on a network without a way out, and a private ECR
// as the only registry that answers.
//
// What the webhook is for shows only there. A public image is not "rewritten"
// or "not rewritten" but pulled or not pulled, and the webhook itself runs from
// its own image, under the security settings of its own manifests, behind a
// Service, with a certificate that it published itself.
//
// Linux and root only. Everything happens on a machine of its own (package
// machine), so that nothing is left of it however it ends; only the packages
// stay that it installs where they are missing, and the programs that it builds
// into .cache.
//
//	go test -count=1 -v -timeout 30m -tags isolated ./test/isolated/...             # story and faults
//	go test -count=1 -v -timeout 30m -tags isolated -run TestStory ./test/isolated  # the story alone
//	go run ./test/isolated/up                                                   # a node to try things by hand
//
// With PRIVATELINK_NODE_DIR the tests keep data and logs in that folder.
package isolated
