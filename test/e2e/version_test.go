// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"strconv"
	"strings"
	"testing"
)

// feature is a feature of the API server that is on by default from a minor
// version of Kubernetes on. A server of such a version without it fails the test.
type feature struct {
	minor  int
	before string // what happens on an older server
}

// An API server drops the fields of a gate that is off when it stores the pod,
// after it has called the webhooks.
var (
	imageVolumes      = feature{35, "the gate ImageVolume is off: the API server drops the image of a volume after the webhook rewrote and recorded it"}
	hostnameOverride  = feature{35, "the gate HostnameOverride is off, or there is none: the API server drops the field"}
	restartRules      = feature{35, "the gate ContainerRestartRules is off, or there is none: the API server drops the field"}
	mutatingPolicies  = feature{36, "MutatingAdmissionPolicy is not generally available: the API server does not serve it"}
	podLevelResources = feature{34, "the gate PodLevelResources is off: the API server drops the field"}
)

// needs skips the test on a server that is too old, with the reason.
func needs(t *testing.T, f feature) {
	t.Helper()
	if have := minor(t); have < f.minor {
		t.Skipf("needs Kubernetes 1.%d; in 1.%d %s", f.minor, have, f.before)
	}
}

// hasFeature reports whether the server has a feature, and logs the reason if not.
func hasFeature(t *testing.T, f feature) bool {
	t.Helper()
	have := minor(t)
	if have < f.minor {
		t.Logf("part of the test skipped: needs Kubernetes 1.%d; in 1.%d %s", f.minor, have, f.before)
	}
	return have >= f.minor
}

// minor returns the minor version of the server, such as 36 for Kubernetes 1.36.
func minor(t *testing.T) int {
	t.Helper()
	v, err := h.Client.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSuffix(v.Minor, "+")) // vendors append a plus
	if err != nil || v.Major != "1" {
		t.Fatalf("the API server has version %q.%q (%v)", v.Major, v.Minor, err)
	}
	return n
}
