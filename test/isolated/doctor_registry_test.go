// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/deploy"
	locked "github.com/castai/privatelink-webhook/internal/mirror/lock"
)

// wants adds an image to the lock file: a copy of the first, modified by change.
func (c *doctorRun) wants(t *testing.T, change func(*locked.Entry)) (undo func()) {
	t.Helper()
	return c.rewriteLock(t, func(l *locked.Lock) {
		more := l.Images[0]
		more.Source += "-doctor"
		change(&more)
		l.Images = append(l.Images, more)
	})
}

// registryFaults are those of images in ECR.
func (c *doctorRun) registryFaults() []fault {
	mirrored := c.prefix + "/agent:v0.161.1"
	wants := func(change func(*locked.Entry)) func(*testing.T) func() {
		return func(t *testing.T) func() { return c.wants(t, change) }
	}
	return []fault{
		{"ECR repository missing", "registry/repositories", "/customer/nowhere", "privatelink mirror",
			wants(func(i *locked.Entry) { i.Target = c.prefix + "/nowhere:v1" })},
		{"image missing", "registry/images", "/customer/agent:v9.9.9", "privatelink mirror",
			wants(func(i *locked.Entry) { i.Target = c.prefix + "/agent:v9.9.9" })},
		{"another image under the tag", "registry/images", mirrored, "privatelink mirror", func(t *testing.T) func() {
			return c.rewriteLock(t, func(l *locked.Lock) {
				for i := range l.Images {
					if l.Images[i].Target == mirrored {
						l.Images[i].Digest = digest.FromString("another")
					}
				}
			})
		}},
		{"image missing for arm64", "registry/platforms", "linux/arm64", "mirror", func(t *testing.T) func() {
			// One that was copied for amd64 alone, and a node that is not.
			other := strings.TrimSuffix(c.lock, ".yaml") + ".amd64.yaml"
			c.work.web.publish(t, "ghcr.io/castai/images/evictor:v1", behavior{})
			manifest := c.lock + ".evictor"
			if err := write(map[string]string{manifest: barePod("evictor", "ghcr.io/castai/images/evictor:v1")}); err != nil {
				t.Fatal(err)
			}
			c.work.run(t, 0, "mirror", "--config", c.config, "--lock", other, "--platform", "linux/amd64", "--no-webhook-image", "-f", manifest)
			cut, err := locked.Read(other)
			if err != nil {
				t.Fatal(err)
			}
			undo := c.wants(t, func(i *locked.Entry) { *i = cut.Images[0] })
			kubectl(t, graviton, "create", "-f", "-")
			kubectl(t, "", "patch", "node", "graviton", "--subresource=status", "--type=merge", `--patch={"status": {"nodeInfo": {"architecture": "arm64", "operatingSystem": "linux"}}}`)
			return func() {
				kubectl(t, "", "delete", "node", "graviton")
				undo()
			}
		}},
		{"the webhook's own image missing", "registry/webhook-image", deploy.Image + ":gone", "privatelink mirror", func(t *testing.T) func() {
			c.patched(t, "deployment", deploy.Name, `[{"op": "add", "path": "/spec/paused", "value": true}, {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "`+c.prefix+`/`+deploy.Image+`:gone"}]`)
			return func() {
				c.patched(t, "deployment", deploy.Name, `[{"op": "remove", "path": "/spec/paused"}]`)
				c.apply(t)
			}
		}},
	}
}

// graviton is a node that exists only in the API.
const graviton = `{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "graviton"}, "spec": {"unschedulable": true, "taints": [{"key": "paper", "effect": "NoExecute"}]}}`

// rewriteLock changes the lock file and returns a function that restores it.
func (c *doctorRun) rewriteLock(t *testing.T, change func(*locked.Lock)) (undo func()) {
	t.Helper()
	before, err := os.ReadFile(c.lock)
	if err != nil {
		t.Fatal(err)
	}
	l, err := locked.Read(c.lock)
	if err != nil {
		t.Fatal(err)
	}
	change(l)
	if err := l.Write(c.lock); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.WriteFile(c.lock, before, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
