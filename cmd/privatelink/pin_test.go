// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// writeLock writes a lock file that lists an image of the registry.
func writeLock(t *testing.T, file, target string, d digest.Digest) {
	t.Helper()
	l := lock.Lock{Registry: ecr, Images: []lock.Entry{{Source: "privatelink.cast.ai/privatelink-webhook:v1", Target: target, Digest: d}}}
	if err := l.Write(file); err != nil {
		t.Fatal(err)
	}
}

func TestInstallPinsTheImageByTheLockFile(t *testing.T) {
	rules, err := rewrite.New(rewrite.Config{Registry: ecr})
	if err != nil {
		t.Fatal(err)
	}
	image, err := deploy.WebhookImage(rules)
	if err != nil {
		t.Fatal(err)
	}
	const none, other = "none", "the lock file of another version"
	d := digest.FromString("image")
	pinned := image + "@" + d.String()
	for name, tc := range map[string]struct {
		lock   string // what privatelink.lock.yaml lists; "" for the image
		args   []string
		code   int
		image  string // in the bundle
		stderr string
	}{
		"the lock file has it":                    {image: pinned},
		"required, and the lock file has it":      {args: []string{"--digest"}, image: pinned},
		"not wanted":                              {args: []string{"--digest=false"}, image: image},
		"no lock file":                            {lock: none, image: image},
		"required, and no lock file":              {lock: none, args: []string{"--digest"}, code: 2, stderr: "privatelink.lock.yaml"},
		"another lock file that does not exist":   {args: []string{"--lock", "none.yaml"}, code: 2, stderr: "none.yaml"},
		"another version":                         {lock: other, image: image, stderr: "the webhook's image is not pinned by digest: privatelink.lock.yaml does not list " + image + ": copy it with privatelink mirror"},
		"required, and another version":           {lock: other, args: []string{"--digest"}, code: 2, stderr: "does not list " + image},
		"another version, by its name":            {lock: other, args: []string{"--lock", "privatelink.lock.yaml"}, code: 2, stderr: "does not list " + image},
		"an image that is named":                  {args: []string{"--image", "registry.example.com/w:1"}, image: "registry.example.com/w:1"},
		"an image that is named, and the digest":  {args: []string{"--image", "registry.example.com/w:1", "--digest"}, code: 2, stderr: "give one of them"},
		"the policy engine":                       {args: []string{"--engine", "policy"}},
		"the policy engine, and a digest":         {args: []string{"--engine", "policy", "--digest"}, code: 2, stderr: "engine policy has no pods"},
		"another namespace, and cert-manager":     {args: []string{"--namespace", "team-x", "--overlay", "cert-manager"}, image: pinned},
		"the registry of another lock file":       {args: []string{"--registry", "registry.example.com/x"}, image: "registry.example.com/x" + strings.TrimPrefix(image, ecr), stderr: "is for the registry " + ecr},
		"the other lock file's registry, by name": {args: []string{"--registry", "registry.example.com/x", "--lock", "privatelink.lock.yaml"}, code: 2, stderr: "is for the registry " + ecr},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			switch tc.lock {
			case "":
				writeLock(t, lock.DefaultFile, image, d)
			case other:
				writeLock(t, lock.DefaultFile, rules.Registry()+"/privatelink-webhook:v0.0.9", d)
			}
			code, stdout, stderr := call(t, nil, "", append([]string{"install", "--registry", ecr}, tc.args...)...)
			if code != tc.code || !strings.Contains(stderr, tc.stderr) || (stderr == "") != (tc.stderr == "") {
				t.Fatalf("code %d, want %d; stderr %q, want %q", code, tc.code, stderr, tc.stderr)
			}
			if want := "image: " + tc.image + "\n"; tc.image != "" && strings.Count(stdout, want) != 1 || strings.Count(stdout, " image: ") > 1 {
				t.Errorf("the bundle lacks %q", want)
			}
		})
	}
}

// A variable that names the lock file for all commands names it for this one.
func TestInstallReadsTheLockFileOfTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "none.yaml")
	if code, _, stderr := call(t, map[string]string{"PRIVATELINK_LOCK": file}, "", "install", "--registry", ecr); code != 2 || !strings.Contains(stderr, file) {
		t.Errorf("code %d, stderr %q", code, stderr)
	}
}
