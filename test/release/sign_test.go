// SPDX-License-Identifier: Apache-2.0

//go:build release

package release

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// signer is the pinned cosign with a key in a folder, and without Sigstore's services:
// without the two files it would ask for them.
type signer struct {
	program, dir string
}

// sign are the flags of commands that sign.
func (s signer) sign(command string, args ...string) []string {
	return append([]string{command, "--yes", "--key", "cosign.key", "--signing-config", "services.json", "--trusted-root", "roots.json"}, args...)
}

// verify are the flags of commands that verify.
func (s signer) verify(command string, args ...string) []string {
	return append([]string{command, "--key", "cosign.pub", "--insecure-ignore-tlog"}, args...)
}

func newSigner(t *testing.T, program string) signer {
	t.Helper()
	s := signer{program, t.TempDir()}
	s.must(t, "generate-key-pair")
	s.must(t, "signing-config", "create", "--out", "services.json")
	s.must(t, "trusted-root", "create", "--out", "roots.json")
	return s
}

func (s signer) run(args ...string) (string, error) {
	c := exec.Command(s.program, args...)
	c.Dir, c.Env = s.dir, append(os.Environ(), "COSIGN_PASSWORD=", "HOME="+s.dir)
	out, err := c.CombinedOutput()
	return string(out), err
}

func (s signer) must(t *testing.T, args ...string) {
	t.Helper()
	if out, err := s.run(args...); err != nil {
		t.Fatalf("cosign %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (s signer) refuses(t *testing.T, what string, args ...string) {
	t.Helper()
	if out, err := s.run(args...); err == nil {
		t.Errorf("%s was verified: cosign %s\n%s", what, strings.Join(args, " "), out)
	}
}

func (b built) testSignatures(t *testing.T) {
	output(t, b.dir, nil, "make", "cosign")
	program := filepath.Join(b.dir, "bin", "cosign")
	key, other := newSigner(t, program), newSigner(t, program)
	b.testBlobSignature(t, key, other)
	b.testImageSignature(t, key, other)
}

func (b built) testBlobSignature(t *testing.T, key, other signer) {
	list := b.released("checksums.txt")
	bundle := filepath.Join(key.dir, "checksums.txt.sigstore.json")
	key.must(t, key.sign("sign-blob", "--bundle", bundle, list)...)
	key.must(t, key.verify("verify-blob", "--bundle", bundle, list)...)
	other.refuses(t, "a signature of another key", other.verify("verify-blob", "--bundle", bundle, list)...)
	changed := filepath.Join(t.TempDir(), "checksums.txt")
	if err := os.WriteFile(changed, append(read(t, list), "0  x\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	key.refuses(t, "a changed list", key.verify("verify-blob", "--bundle", bundle, changed)...)
}

func (b built) testImageSignature(t *testing.T, key, other signer) {
	s := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	defer s.Close()
	images := strings.TrimPrefix(s.URL, "http://") + "/castai"
	pushed := output(t, b.dir, nil, "make", "-s", "push-images", "IMAGES="+images, "ARCHITECTURES="+runtime.GOARCH)
	for _, name := range []string{"privatelink-webhook", "privatelink"} {
		digest := b.digest(t, name)
		image := images + "/" + name + "@" + digest
		if !strings.Contains(pushed, digest+"  "+image+"\n") {
			t.Errorf("pushed\n%swant %s %s", pushed, name, digest)
		}
		key.refuses(t, "an image without a signature", key.verify("verify", image)...)
		key.must(t, key.sign("sign", image)...)
		key.must(t, key.verify("verify", image)...)
		other.refuses(t, "a signature of another key", other.verify("verify", image)...)
		key.must(t, key.sign("attest", "--type", "spdxjson", "--predicate", b.file(t, name+"_"+b.number+"_image.spdx.json"), image)...)
		key.must(t, key.verify("verify-attestation", "--type", "spdxjson", image)...)
	}
	tagged := output(t, b.dir, nil, "make", "-s", "tag-images", "IMAGES="+images, "ARCHITECTURES="+runtime.GOARCH)
	for _, name := range []string{"privatelink-webhook", "privatelink"} {
		if digest := b.digest(t, name); !strings.Contains(tagged, digest+"  "+images+"/"+name+":"+b.version+"\n") {
			t.Errorf("tagged\n%swant %s %s", tagged, name, digest)
		}
	}
	// The SBOM of the command names the image that it carries.
	text := string(read(t, b.file(t, "privatelink_"+b.number+"_"+runtime.GOOS+"_"+runtime.GOARCH+".spdx.json")))
	if digest := strings.TrimPrefix(b.digest(t, "privatelink-webhook"), "sha256:"); !strings.Contains(text, digest) {
		t.Errorf("the SBOM of the command does not have the digest %s", digest)
	}
}
