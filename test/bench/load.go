// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// A load is what one server gets in one round. It is written on bare TLS
// connections: net/http's client would cost as much as the server that it
// calls, on the same processors.
type load struct {
	addr     string
	roots    *x509.CertPool
	request  request
	check    check
	inFlight int
	warmUp   time.Duration
	duration time.Duration
}

const (
	maxRequests = 2_000_000 // in one round, over all connections
	grace       = 10 * time.Second
)

// sample is what one connection saw.
type sample struct {
	latencies []time.Duration // after the warm-up
	last      time.Time
	answered  int // with the warm-up
}

// outcome is what all connections saw: latencies after the warm-up, the time that
// those requests took together, and the number of all that were answered.
type outcome struct {
	latencies []time.Duration
	took      time.Duration
	answered  int
}

// run sends requests until the time is over.
func (l load) run(ctx context.Context) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, l.warmUp+l.duration+grace)
	defer cancel()

	conns := make([]*tls.Conn, l.inFlight)
	for i := range conns {
		c, err := dial(ctx, l.addr, l.roots)
		if err != nil {
			return outcome{}, err
		}
		defer c.Close()
		conns[i] = c
	}

	begin := time.Now().Add(l.warmUp)
	samples := make([]sample, l.inFlight)
	errs := make([]error, l.inFlight)
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() {
			if samples[i], errs[i] = l.connection(ctx, c, uint64(i)<<32, begin); errs[i] != nil {
				cancel() // the round is void: let the others stop
			}
		})
	}
	wg.Wait()

	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return outcome{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return outcome{}, err
	}
	var all outcome
	last := begin
	for _, s := range samples {
		all.latencies = append(all.latencies, s.latencies...)
		all.answered += s.answered
		if s.last.After(last) {
			last = s.last
		}
	}
	if len(all.latencies) == 0 {
		return outcome{}, errors.New("no request was answered in time")
	}
	all.took = last.Sub(begin)
	return all, nil
}

// connection sends one request after the other, and counts from begin on.
func (l load) connection(ctx context.Context, c *tls.Conn, first uint64, begin time.Time) (sample, error) {
	end := begin.Add(l.duration)
	if err := c.SetDeadline(end.Add(grace)); err != nil {
		return sample{}, err
	}
	req, in, verify := l.request.clone(), bufio.NewReader(c), &checker{check: l.check}
	var s sample
	var body bytes.Buffer
	for n := range uint64(maxRequests / l.inFlight) {
		if err := ctx.Err(); err != nil {
			return s, err
		}
		req.number(first + n)
		sent := time.Now()
		if _, err := c.Write(req.bytes); err != nil {
			return s, fmt.Errorf("request %d: %w", n, err)
		}
		if err := read(in, &body); err != nil {
			return s, fmt.Errorf("request %d: %w", n, err)
		}
		done := time.Now()
		if err := verify.verify(body.Bytes(), req.uid); err != nil {
			return s, fmt.Errorf("request %d: %w", n, err)
		}
		s.answered++
		if done.After(end) {
			break
		}
		if sent.After(begin) {
			s.latencies, s.last = append(s.latencies, done.Sub(sent)), done
		}
	}
	return s, nil
}

// read reads one answer, which must be a plain 200 that keeps the connection.
func read(in *bufio.Reader, body *bytes.Buffer) error {
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	body.Reset()
	if _, err := body.ReadFrom(io.LimitReader(resp.Body, 1<<20)); err != nil {
		return err
	}
	switch {
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("HTTP %s: %.200s", resp.Status, body)
	case resp.Header.Get("Content-Encoding") != "":
		return fmt.Errorf("answer encoded as %s", resp.Header.Get("Content-Encoding"))
	case resp.Close:
		return errors.New("the server closes a connection that was to be kept")
	}
	return nil
}

func dial(ctx context.Context, addr string, roots *x509.CertPool) (*tls.Conn, error) {
	d := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: 5 * time.Second},
		Config:    &tls.Config{RootCAs: roots, ServerName: serviceName, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}},
	}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return c.(*tls.Conn), nil
}
