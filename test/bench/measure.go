// SPDX-License-Identifier: Apache-2.0

package main

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"time"
)

// starts is how often the time from start to ready is taken.
const starts = 5

// measure runs each server once in each round, one process at a time. The
// servers alternate, so that a machine that slows down slows all of them.
func (s session) measure(ctx context.Context, o options, log io.Writer) (*report, error) {
	req, err := newRequest()
	if err != nil {
		return nil, err
	}
	r := &report{
		Conditions: conditions{
			Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(),
			RequestBytes: req.body, InFlight: o.inFlight, Rounds: o.rounds, Seconds: o.duration.Seconds(),
		},
	}
	for _, srv := range s.servers {
		r.Servers = append(r.Servers, result{Name: srv.name})
	}
	for n := range o.rounds {
		for i, srv := range s.servers {
			fmt.Fprintf(log, "round %d/%d: %s\n", n+1, o.rounds, srv.name)
			got, err := s.runRound(ctx, srv, req, o)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", srv.name, err)
			}
			r.Servers[i].Rounds = append(r.Servers[i].Rounds, got)
		}
	}
	webhook := s.servers[len(s.servers)-1]
	fmt.Fprintln(log, "start to ready")
	for range starts {
		d, err := s.startToReady(ctx, webhook)
		if err != nil {
			return nil, err
		}
		r.StartsMillis = append(r.StartsMillis, millis(d))
	}
	if r.BinaryMiB, r.BinaryGzipMiB, err = sizes(webhook.path); err != nil {
		return nil, err
	}
	r.summarize()
	return r, nil
}

// runRound measures one server in one round, in a fresh process.
func (s session) runRound(ctx context.Context, srv server, req request, o options) (round, error) {
	addr, err := freeAddr()
	if err != nil {
		return round{}, err
	}
	args, err := srv.args(addr)
	if err != nil {
		return round{}, err
	}
	p, err := start(srv.path, args...)
	if err != nil {
		return round{}, err
	}
	defer p.stop()
	err = p.await(ctx, func(ctx context.Context) error {
		c, err := dial(ctx, addr, s.certificate.roots)
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err != nil {
		return round{}, err
	}
	l := load{
		addr: addr, roots: s.certificate.roots, request: req, check: srv.check,
		inFlight: o.inFlight, warmUp: o.warmUp, duration: o.duration,
	}
	before := p.processorTime()
	got, err := l.run(ctx)
	if err != nil {
		return round{}, fmt.Errorf("%w\n%s", err, p.output.String())
	}
	used := p.processorTime() - before
	return newRound(got, used, p.stopAndPeak()), nil
}

// startToReady is the time from the start of the process to its first 200 on
// /readyz.
func (s session) startToReady(ctx context.Context, srv server) (time.Duration, error) {
	addr, err := freeAddr()
	if err != nil {
		return 0, err
	}
	metrics, err := freeAddr()
	if err != nil {
		return 0, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	p, err := start(srv.path, s.ourArgsWith(addr, metrics)...)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	if err := p.await(ctx, ready(client, metrics)); err != nil {
		return 0, err
	}
	return time.Since(p.began), nil
}

// sizes are those of a file, as it is and compressed as in an image layer.
func sizes(path string) (raw, compressed float64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	var n counter
	z := gzip.NewWriter(&n)
	size, err := io.Copy(z, f)
	if err != nil {
		return 0, 0, err
	}
	if err := z.Close(); err != nil {
		return 0, 0, err
	}
	return mib(size), mib(int64(n)), nil
}

type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}
