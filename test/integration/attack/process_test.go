// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

const (
	registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"
	// patience is that of the API server, as the webhook configuration sets it.
	patience = 3 * time.Second
	// probePatience is the default of timeoutSeconds, which the Deployment does not
	// set. probeFailures is the failureThreshold of its liveness probe.
	probePatience = time.Second
	probeFailures = 3
)

// deployment is what the shipped Deployment gives the webhook.
type deployment struct {
	memory int64 // the limit, in bytes
	env    []string
}

func deployed(t *testing.T) deployment {
	t.Helper()
	rules, err := rewrite.New(rewrite.Config{Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := deploy.Objects(deploy.Options{Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	var d deployment
	for _, o := range objects {
		if o, ok := o.(*appsv1.Deployment); ok {
			c := o.Spec.Template.Spec.Containers[0]
			d.memory = c.Resources.Limits.Memory().Value()
			for _, e := range c.Env {
				switch {
				case e.ValueFrom == nil:
					d.env = append(d.env, e.Name+"="+e.Value)
				case e.ValueFrom.ResourceFieldRef != nil: // of the memory limit
					d.env = append(d.env, fmt.Sprintf("%s=%d", e.Name, d.memory))
				}
			}
		}
	}
	if d.memory == 0 {
		t.Fatal("the bundle has no Deployment with a memory limit")
	}
	return d
}

// build compiles the program with the flags of the tests, so that its
// dependencies are not compiled again.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "privatelink-webhook")
	if out, err := exec.Command("go", "build", "-o", path, "../../../cmd/privatelink-webhook").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// process is a webhook that runs.
type process struct {
	listen, metrics string
	tls             *tls.Config
	pid             int
	log             output
}

// output is the log, of which only the size and the beginning are kept.
type output struct {
	mu    sync.Mutex
	n     int
	first bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.n += len(b)
	if room := 4<<10 - o.first.Len(); room > 0 {
		o.first.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}

func (o *output) size() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.n
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.first.String()
}

// start runs the program with the environment of the Deployment until the test
// ends.
func start(t *testing.T, binary string, d deployment) *process {
	t.Helper()
	dir := t.TempDir()
	p := &process{}
	p.listen, p.metrics = freeAddresses(t)
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key, roots := certificate(t)
	p.tls = &tls.Config{RootCAs: roots, ServerName: "localhost"}
	cmd := exec.Command(binary,
		"--config", write("privatelink.yaml", []byte("registry: "+registry+"\n")), "--listen", p.listen, "--metrics-listen", p.metrics,
		"--tls-cert-file", write("tls.crt", cert), "--tls-private-key-file", write("tls.key", key))
	cmd.Env = append(os.Environ(), d.env...)
	cmd.Stderr = &p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.pid = cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // a graceful stop takes ten seconds
		<-ended
		if t.Failed() {
			t.Logf("the log begins:\n%s", &p.log)
		}
	})
	for {
		response, err := http.Get("http://" + p.metrics + "/readyz")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return p
			}
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the webhook ended: %v\n%s", err, &p.log)
		case <-t.Context().Done():
			t.Fatalf("the webhook is not ready: %v\n%s", err, &p.log)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// review sends a review as an API server does that opens a connection, and returns
// the time to its answer.
func (p *process) review() (time.Duration, error) {
	client := http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: p.tls, DisableKeepAlives: true}}
	began := time.Now()
	response, err := client.Post("https://"+p.listen+"/mutate", "application/json", strings.NewReader(review(`"spec":{"containers":[{"name":"a","image":"busybox:1"}]}`)))
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	var answer admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &answer); err != nil {
		return 0, fmt.Errorf("%s: %.300s", response.Status, body)
	}
	if r := answer.Response; r == nil || !r.Allowed || !strings.Contains(string(r.Patch), registry+"/docker.io/library/busybox:1") {
		return 0, fmt.Errorf("the answer is %.300s", body)
	}
	return took, nil
}

// probe sends a request like a kubelet, on a new connection.
func (p *process) probe() error {
	client := http.Client{Timeout: probePatience, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + p.metrics + "/healthz")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the probe has status %s", response.Status)
	}
	return nil
}

// peak is the most memory that the process had resident so far, in bytes.
func (p *process) peak(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal(errors.New("no VmHWM in /proc"))
	return 0
}

// freeAddresses returns two addresses, both of which are kept until the other is there:
// the kernel may return the port of a closed listener again.
func freeAddresses(t *testing.T) (listen, metrics string) {
	t.Helper()
	var addresses [2]string
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses[i] = l.Addr().String()
	}
	return addresses[0], addresses[1]
}

func certificate(t *testing.T) (certPEM, keyPEM []byte, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return certPEM, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), roots
}
