// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// The hosts of released programs. Each variable names a mirror with the same
// layout; the value "off" compiles the programs instead.
const (
	kubernetesMirror = "KUBERNETES_RELEASES"
	etcdMirror       = "ETCD_RELEASES"

	kubernetesReleases = "https://dl.k8s.io/release"
	etcdReleases       = "https://github.com/etcd-io/etcd/releases/download"
)

// Bounds on what a release host may send, and on how long it may be silent.
const (
	maxProgram   = 512 << 20
	maxChecksums = 1 << 20
	reachTimeout = 4 * time.Second  // for a connection, and for the first byte of a response
	stallTimeout = 30 * time.Second // between two reads of a body
)

// errNoRelease is returned if there is no release for this platform, or if the
// host cannot be reached or does not have the version.
var errNoRelease = errors.New("no released programs")

// released returns a folder with the released programs of r, which it downloads
// unless an earlier call did. Every file is compared with the SHA-256 that its
// host publishes for it:
// https://kubernetes.io/docs/tasks/tools/install-kubectl-linux/ and the
// SHA256SUMS of https://github.com/etcd-io/etcd/releases.
//
// The error is errNoRelease where the caller should compile. A checksum that
// differs is another error: it must not be passed over.
func released(ctx context.Context, root string, r release, v variant, log io.Writer) (string, error) {
	bin := filepath.Join(cacheDir(root), "released-"+r.version+"-etcd-"+r.etcd+v.suffix)
	if complete(bin, v.programs...) {
		return bin, nil
	}
	if runtime.GOOS != "linux" {
		return "", fmt.Errorf("%w: Kubernetes releases its server for Linux, not for %s", errNoRelease, runtime.GOOS)
	}
	h := releaseHost{kubernetes: mirrorOr(kubernetesMirror, kubernetesReleases), etcd: mirrorOr(etcdMirror, etcdReleases), log: log}
	if h.kubernetes == "off" || h.etcd == "off" {
		return "", fmt.Errorf("%w: %s or %s is off", errNoRelease, kubernetesMirror, etcdMirror)
	}
	h.client = &http.Client{Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: reachTimeout}).DialContext,
		TLSHandshakeTimeout:   reachTimeout,
		ResponseHeaderTimeout: reachTimeout,
	}}
	defer h.client.CloseIdleConnections()
	return bin, publish(bin, func(tmp string) error {
		for _, name := range append(programs(), v.programs...) {
			var err error
			if name == Etcd {
				err = h.fetchEtcd(ctx, r.etcd, filepath.Join(tmp, name))
			} else {
				err = h.fetchKubernetes(ctx, r.version, name, filepath.Join(tmp, name))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func mirrorOr(variable, standard string) string {
	if mirror := os.Getenv(variable); mirror != "" {
		return strings.TrimSuffix(mirror, "/")
	}
	return standard
}

// releaseHost downloads from the hosts of releases.
type releaseHost struct {
	kubernetes, etcd string
	client           *http.Client
	log              io.Writer
}

// fetchKubernetes writes one program, whose checksum lies next to it.
func (h releaseHost) fetchKubernetes(ctx context.Context, version, name, to string) error {
	url := fmt.Sprintf("%s/%s/bin/linux/%s/%s", h.kubernetes, version, runtime.GOARCH, name)
	sum, err := h.readText(ctx, url+".sha256")
	if err != nil {
		return err
	}
	return h.fetch(ctx, url, strings.TrimSpace(sum), kubernetesMirror, func(r io.Reader) error { return writeProgram(to, r) })
}

// fetchEtcd writes etcd, which is released in an archive.
func (h releaseHost) fetchEtcd(ctx context.Context, version, to string) error {
	archive := fmt.Sprintf("etcd-%s-linux-%s", version, runtime.GOARCH)
	url := fmt.Sprintf("%s/%s/%s.tar.gz", h.etcd, version, archive)
	sums, err := h.readText(ctx, fmt.Sprintf("%s/%s/SHA256SUMS", h.etcd, version))
	if err != nil {
		return err
	}
	return h.fetch(ctx, url, checksumOf(sums, archive+".tar.gz"), etcdMirror, func(r io.Reader) error {
		return extract(r, path.Join(archive, "etcd"), to)
	})
}

// checksumOf finds a file in the output of sha256sum; "" if it is not there.
func checksumOf(sums, file string) string {
	for line := range strings.Lines(sums) {
		if f := strings.Fields(line); len(f) == 2 && strings.TrimPrefix(f[1], "*") == file {
			return f[0]
		}
	}
	return ""
}

// fetch passes the body of url to write, and fails unless all of it has the
// SHA-256 in hexadecimal. The caller must discard what was written on an error.
func (h releaseHost) fetch(ctx context.Context, url, sum, mirror string, write func(io.Reader) error) error {
	if b, err := hex.DecodeString(sum); err != nil || len(b) != sha256.Size {
		return fmt.Errorf("%s has no SHA-256 published for it: set %s to a mirror, or to off to compile", url, mirror)
	}
	fmt.Fprintf(h.log, "downloading %s\n", url)
	body, err := h.get(ctx, url)
	if err != nil {
		return err
	}
	defer body.Close()
	digest := sha256.New()
	in := io.TeeReader(io.LimitReader(body, maxProgram), digest)
	if err := write(in); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	if _, err := io.Copy(io.Discard, in); err != nil { // an archive may have padding
		return fmt.Errorf("%s: %w", url, err)
	}
	if got := hex.EncodeToString(digest.Sum(nil)); !strings.EqualFold(got, sum) {
		return fmt.Errorf("%s has SHA-256 %s, its host publishes %s: the file was changed on its way; set %s to a mirror that you trust, or to off to compile", url, got, sum, mirror)
	}
	return nil
}

// readText returns a small file.
func (h releaseHost) readText(ctx context.Context, url string) (string, error) {
	body, err := h.get(ctx, url)
	if err != nil {
		return "", err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxChecksums))
	if err != nil {
		return "", fmt.Errorf("%s: %w", url, err)
	}
	return string(text), nil
}

// get returns the body of url, whose reads fail after a stall.
func (h releaseHost) get(ctx context.Context, url string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp, err := h.client.Do(req)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("%w: %w", errNoRelease, err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		cancel(nil)
		return nil, fmt.Errorf("%w: %s answered %s", errNoRelease, url, resp.Status)
	}
	stalled := fmt.Errorf("no data for %s", stallTimeout)
	return &watchedBody{ReadCloser: resp.Body, timer: time.AfterFunc(stallTimeout, func() { cancel(stalled) }), ctx: ctx, cancel: cancel}, nil
}

// watchedBody cancels its request when no read succeeds for stallTimeout.
type watchedBody struct {
	io.ReadCloser
	timer  *time.Timer
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.timer.Reset(stallTimeout)
	}
	if err != nil && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	return n, err
}

func (b *watchedBody) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}

// extract writes one file of a gzipped tar archive.
func extract(r io.Reader, name, to string) error {
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("the archive has no %s", name)
		} else if err != nil {
			return err
		}
		if path.Clean(header.Name) == name && header.Typeflag == tar.TypeReg {
			return writeProgram(to, archive)
		}
	}
}

func writeProgram(to string, r io.Reader) error {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(r, maxProgram))
	if err == nil && n == 0 {
		err = errors.New("the program is empty")
	}
	return errors.Join(err, f.Close())
}
