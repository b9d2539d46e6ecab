// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// probe asks a component whether it works. Each is asked for its effect and
// not for its own opinion: a health page of the controller manager is green
// long before the first service account appears, without which no pod can be.
type probe struct {
	client  *http.Client
	token   string
	timeout time.Duration
	url     map[string]string // by component; each answers 200 when it works
}

func newProbe(l layout, token string, ca []byte, timeout time.Duration) probe {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	if timeout == 0 {
		timeout = time.Minute
	}
	return probe{
		// Never a proxy, never a kept connection: a probe after a restart must
		// not fail, or succeed, on the connection from before it.
		client: &http.Client{
			Timeout:   5 * time.Second,
			Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}},
		},
		token:   token,
		timeout: timeout,
		url: map[string]string{
			Etcd:              l.etcdURL() + "/health",
			APIServer:         l.apiServerURL() + "/readyz",
			ControllerManager: l.apiServerURL() + "/api/v1/namespaces/default/serviceaccounts/default",
		},
	}
}

func (p probe) check(ctx context.Context, component string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url[component], nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", p.url[component], resp.Status)
	}
	return nil
}

// await returns when the component works. A component that ended is reported
// at once; else a misspelt flag would cost the whole timeout.
func (c *Cluster) await(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, c.probe.timeout)
	defer cancel()
	begin := time.Now()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	last := errors.New("it was not asked yet")
	for {
		select {
		case <-p.done:
			return p.died()
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s (%w): %w; %s", p.name, time.Since(begin).Round(time.Millisecond), context.Cause(ctx), last, p.tail())
		case <-tick.C:
		}
		err := c.probe.check(ctx, p.name)
		if err == nil {
			fmt.Fprintf(c.log, "%s ready after %s\n", p.name, time.Since(begin).Round(time.Millisecond))
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
	}
}
