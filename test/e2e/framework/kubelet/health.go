// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// health is the result of the probes of one process.
type health struct {
	mu             sync.Mutex
	started, ready bool
}

func (h *health) state() (started, ready bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.started, h.ready
}

func (h *health) set(started, ready bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.started, h.ready = started, ready
}

// watch runs the probes of the container as they are written, until ctx ends:
// the startup probe until it succeeds, then the two others.
func (h *health) watch(ctx context.Context, container corev1.Container, address string, kill func()) {
	defer h.set(false, false)
	startup := newProbe(container.StartupProbe, container, address)
	for startup.wanted() && !startup.succeeds(ctx) {
		if startup.exhausted() {
			kill()
		}
		if !startup.pause(ctx) {
			return
		}
	}
	h.set(true, container.ReadinessProbe == nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		readiness := newProbe(container.ReadinessProbe, container, address)
		for readiness.wanted() {
			if readiness.succeeds(ctx) {
				h.set(true, true)
			} else if readiness.exhausted() {
				h.set(true, false)
			}
			if !readiness.pause(ctx) {
				return
			}
		}
	}()
	liveness := newProbe(container.LivenessProbe, container, address)
	for liveness.wanted() && liveness.pause(ctx) {
		if !liveness.succeeds(ctx) && liveness.exhausted() {
			kill()
		}
	}
	<-done
}

// probe is one HTTP probe. Others are not in use.
type probe struct {
	spec     *corev1.Probe
	url      string
	client   http.Client
	failures int32
}

func newProbe(spec *corev1.Probe, container corev1.Container, address string) *probe {
	if spec == nil || spec.HTTPGet == nil {
		return &probe{}
	}
	port := spec.HTTPGet.Port.IntValue()
	for _, p := range container.Ports {
		if p.Name == spec.HTTPGet.Port.StrVal {
			port = int(p.ContainerPort)
		}
	}
	return &probe{
		spec: spec,
		url:  "http://" + net.JoinHostPort(address, fmt.Sprint(port)) + spec.HTTPGet.Path,
		client: http.Client{
			Timeout:   time.Duration(spec.TimeoutSeconds) * time.Second,
			Transport: &http.Transport{DisableKeepAlives: true}, // and never a proxy
		},
	}
}

func (p *probe) wanted() bool { return p.spec != nil }

func (p *probe) succeeds(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err == nil {
		var resp *http.Response
		if resp, err = p.client.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode < 400 {
				p.failures = 0
				return true
			}
		}
	}
	p.failures++
	return false
}

func (p *probe) exhausted() bool { return p.failures >= p.spec.FailureThreshold }

func (p *probe) pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Duration(p.spec.PeriodSeconds) * time.Second):
		return true
	}
}
