// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// The entry that the kustomization of the mirror has as a comment pins the image of the
// CronJob, once it is filled in.
func TestTheImageOfTheMirrorCanBePinned(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("mirror")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "kustomization.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	entry := regexp.MustCompile(`(?m)^# images:\n(?:# .*\n)*`).FindString(string(text))
	digest := "sha256:" + strings.Repeat("5", 64)
	filled := strings.ReplaceAll(strings.ReplaceAll("\n"+entry, "\n# ", "\n"), "sha256:DIGEST", digest)
	if err := os.WriteFile(file, append(text, filled...), 0o600); err != nil {
		t.Fatal(err)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	out, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	image := regexp.MustCompile(`image: (\S+)`).FindStringSubmatch(string(out))
	if image == nil || !strings.HasPrefix(image[1], "ghcr.io/castai/privatelink") || !strings.HasSuffix(image[1], "@"+digest) {
		t.Errorf("image %q after\n%s", image, filled)
	}
}
