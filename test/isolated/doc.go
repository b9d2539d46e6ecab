// SPDX-License-Identifier: Apache-2.0

// Package isolated runs a complete Kubernetes node (kubelet, containerd,
// kube-proxy) on a network without a route out, with a stand-in for ECR as the
// only registry that it reaches.
//
// Other levels of test show that an image is rewritten. This one shows that it
// is pulled, and that the webhook runs from its own image, under the security
// settings of its own manifests, behind a Service, with a certificate that it
// published itself.
//
// It needs Linux and root. Everything runs in namespaces of its own (package
// machine), which end with the process. Missing distribution packages are
// installed, and programs are built into .cache; these stay.
//
//	go test -count=1 -v -timeout 30m -tags isolated ./test/isolated/...                     # all tests
//	go test -count=1 -v -timeout 30m -tags isolated -run TestOnboarding ./test/isolated  # onboarding alone
//	go run ./test/isolated/up                                                   # a node for manual tests
//
// With PRIVATELINK_NODE_DIR the tests keep data and logs in that folder.
package isolated
