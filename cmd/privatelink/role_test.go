// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeaws"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
)

// A pod without credentials of its own gets those of its node. Nothing may be written
// with them.
func TestMirrorExpectsARole(t *testing.T) {
	server := fakeecr.New(fakeecr.Options{})
	server.StartTest(t)
	const registry, role = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai", "arn:aws:iam::123456789012:role/castai/mirror"
	node := "arn:aws:sts::123456789012:assumed-role/nodes/i-0123456789abcdef0"
	c := fakeaws.Serve(t, map[string]string{"sts:GetCallerIdentity": "<Arn>" + node + "</Arn>"})
	t.Setenv("AWS_ENDPOINT_URL_STS", *c.BaseEndpoint)
	images := pods(t, public(t)+"/castai/a:v1")
	locked := filepath.Join(t.TempDir(), "lock.yaml")
	args := []string{"mirror", "-f", images, "--no-webhook-image", "--registry", registry, "--lock", locked, "--expect-role"}

	code, _, stderr := call(t, nil, "", append(args, role)...)
	if code != 1 || !strings.Contains(stderr, node) || !strings.Contains(stderr, role) {
		t.Errorf("the role of a node: code %d, %s", code, stderr)
	}
	if _, err := os.Stat(locked); err == nil || len(server.Repositories()) > 0 {
		t.Error("something was written")
	}
	if code, _, stderr := call(t, map[string]string{"PRIVATELINK_EXPECT_ROLE": role}, "", args[:len(args)-1]...); code != 1 || !strings.Contains(stderr, node) {
		t.Errorf("the role in the environment, as the CronJob has it: code %d, %s", code, stderr)
	}
	if code, _, stderr := call(t, nil, "", append(args, node)...); code != 2 || !strings.Contains(stderr, "without a session") {
		t.Errorf("the ARN of a session: code %d, %s", code, stderr)
	}
	if code, _, stderr := call(t, nil, "", "import", "--registry", registry, "--expect-role", "", "archive.tar"); code != 2 || !strings.Contains(stderr, "is not the ARN of an IAM role") {
		t.Errorf("an empty role: code %d, %s", code, stderr)
	}
	args[5] = inMemory(t) + "/mirror"
	if code, _, stderr := call(t, nil, "", append(args, role)...); code != 2 || !strings.Contains(stderr, "is not ECR") {
		t.Errorf("another registry: code %d, %s", code, stderr)
	}
}
