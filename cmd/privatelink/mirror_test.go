// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
)

func TestMirrorAndCheck(t *testing.T) {
	from, to := public(t), inMemory(t)
	images := pods(t, from+"/castai/a:v1", from+"/castai/b:v1")
	locked := filepath.Join(t.TempDir(), "lock.yaml")
	target := to + "/mirror/" + strings.Replace(from, ":", "_", 1) + "/castai/a:v1"
	must := func(want int, args ...string) (stdout string) {
		t.Helper()
		code, stdout, stderr := call(t, nil, "", append(args, "--registry", to+"/mirror", "--no-webhook-image", "--plain-http", from, "--lock", locked)...)
		if code != want {
			t.Fatalf("%v: code %d, want %d\n%s%s", args, code, want, stdout, stderr)
		}
		return stdout
	}
	if out := must(3, "mirror", "-f", images, "--dry-run"); !strings.Contains(out, "missing  "+target) || !strings.Contains(out, "2 missing") {
		t.Error(out)
	}
	if _, err := os.Stat(locked); err == nil {
		t.Error("a dry run wrote the lock file")
	}
	must(3, "check", "-f", images)
	if out := must(0, "mirror", "-f", images); !strings.Contains(out, "2 images: 2 copied, 0 present before, 0 not copied") {
		t.Error(out)
	}
	l, err := lock.Read(locked)
	if err != nil || len(l.Images) != 2 || l.Images[0].Target != target || len(l.Images[0].Why) != 1 || l.Registry != to+"/mirror" {
		t.Fatalf("%v %+v", err, l)
	}
	head, err := remote.Head(reference(t, target))
	if err != nil || head.Digest.String() != l.Images[0].Digest.String() {
		t.Errorf("%v %v", err, head)
	}
	must(0, "check")
	if out := must(0, "mirror"); !strings.Contains(out, "2 present before") {
		t.Error(out)
	}

	// The public tag moves: the lock file holds, until --update.
	moved, err := random.Index(100, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(reference(t, strings.Replace(l.Images[0].Source, "0.0.0.0", "127.0.0.1", 1)), moved); err != nil {
		t.Fatal(err)
	}
	must(0, "check")
	if out := must(3, "check", "--update"); !strings.Contains(out, "differs  "+target) {
		t.Error(out)
	}
	must(0, "mirror", "--update", "--overwrite")
	must(0, "check", "--update")
}

func TestMirrorAsJSON(t *testing.T) {
	from, to := public(t), inMemory(t)
	images := pods(t, from+"/castai/a:v1")
	code, stdout, stderr := call(t, nil, "", "mirror", "-o", "json", "--no-webhook-image", "-f", images, "--registry", to+"/mirror", "--plain-http", from, "--lock", filepath.Join(t.TempDir(), "l"))
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if code != 0 || len(lines) != 3 {
		t.Fatalf("code %d\n%s%s", code, stdout, stderr)
	}
	var events []string
	var last struct {
		Images      []struct{ State string }
		Manifests   int
		UploadBytes int64
	}
	for n, l := range lines {
		var e struct{ Event string }
		if err := json.Unmarshal([]byte(l), &e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e.Event)
		if n == 2 {
			if err := json.Unmarshal([]byte(l), &last); err != nil {
				t.Fatal(err)
			}
		}
	}
	if strings.Join(events, " ") != "planned copied summary" || len(last.Images) != 1 || last.Images[0].State != "copied" || last.Manifests != 3 || last.UploadBytes == 0 {
		t.Errorf("%v %+v", events, last)
	}
}

func TestMirrorWronglyUsed(t *testing.T) {
	foreign := write(t, "foreign.yaml", "apiVersion: privatelink.cast.ai/v1alpha1\nkind: Lock\nregistry: registry.example.com/x\nimages: [{source: quay.io/a:1, target: registry.example.com/x/a:1, digest: sha256:"+strings.Repeat("0", 64)+"}]\n")
	bad := write(t, "privatelink.yaml", "registry: "+ecr+"\nrepositories: {tagMutability: SOMETIMES, scanOnPush: true, tags: {team: a}}\n")
	missing := filepath.Join(t.TempDir(), "l")
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no image and no lock":    {[]string{"mirror", "--registry", ecr, "--lock", missing}, "name some, for instance with --set umbrella"},
		"a lock of another place": {[]string{"mirror", "--registry", ecr, "--lock", foreign}, "is for the registry registry.example.com/x"},
		"too parallel":            {[]string{"mirror", "--registry", ecr, "--set", "phase1", "--lock", missing, "--parallel", "1000"}, "use 1 to 256"},
		"settings that cannot be": {[]string{"mirror", "--config", bad, "--set", "phase1", "--lock", missing}, "repositories.tagMutability"},
		"no webhook image":        {[]string{"mirror", "--registry", ecr, "--set", "phase1", "--lock", missing, "--webhook-image", ""}, "is empty: give an image reference"},
		"two webhook images":      {[]string{"check", "--registry", ecr, "--set", "phase1", "--lock", missing, "--webhook-image", "quay.io/x/y", "--no-webhook-image"}, "exclude each other"},
		"prune without a rule":    {[]string{"prune", "--registry", ecr}, "nothing selects the images to keep"},
		"prune by a foreign lock": {[]string{"prune", "--registry", ecr, "--not-in", foreign}, "all images would be deleted"},
		"prune without a cluster": {[]string{"prune", "--registry", ecr, "--keep", "1", "--kubeconfig", missing}, "--no-cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, _, stderr := call(t, nil, "", tc.args...); code != 2 || !strings.Contains(stderr, tc.want) {
				t.Errorf("code %d, stderr %s, want %q", code, stderr, tc.want)
			}
		})
	}
}

// Tests are built without the webhook's image. The others are copied, and the message
// says what to do.
func TestMirrorWithoutTheWebhooksImage(t *testing.T) {
	from, to := public(t), inMemory(t)
	images := pods(t, from+"/castai/a:v1")
	args := []string{"mirror", "-f", images, "--registry", to + "/mirror", "--plain-http", from, "--lock", filepath.Join(t.TempDir(), "l")}
	code, stdout, stderr := call(t, nil, "", args...)
	if code != 0 || !strings.Contains(stdout, "1 images: 1 copied, 0 present before") {
		t.Errorf("code %d\n%s", code, stdout)
	}
	for _, want := range []string{"privatelink.cast.ai/privatelink-webhook:v0.2.0 is left out", "this privatelink was built without the webhook's image", "make build-release", "--webhook-image", "--no-webhook-image"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr lacks %q:\n%s", want, stderr)
		}
	}
	if code, stdout, stderr := call(t, map[string]string{"PRIVATELINK_NO_WEBHOOK_IMAGE": "true"}, "", args...); code != 0 {
		t.Errorf("code %d\n%s%s", code, stdout, stderr)
	}
}
