// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/castai/privatelink-webhook/test/integration/docs"
)

// diodeCommands returns the commands of a section of the upgrade page, which differ from
// the page in their source of images alone.
func diodeCommands(t *testing.T) (first, next, verify, importing string) {
	t.Helper()
	fences, err := docs.Fences(filepath.Join("..", ".."), "docs/guide/upgrade.md")
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, f := range fences {
		if strings.Contains(strings.Join(f.Lines, "\n"), ".tar") { // the archives are those of this section
			commands = append(commands, f.Lines...)
		}
	}
	if len(commands) != 4 {
		t.Fatalf("%d commands: %q", len(commands), commands)
	}
	return commands[0], commands[1], commands[2], commands[3]
}

// The pipeline of the page, with three archives. Without the second one the third is
// refused, and the second one mends that.
func TestPagesDiodePipeline(t *testing.T) {
	first, next, verify, importing := diodeCommands(t)
	from, to := public(t), inMemory(t)
	t.Chdir(t.TempDir()) // with the lock file of the exporting side
	if err := os.WriteFile("privatelink.yaml", []byte("registry: "+to+"/mirror\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(want int, command, archive string) (stderr string) {
		t.Helper()
		command = strings.NewReplacer("castai-2.tar", archive, "--set umbrella --track", "--filename pods.yaml --no-webhook-image --plain-http "+from).Replace(command)
		args := strings.Fields(command)
		if args[0] == "privatelink" {
			code, stdout, stderr := call(t, nil, "", args[1:]...)
			if code != want {
				t.Fatalf("%s: code %d, want %d\n%s%s", command, code, want, stdout, stderr)
			}
			return stderr
		}
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return ""
	}
	sizes := map[string]int64{}
	var refs []string
	for n, command := range []string{first, next, next} {
		refs = append(refs, fmt.Sprintf("%s/castai/image%d:v1", from, n+1))
		added := pods(t, refs[n])
		text, err := os.ReadFile(added)
		if err != nil {
			t.Fatal(err)
		}
		old, _ := os.ReadFile("pods.yaml") // there is none at first
		if err := os.WriteFile("pods.yaml", append(old, text...), 0o600); err != nil {
			t.Fatal(err)
		}
		archive := "castai.tar"
		if n > 0 {
			archive = fmt.Sprintf("castai-%d.tar", n+1)
		}
		run(0, command, archive)
		info, err := os.Stat(archive)
		if err != nil {
			t.Fatal(err)
		}
		sizes[archive] = info.Size()
	}
	if sizes["castai-3.tar"] > sizes["castai.tar"]*3/2 {
		t.Errorf("the third archive has the layers of the others: %v", sizes)
	}

	t.Setenv("PRIVATELINK_LOCK", filepath.Join(t.TempDir(), "lock.yaml")) // of the importing side
	run(0, importing, "castai.tar")
	run(0, verify, "castai-3.tar")
	if stderr := run(1, importing, "castai-3.tar"); !strings.Contains(stderr, "image2:v1") || strings.Contains(stderr, "image1:v1") {
		t.Errorf("the error does not name what the lost archive had: %s", stderr)
	}
	catalog, err := remote.Catalog(t.Context(), reference(t, to+"/any").Context().Registry)
	if err != nil || len(catalog) != 1 || !strings.HasSuffix(catalog[0], "/image1") {
		t.Errorf("after the refused import the registry has %q, and not the first archive alone: %v", catalog, err)
	}
	run(0, verify, "castai-2.tar")
	run(0, importing, "castai-2.tar")
	run(0, importing, "castai-3.tar")
	run(0, "privatelink check --config privatelink.yaml", "")
}
