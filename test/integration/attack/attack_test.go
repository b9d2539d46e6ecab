// SPDX-License-Identifier: Apache-2.0

// Package attack sends the built webhook what every pod of a cluster can send it,
// without credentials: connections, headers and bodies that take memory. Under each
// attack the process must stay within the memory limit of the shipped Deployment,
// and answer the reviews of an API server and the probes of a kubelet.
package attack

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

const (
	sixMiB = 6 << 20
	// reviews are sent one after the other, each after a probe, until the attack is
	// over, but at least this number.
	reviews = 20
)

// attacks return when they are in progress.
var attacks = []struct {
	name string
	run  func(*attacker)
}{
	{"no attack", func(*attacker) {}},
	{"300 connections that announce 6 MiB", func(a *attacker) {
		a.each(300, func() { a.send(a.reviews(), head(sixMiB)+"{") })
	}},
	{"300 connections that announce 256 KiB", func(a *attacker) {
		a.each(300, func() { a.send(a.reviews(), head(256<<10)+"{") })
	}},
	{"1,000 bodies of 16 KiB that do not end", func(a *attacker) {
		a.each(1000, func() { a.send(a.reviews(), head(16<<10)+strings.Repeat(" ", 16<<10-1)) })
	}},
	{"50 slow bodies of 6 MiB", func(a *attacker) {
		a.each(50, func() { a.trickle(a.reviews(), head(sixMiB)) })
	}},
	{"50 slow bodies of an unknown size", func(a *attacker) {
		a.each(50, func() {
			a.trickle(a.reviews(), "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1400000\r\n")
		})
	}},
	{"50 whole bodies of 6 MiB at once", func(a *attacker) {
		body := review(padding(sixMiB))
		a.during(50, func() { a.exchange(a.reviews(), head(len(body))+body) })
	}},
	{"20 whole bodies of 20 MiB at once", func(a *attacker) {
		body := review(padding(20<<20 - 1000))
		a.during(20, func() { a.exchange(a.reviews(), head(len(body))+body) })
	}},
	{"a review of 430,000 containers", func(a *attacker) {
		body := review(`"spec":{"containers":[` + strings.Repeat(`{"image":"a"},`, 430_000) + `{}]}`)
		a.during(1, func() { a.exchange(a.reviews(), head(len(body))+body) })
	}},
	{"10 reviews of 8,000 containers at once", func(a *attacker) {
		body := review(`"spec":{"containers":[` + strings.Repeat(`{"image":"docker.io/acme/widget"},`, 8_000) + `{}]}`)
		a.during(10, func() { a.exchange(a.reviews(), head(len(body))+body) })
	}},
	{"a review of 1,000,000 fields", func(a *attacker) {
		var fields strings.Builder
		for i := range 1_000_000 {
			fmt.Fprintf(&fields, `"%x":0,`, i)
		}
		body := review(`"x":{` + fields.String() + `"y":0}`)
		a.during(1, func() { a.exchange(a.reviews(), head(len(body))+body) })
	}},
	{"20 reviews of 290,000 fields at once", func(a *attacker) {
		var fields strings.Builder
		for i := range 290_000 {
			fmt.Fprintf(&fields, `"%x":0,`, i)
		}
		body := review(`"x":{` + fields.String() + `"y":0}`)
		a.during(20, func() { a.exchange(a.reviews(), head(len(body))+body) })
	}},
	{"1,000 header floods on the reviews' port", func(a *attacker) {
		a.each(1000, func() { a.flood(a.reviews()) })
	}},
	{"1,000 header floods on the metrics' port", func(a *attacker) {
		a.each(1000, func() { a.flood(a.metrics()) })
	}},
	{"2,000 idle connections", func(a *attacker) {
		body := review(padding(100))
		a.each(2000, func() { a.exchange(a.reviews(), head(len(body))+body) })
	}},
	{"2,000 connections without a handshake", func(a *attacker) {
		a.each(2000, func() { a.keep(a.dial(a.webhook.listen)) })
	}},
	{"3,000 silent connections a second on the metrics' port", func(a *attacker) {
		a.sustain(3000, func() { a.metrics() })
	}},
	{"1,000 silent connections a second on the reviews' port", func(a *attacker) {
		a.sustain(1000, func() { a.dial(a.webhook.listen) })
	}},
	{"50 scrapes at once", func(a *attacker) {
		a.during(50, func() { a.exchange(a.metrics(), "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n") })
	}},
	{"1,000 requests that are no reviews", func(a *attacker) {
		a.each(1000, func() { a.exchange(a.reviews(), "GET /mutate HTTP/1.1\r\nHost: x\r\n\r\n") })
	}},
}

func TestAttacks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the resident set is read from /proc")
	}
	binary, shipped := build(t), deployed(t)
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "attack\tpeak RSS, MiB\treviews answered\tslowest\tlog, KiB\n")
	for _, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			p := start(t, binary, shipped)
			a := &attacker{T: t, webhook: p}
			defer a.close()
			attack.run(a)
			over := make(chan struct{})
			go func() {
				a.busy.Wait() // bodies that are sent slowly are refused within seconds
				close(over)
			}()
			sent, answered, slowest := p.reviewUntil(t, over)
			peak := p.peak(t)
			fmt.Fprintf(w, "%s\t%.0f\t%d of %d\t%s\t%d\n", attack.name, float64(peak)/(1<<20), answered, sent, slowest.Round(time.Millisecond), p.log.size()>>10)
			if peak > shipped.memory {
				t.Errorf("%d MiB resident, the Deployment allows %d", peak>>20, shipped.memory>>20)
			}
			if size := p.log.size(); size > 512<<10 {
				t.Errorf("a log of %d KiB", size>>10)
			}
		})
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("limit %d MiB\n%s", shipped.memory>>20, &table)
}

func (p *process) reviewUntil(t *testing.T, over <-chan struct{}) (sent, answered int, slowest time.Duration) {
	failed := 0 // of the last probes
	for isOver := false; sent < reviews || !isOver; {
		select {
		case <-over:
			isOver = true
		default:
		}
		sent++
		if err := p.probe(); err == nil {
			failed = 0
		} else if failed++; failed == probeFailures {
			t.Errorf("%d probes in a row failed, the last with: %v", failed, err)
		}
		took, err := p.review()
		if err != nil {
			t.Errorf("review %d: %v", sent, err)
			continue
		}
		answered, slowest = answered+1, max(slowest, took)
	}
	return sent, answered, slowest
}

// head is a request that announces a body of the size.
func head(size int) string {
	return fmt.Sprintf("POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", size)
}

// review is an AdmissionReview of a pod with the fields.
func review(fields string) string {
	return `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"1","operation":"CREATE","resource":{"group":"","version":"v1","resource":"pods"},` +
		`"namespace":"castai-agent","object":{"metadata":{"name":"p"},` + fields + `}}}`
}

// padding is a field of about the size.
func padding(size int) string { return `"x":"` + strings.Repeat("x", size) + `"` }
