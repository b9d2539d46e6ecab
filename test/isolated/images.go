// SPDX-License-Identifier: Apache-2.0

//go:build linux

package isolated

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/test/isolated/ecr"
)

func (n *Node) caFile() string       { return filepath.Join(n.dir, "ecr-ca.crt") }
func (n *Node) passwordFile() string { return filepath.Join(n.dir, "ecr-password") }

// publish fills the registry: the webhook's image, and for every other image a stand-in, under the name that the rules give it.
func (n *Node) publish(ctx context.Context, cfg Config) error {
	begin := time.Now()
	if err := write(map[string]string{n.caFile(): string(n.ECR.CA), n.passwordFile(): n.ECR.Password()}); err != nil {
		return err
	}
	_, commands, err := n.wanted(cfg.Manifests)
	if err != nil {
		return err
	}
	if n.layers, err = n.standInLayers(commands); err != nil {
		return err
	}
	index, err := n.standIn(behavior{})
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	n.Digest = digest.String()
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return n.pushOwn(ctx) })
	both.Go(func() error {
		if err := n.pushAll(ctx, catalogBehaviors()); err != nil {
			return err
		}
		return n.Publish(ctx, cfg.Manifests...)
	})
	if err := both.Wait(); err != nil {
		return err
	}
	fmt.Fprintf(n.log, "images published for %s after %s\n", strings.Join(Architectures(), " and "), time.Since(begin).Round(time.Millisecond))
	return nil
}

// Publish puts a stand-in of every image that the manifests name into the
// registry, as the customer's mirror does before an upgrade. Commands that no
// manifest of Config named are not in it.
func (n *Node) Publish(ctx context.Context, manifests ...string) error {
	wanted, _, err := n.wanted(manifests)
	if err != nil {
		return err
	}
	return n.pushAll(ctx, wanted)
}

// pushAll pushes stand-ins under the private names of the images. Images of
// other registries that the rules do not rewrite are skipped.
func (n *Node) pushAll(ctx context.Context, images map[string]behavior) error {
	pushes, ctx := errgroup.WithContext(ctx)
	pushes.SetLimit(4)
	transport := n.ECR.Transport()
	for image, b := range images {
		target := n.Rules.Image(image).Target
		if host, _, _ := strings.Cut(target, "/"); host != Host && host != AddOnHost {
			continue
		}
		pushes.Go(func() error {
			index, err := n.standIn(b)
			if err != nil {
				return err
			}
			ref, err := name.ParseReference(target)
			if err != nil {
				return err
			}
			return remote.WriteIndex(ref, index, remote.WithContext(ctx), remote.WithAuth(n.ECR.Authenticator()), remote.WithTransport(transport))
		})
	}
	if err := pushes.Wait(); err != nil {
		return fmt.Errorf("publishing images: %w", err)
	}
	return nil
}

// pushOwn pushes the webhook's image, and the one whose clock is wrong.
func (n *Node) pushOwn(ctx context.Context) error {
	binaries := map[string]string{}
	for _, arch := range Architectures() {
		binaries[arch] = n.of(arch, "privatelink-webhook")
	}
	push := func(version string, binaries map[string]string) error {
		return n.push(ctx, Host, n.ECR.Password(), Registry+"/"+deploy.Image, version, binaries)
	}
	return errors.Join(push(n.Version, binaries), push(n.WrongClock(), map[string]string{runtime.GOARCH: n.clock("privatelink-webhook")}))
}

// push packs programs as the webhook's image of a version, and pushes it to a host with its
// password.
func (n *Node) push(ctx context.Context, host, password, repository, version string, binaries map[string]string) error {
	config, err := json.Marshal(map[string]any{"auths": map[string]any{
		host: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(ecr.User + ":" + password))},
	}})
	if err != nil {
		return err
	}
	folder := filepath.Join(n.dir, "docker")
	if err := write(map[string]string{filepath.Join(folder, "config.json"): string(config)}); err != nil {
		return err
	}
	env := []string{"SSL_CERT_FILE=" + n.caFile(), "DOCKER_CONFIG=" + folder, "HOME=" + n.dir}
	return n.ociimage(ctx, env, version, binaries, "--push", repository+":"+version)
}

// standIn makes an index of one image for each architecture. All share a layer;
// only the configuration says how they behave.
func (n *Node) standIn(b behavior) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range Architectures() {
		base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
		image, err := mutate.ConfigFile(base, &v1.ConfigFile{
			OS: "linux", Architecture: arch,
			Config: v1.Config{Entrypoint: []string{standInProgram}, Env: append([]string{"PATH=/usr/local/bin:/bin"}, b.env()...)},
			RootFS: v1.RootFS{Type: "layers"},
		})
		if err != nil {
			return nil, err
		}
		if image, err = mutate.AppendLayers(image, n.layers[arch]); err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return index, nil
}

const standInProgram = "/standin"

// standInLayers are the file systems: the one program, under every name by
// which some manifest calls it.
func (n *Node) standInLayers(commands []string) (map[string]v1.Layer, error) {
	layers := map[string]v1.Layer{}
	for _, arch := range Architectures() {
		program, err := os.ReadFile(n.of(arch, "standin"))
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		err = w.WriteHeader(&tar.Header{Name: standInProgram[1:], Mode: 0o555, Size: int64(len(program)), Typeflag: tar.TypeReg})
		if err == nil {
			_, err = w.Write(program)
		}
		for _, c := range commands {
			if !path.IsAbs(c) {
				c = "/bin/" + c
			}
			if c != standInProgram {
				err = errors.Join(err, w.WriteHeader(&tar.Header{Name: c[1:], Linkname: standInProgram, Mode: 0o777, Typeflag: tar.TypeSymlink}))
			}
		}
		if err := errors.Join(err, w.Close()); err != nil {
			return nil, err
		}
		open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }
		if layers[arch], err = tarball.LayerFromOpener(open, tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithCompressedCaching, tarball.WithMediaType(types.OCILayer)); err != nil {
			return nil, err
		}
	}
	return layers, nil
}

// ofThisMachine picks from an index what runs here.
func ofThisMachine(index v1.ImageIndex) (v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, m := range manifest.Manifests {
		if m.Platform.Architecture == runtime.GOARCH {
			return index.Image(m.Digest)
		}
	}
	return nil, fmt.Errorf("no image for %s", runtime.GOARCH)
}
