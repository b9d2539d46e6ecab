// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// pullLimits compares the pulls that a registry still allows with those that a run
// is about to make. Docker Hub reports them in its response to HEAD, which does not
// count as a pull.
// https://docs.docker.com/docker-hub/usage/pulls/
type pullLimits struct {
	warn func(message string)

	mu       sync.Mutex
	expected map[string]int // images of a run, by host
	read     map[string]int // manifests that were read, each a pull
	warned   map[string]bool
}

// ExpectPulls announces images that are about to be read, one repository for each. If
// a registry allows fewer pulls, Options.Warn receives a message before they fail.
func (c *Client) ExpectPulls(repositories []string) {
	p := &c.state.pulls
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.expected == nil {
		p.expected, p.read, p.warned = map[string]int{}, map[string]int{}, map[string]bool{}
	}
	for _, name := range repositories {
		host, _, _ := strings.Cut(name, "/")
		p.expected[host]++
	}
}

// count takes into account that a manifest was read.
func (p *pullLimits) count(r *repository) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.expected != nil {
		p.read[r.reference.Registry]++
	}
}

// observe warns once for each registry whose limit is lower than what is expected.
func (p *pullLimits) observe(r *repository, h http.Header) {
	text, _, _ := strings.Cut(h.Get("RateLimit-Remaining"), ";")
	remaining, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return
	}
	host := r.reference.Registry
	p.mu.Lock()
	expected := p.expected[host]
	warn := expected > remaining+p.read[host] && !p.warned[host]
	if warn {
		p.warned[host] = true
	}
	p.mu.Unlock()
	if warn {
		p.warn(fmt.Sprintf("%s allows %d more pulls for now, and %d images are to be read: run `docker login %s` for a higher limit", host, remaining, expected, host))
	}
}
