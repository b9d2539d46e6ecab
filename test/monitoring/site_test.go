// SPDX-License-Identifier: Apache-2.0

//go:build monitoring

package monitoring

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/testutil/prometheus"
)

// faster is how much faster time passes than with the shipped rules: 20 minutes are ten
// seconds.
const faster = 120

// A site is two webhooks, an API server and a Prometheus that scrapes them, with the
// shipped rules.
type site struct {
	*testing.T
	dir        string
	api, query string // addresses of the API server and of Prometheus
	reviews    string // the address where the first webhook serves
	webhooks   []*exec.Cmd
	configs    []string // their configuration files
	otherCA    []byte
	began      time.Time // when all targets had been scraped for long enough
}

func newSite(t *testing.T, role string, leaf time.Duration) *site {
	t.Helper()
	p := find(t)
	s := &site{T: t, dir: t.TempDir(), api: p.address(t), query: p.address(t)}
	ca, cert, key := certificates(t, leaf)
	s.otherCA, _, _ = certificates(t, leaf)
	certFile, keyFile := s.file("tls.crt", cert), s.file("tls.key", key)
	var listen, targets []string
	for i := range 2 {
		l, metrics := p.address(t), p.address(t)
		config := s.file(fmt.Sprintf("privatelink-%d.yaml", i), []byte("registry: "+registry+"\n"))
		var cmd *exec.Cmd
		if role == "" {
			cmd = exec.CommandContext(t.Context(), p.webhook, "--config", config, "--listen", l, "--metrics-listen", metrics, "--tls-cert-file", certFile, "--tls-private-key-file", keyFile)
		} else {
			cmd = itself(t, settings{Role: role, Listen: l, Metrics: metrics, Config: config, Cert: certFile, KeyPE: keyFile})
		}
		s.webhooks, s.configs, listen, targets = append(s.webhooks, s.start(cmd)), append(s.configs, config), append(listen, l), append(targets, metrics)
	}
	s.reviews = listen[0]
	s.start(itself(t, settings{Role: roleAPIServer, Listen: s.api, Webhooks: listen, CA: ca}))
	s.await("the API server", func() error { return s.control(control{State: new(state("", time.Now()))}) })
	write(t, filepath.Join(s.dir, "rules.yaml"), shipped(t).Faster(faster))
	static := func(target string) object { return object{"targets": []string{target}} }
	pods := []object{}
	for i, target := range targets { // the address of a pod stays the same, unlike a free port
		pods = append(pods, object{"targets": []string{target}, "labels": object{"instance": fmt.Sprintf("10.0.%d.20:8080", i+1)}})
	}
	config := write(t, filepath.Join(s.dir, "prometheus.yaml"), object{
		"global":     object{"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
		"rule_files": []string{"rules.yaml"},
		"scrape_configs": []object{
			{"job_name": "castai-privatelink/privatelink-webhook", "static_configs": pods},
			{"job_name": "apiserver", "static_configs": []object{static(s.api)}},
			{"job_name": "kube-state-metrics", "honor_labels": true, "metrics_path": "/state", "static_configs": []object{static(s.api)}},
		},
	})
	s.start(exec.CommandContext(t.Context(), p.Prometheus, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(s.dir, "data"), "--web.listen-address="+s.query, "--log.level=error"))
	s.await("scrapes", func() error { // as long ago as the longest window of an alert that fires in the test
		if got := s.ask(`count(up offset 11s == 1)`); !slices.Equal(slices.Collect(maps.Values(got)), []string{"4"}) {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	s.began = time.Now()
	return s
}

// itself is this program as another process.
func itself(t *testing.T, of settings) *exec.Cmd {
	text, err := json.Marshal(of)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), environment+"="+string(text))
	return cmd
}

// start starts a process, which ends with the test.
func (s *site) start(cmd *exec.Cmd) *exec.Cmd {
	s.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		_ = cmd.Wait() // the context of the test has ended
		if s.Failed() && stderr.Len() > 0 {
			s.Logf("%s: %.1500s", filepath.Base(cmd.Path), stderr.String())
		}
	})
	return cmd
}

func (s *site) file(name string, data []byte) string {
	s.Helper()
	file := filepath.Join(s.dir, name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		s.Fatal(err)
	}
	return file
}

func (s *site) await(what string, try func() error) {
	s.Helper()
	var err error
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	s.Fatalf("%s: %v", what, err)
}

// control changes the API server.
func (s *site) control(c control) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	response, err := http.Post("http://"+s.api+"/control", "application/json", bytes.NewReader(text))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the API server of the test: %s", response.Status)
	}
	return nil
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// ask returns the values that Prometheus has for an expression, by the label alertname.
func (s *site) ask(expression string) map[string]string {
	var answer struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	if err := prometheus.Get(s.Context(), s.query, "query", url.Values{"query": {expression}}, &answer); err != nil {
		return nil
	}
	out := map[string]string{}
	for _, r := range answer.Result {
		out[r.Metric["alertname"]], _ = r.Value[1].(string)
	}
	return out
}

// fired returns the alerts that have fired since the site was complete.
func (s *site) fired() []string {
	window := int(time.Since(s.began).Seconds())
	return slices.Sorted(maps.Keys(s.ask(fmt.Sprintf(`group by (alertname) (max_over_time(ALERTS{alertstate="firing"}[%ds]))`, max(1, window)))))
}

// texts returns the annotations of the alerts that fire.
func (s *site) texts() string {
	var answer struct {
		Alerts []struct{ Annotations map[string]string }
	}
	if err := prometheus.Get(s.Context(), s.query, "alerts", nil, &answer); err != nil {
		return err.Error()
	}
	var out []string
	for _, a := range answer.Alerts {
		out = append(out, slices.Collect(maps.Values(a.Annotations))...)
	}
	return strings.Join(out, "\n")
}

// configuration is the state of the webhook configuration.
const configuration = "kube_mutatingwebhookconfiguration_info{mutatingwebhookconfiguration=\"zz-privatelink-webhook\"} 1\n"

// state is what kube-state-metrics serves: the CronJob's last success, webhook
// configurations, and more.
func state(more string, lastSuccess time.Time) string {
	return fmt.Sprintf("kube_cronjob_status_last_successful_time{namespace=\"castai-mirror\",cronjob=\"privatelink-mirror\"} %d\n", lastSuccess.Unix()) +
		"kube_mutatingwebhookconfiguration_info{mutatingwebhookconfiguration=\"pod-identity-webhook\"} 1\n" + configuration + more
}

// certificates makes a CA, and a serving certificate that is valid for a time.
func certificates(t *testing.T, leaf time.Duration) (ca, cert, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(template, parent *x509.Certificate, valid time.Duration) []byte {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(valid)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	ca = sign(authority, authority, 365*24*time.Hour)
	cert = sign(&x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{deploy.Name + "." + deploy.Namespace + ".svc"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, authority, leaf)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return ca, cert, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}
