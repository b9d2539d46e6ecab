// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
)

// target is an empty registry that behaves like ECR, without its quotas and
// without its login: the other programs know neither.
type target struct {
	address string
	dir     string
	server  *http.Server
}

// startTarget has the repositories that a copy from the source needs.
func (b *bench) startTarget(source string, shares bool) (*target, error) {
	dir, err := os.MkdirTemp(b.dir, "target-")
	if err != nil {
		return nil, err
	}
	handler := fakeecr.New(fakeecr.Options{Dir: dir, Switches: fakeecr.Switches{Anonymous: true, Direct: true, BlobMounting: shares}})
	handler.Create("raw")
	for i := range images {
		path := repositoryPath(b.targetRepository(source, "target", i))
		handler.Create(path)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &target{l.Addr().String(), dir, &http.Server{Handler: handler}}
	go func() { _ = t.server.Serve(l) }()
	return t, nil
}

func (t *target) stop() { _, _ = t.server.Close(), os.RemoveAll(t.dir) }

// floor measures ours on loopback, and as its lower bound a raw copy: each unique
// blob is read and written once over the same connections, without digests.
func (b *bench) floor(ctx context.Context, p profile) (raw, ours float64, err error) {
	source, err := listenLink(b.address, b.source, p.roundTrip, p.rate)
	if err != nil {
		return 0, 0, err
	}
	defer source.Close()
	var raws, all []float64
	for range b.runs {
		took, err := b.rawCopy(ctx, p, source.Addr().String())
		if err != nil {
			return 0, 0, err
		}
		raws = append(raws, took)
		cold, _, err := b.once(ctx, program{"ours", b.copyOurs}, p, source.Addr().String(), true)
		if err != nil {
			return 0, 0, err
		}
		all = append(all, cold)
	}
	raw, ours = median(raws), median(all)
	fmt.Printf("loopback; the target shares blobs\n  %-10s %8.2f s   (%s)\n  %-10s %8.2f s   (%s)\n", "raw copy", raw, spread(raws), "ours", ours, spread(all))
	return raw, ours, nil
}

// rawCopy reads all blobs of the corpus, as the source lists them, and writes
// them.
func (b *bench) rawCopy(ctx context.Context, p profile, source string) (seconds float64, err error) {
	t, err := b.startTarget("", true)
	if err != nil {
		return 0, err
	}
	defer t.stop()
	target, err := listenLink(b.address, t.address, p.roundTrip, p.rate)
	if err != nil {
		return 0, err
	}
	defer target.Close()
	m := &mirror.Mirror{Source: registry.New(registry.Options{})}
	var wanted []mirror.Job
	for i := range images {
		wanted = append(wanted, mirror.Job{Source: fmt.Sprintf("%s/library/image-%d:v1", b.source, i), Target: fmt.Sprintf("%s/raw/image-%d:v1", t.address, i)})
	}
	content, err := m.ReadContent(ctx, wanted, t.address, nil)
	if err != nil {
		return 0, err
	}
	client := &http.Client{Transport: registry.NewTransport()}
	begin := time.Now()
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(32)
	for _, blob := range content.Blobs {
		all.Go(func() error {
			path := repositoryPath(blob.Repository)
			return b.rawBlob(ctx, client, "http://"+source+"/v2/"+path+"/blobs/"+blob.Descriptor.Digest.String(),
				"http://"+target.Addr().String()+"/v2/raw/blobs/uploads/", blob.Descriptor.Digest.String(), blob.Descriptor.Size)
		})
	}
	err = all.Wait()
	return time.Since(begin).Seconds(), err
}

// repositoryPath is a repository without its registry host.
func repositoryPath(repository string) string {
	_, path, _ := strings.Cut(repository, "/")
	return path
}

func (b *bench) rawBlob(ctx context.Context, client *http.Client, from, to, digest string, size int64) error {
	do := func(method, url string, body io.Reader, length int64, want int) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, method, url, body)
		if err != nil {
			return nil, err
		}
		req.ContentLength = length
		resp, err := client.Do(req)
		if err == nil && resp.StatusCode != want {
			err = errors.Join(errors.New(method+" "+url+": "+resp.Status), resp.Body.Close())
		}
		return resp, err
	}
	source, err := do(http.MethodGet, from, nil, 0, http.StatusOK)
	if err != nil {
		return err
	}
	defer source.Body.Close()
	opened, err := do(http.MethodPost, to, nil, 0, http.StatusAccepted)
	if err != nil {
		return err
	}
	if err := opened.Body.Close(); err != nil {
		return err
	}
	location, err := opened.Location()
	if err != nil {
		return err
	}
	query := location.Query()
	query.Set("digest", digest)
	location.RawQuery = query.Encode()
	done, err := do(http.MethodPut, location.String(), io.NopCloser(source.Body), size, http.StatusCreated)
	if err != nil {
		return err
	}
	return done.Body.Close()
}
