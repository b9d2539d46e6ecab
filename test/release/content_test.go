// SPDX-License-Identifier: Apache-2.0

//go:build release

package release

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/test/release/snapshot"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// archives are the files of the release with programs in them.
func (b built) archives(t *testing.T) (names []string) {
	t.Helper()
	for name := range b.checksums(t) {
		if strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".zip") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		t.Fatal("the release has no archive")
	}
	slices.Sort(names)
	return names
}

// entry is a file in an archive.
type entry struct {
	header tar.Header // of a zip archive, mode and time only
	data   []byte
}

// unpack reads a .tar.gz or .zip archive.
func unpack(t *testing.T, file string) map[string]entry {
	t.Helper()
	data := read(t, file)
	if strings.HasSuffix(file, ".zip") {
		return unzip(t, data)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if !z.ModTime.IsZero() || z.Name != "" {
		t.Errorf("%s: gzip records the time %s and the name %q", file, z.ModTime, z.Name)
	}
	return untar(t, z)
}

func unzip(t *testing.T, data []byte) map[string]entry {
	t.Helper()
	entries := map[string]entry{}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err := errors.Join(err, in.Close()); err != nil {
			t.Fatal(err)
		}
		entries[f.Name] = entry{tar.Header{Name: f.Name, Mode: int64(f.Mode().Perm()), ModTime: f.Modified}, text}
	}
	return entries
}

func untar(t *testing.T, in io.Reader) map[string]entry {
	t.Helper()
	entries := map[string]entry{}
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		entries[h.Name] = entry{*h, data}
	}
}

func (b built) testArchives(t *testing.T) {
	for _, name := range b.archives(t) {
		entries := unpack(t, b.file(t, name))
		program := "privatelink"
		if strings.Contains(name, "_windows_") {
			program += ".exe"
		}
		for _, want := range []string{program, "LICENSE", "THIRD_PARTY_LICENSES", "completions/privatelink.bash", "completions/privatelink.zsh", "completions/privatelink.fish", "completions/privatelink.powershell", "completions/kubectl_complete-privatelink", "man/man1/privatelink.1", "man/man1/privatelink-mirror.1", "deploy/kustomization.yaml", "deploy/mirror/cronjob.yaml", "deploy/terraform/vpc.tf", "deploy/terraform/examples/scheduled-mirror/.terraform.lock.hcl"} {
			if len(entries[want].data) == 0 {
				t.Errorf("%s: %s is missing or empty", name, want)
			}
		}
		for file, e := range entries {
			if !e.header.ModTime.Equal(b.time) || e.header.Uid != 0 || e.header.Gid != 0 {
				t.Errorf("%s: %s has the time %s and the owner %d:%d; want %s and root", name, file, e.header.ModTime, e.header.Uid, e.header.Gid, b.time)
			}
			if want := map[bool]int64{true: 0o755, false: 0o644}[file == program || file == "completions/kubectl_complete-privatelink"]; e.header.Mode != want {
				t.Errorf("%s: %s has the mode %o, want %o", name, file, e.header.Mode, want)
			}
		}
		if page := string(entries["man/man1/privatelink.1"].data); !strings.Contains(page, `"privatelink `+b.version+`"`) {
			t.Errorf("%s: the man page is of another version:\n%.200s", name, page)
		}
	}
}

// unpacked writes the program of this machine's archive to a folder.
func (b built) unpacked(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	entries := unpack(t, snapshot.Archive(b.dir, b.version))
	if err := os.WriteFile(filepath.Join(dir, "privatelink"), entries["privatelink"].data, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sbom is what the tests read of an SPDX document.
type sbom struct {
	CreationInfo struct{ Created string }
	Packages     []struct {
		SPDXID, Name, VersionInfo, SourceInfo, PrimaryPackagePurpose string
		Checksums                                                    []struct{ ChecksumValue string }
		ExternalRefs                                                 []struct{ ReferenceLocator string }
	}
	Relationships []struct{ SPDXElementID, RelationshipType, RelatedSPDXElement string }
}

func (b built) sbom(t *testing.T, name string) (s sbom) {
	t.Helper()
	if err := json.Unmarshal(read(t, b.file(t, name)), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Packages) < 10 {
		t.Fatalf("%s has only %d packages", name, len(s.Packages))
	}
	return s
}

// modules returns those of the program with a checksum, in the form of settings.
func (s sbom) modules(program []byte) (modules []string) {
	sum, id := fmt.Sprintf("%x", sha256.Sum256(program)), ""
	needed := map[string]bool{}
	for _, p := range s.Packages {
		if p.PrimaryPackagePurpose == "APPLICATION" && p.Checksums[0].ChecksumValue == sum {
			id = p.SPDXID
		}
	}
	for _, r := range s.Relationships {
		if id != "" && r.SPDXElementID == id && r.RelationshipType == "DEPENDS_ON" {
			needed[r.RelatedSPDXElement] = true
		}
	}
	for _, p := range s.Packages {
		if needed[p.SPDXID] && p.Name != "stdlib" {
			modules = append(modules, p.Name+" "+p.VersionInfo+" "+strings.TrimPrefix(p.SourceInfo, "go.sum: "))
		}
	}
	slices.Sort(modules)
	return modules
}

func (b built) testSBOMs(t *testing.T) {
	bin := filepath.Join(b.dir, "bin", "linux-"+runtime.GOARCH)
	for name, programs := range map[string][]string{
		"privatelink_" + b.number + "_" + runtime.GOOS + "_" + runtime.GOARCH + ".spdx.json": {filepath.Join(b.unpacked(t), "privatelink"), filepath.Join(bin, "privatelink-webhook")},
		"privatelink_" + b.number + "_image.spdx.json":                                       {filepath.Join(bin, "privatelink"), filepath.Join(bin, "privatelink-webhook")},
		"privatelink-webhook_" + b.number + "_image.spdx.json":                               {filepath.Join(bin, "privatelink-webhook")},
	} {
		s := b.sbom(t, name)
		if want := b.time.UTC().Format("2006-01-02T15:04:05Z"); s.CreationInfo.Created != want {
			t.Errorf("%s was created at %s, want %s", name, s.CreationInfo.Created, want)
		}
		for _, program := range programs {
			want, _ := settings(t, program)
			if diff := cmp.Diff(want, s.modules(read(t, program))); diff != "" {
				t.Errorf("%s: modules of %s (-go version -m +SBOM)\n%s", name, filepath.Base(program), diff)
			}
		}
	}
}

// layers returns the files of all layers in an OCI archive.
func layers(t *testing.T, archive map[string]entry) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for name, e := range archive {
		z, err := gzip.NewReader(bytes.NewReader(e.data))
		if path.Dir(name) != "blobs/sha256" || err != nil {
			continue
		}
		for file, e := range untar(t, z) {
			files[file] = e.data
		}
	}
	return files
}

func (b built) testImage(t *testing.T) {
	for _, name := range []string{"privatelink", "privatelink-webhook"} {
		archive := untar(t, bytes.NewReader(read(t, b.file(t, name+"_"+b.number+"_image.tar"))))
		program := layers(t, archive)[name]
		if !bytes.Equal(program, read(t, filepath.Join(b.dir, "bin", "linux-"+runtime.GOARCH, name))) {
			t.Errorf("the image has another %s than was built", name)
		}
		if name == "privatelink" && runtime.GOOS == "linux" && !bytes.Equal(program, read(t, filepath.Join(b.unpacked(t), name))) {
			t.Error("the program in the image and the one in the archive differ")
		}
	}
}

// digest returns that of an image of the release.
func (b built) digest(t *testing.T, name string) string {
	t.Helper()
	archive := untar(t, bytes.NewReader(read(t, b.file(t, name+"_"+b.number+"_image.tar"))))
	var index struct{ Manifests []struct{ Digest string } }
	if err := json.Unmarshal(archive["index.json"].data, &index); err != nil || len(index.Manifests) != 1 {
		t.Fatalf("%s: %v, %+v", name, err, index)
	}
	return index.Manifests[0].Digest
}

func (b built) testKrew(t *testing.T) {
	var manifest struct {
		Metadata struct{ Name string }
		Spec     struct {
			Version   string
			Platforms []struct {
				URI, SHA256, Bin string
				Files            []struct{ From string }
			}
		}
	}
	if err := yaml.Unmarshal(read(t, b.released("krew/privatelink.yaml")), &manifest); err != nil {
		t.Fatal(err)
	}
	sums := b.checksums(t)
	if manifest.Metadata.Name != "privatelink" || manifest.Spec.Version != b.version || len(manifest.Spec.Platforms) != len(b.archives(t)) {
		t.Fatalf("%+v, archives %v", manifest, b.archives(t))
	}
	for _, p := range manifest.Spec.Platforms {
		archive := path.Base(p.URI)
		if want := "https://github.com/castai/privatelink-webhook/releases/download/" + b.version + "/" + archive; p.URI != want || p.SHA256 != sums[archive] {
			t.Errorf("%s, %s; want %s, %s", p.URI, p.SHA256, want, sums[archive])
		}
		entries := unpack(t, b.file(t, archive))
		if strings.Contains(archive, "_windows_") != strings.HasSuffix(p.Bin, ".exe") || entries[p.Bin].header.Mode&0o111 == 0 {
			t.Errorf("%s has no program %s", archive, p.Bin)
		}
		if len(p.Files) > 0 {
			t.Errorf("%s: files are selected, and this test does not know how", archive)
		}
	}
}

func (b built) testInstallYAML(t *testing.T) {
	text := string(read(t, b.file(t, "install.yaml")))
	if !strings.Contains(text, "image: REGISTRY/privatelink-webhook:"+b.version+"\n") || strings.Contains(text, "registry.invalid") || strings.Count(text, "\nkind: MutatingWebhookConfiguration\n") != 1 {
		t.Errorf("%.3000s", text)
	}
}

func (b built) testInstallScript(t *testing.T) {
	tampered := false
	archive := b.archives(t)[0]
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		dir, name := path.Split(r.URL.Path)
		if dir != "/"+b.version+"/" {
			http.NotFound(w, r)
			return
		}
		data, err := os.ReadFile(b.released(name))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		if tampered && name == archive {
			data[len(data)/2] ^= 1
		}
		_, _ = w.Write(data)
	}))
	defer s.Close()
	install := func() (string, error) {
		to := t.TempDir()
		c := exec.Command("sh", b.file(t, "install.sh"))
		c.Env = append(os.Environ(), "INSTALL_DIR="+to, "INSTALL_URL="+s.URL, "INSTALL_VERSION="+b.version)
		out, err := c.CombinedOutput()
		t.Logf("%s", out)
		return filepath.Join(to, "privatelink"), err
	}
	program, err := install()
	if err != nil {
		t.Fatal(err)
	}
	if out := output(t, ".", nil, program, "version"); out != "privatelink "+b.version+"\n" {
		t.Errorf("%q", out)
	}
	tampered = true
	program, err = install()
	if _, missing := os.Stat(program); err == nil || !errors.Is(missing, fs.ErrNotExist) {
		t.Errorf("a tampered archive: %v, %v", err, missing)
	}
}
