// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/castai/privatelink-webhook/test/isolated/ecr"
)

// internet is what the workstation reaches and the node does not: the public
// registries and the repository of CAST AI's charts, behind a proxy. The node does not
// resolve their names and does not use the proxy.
type internet struct {
	proxy string // for HTTPS_PROXY
	ca    string // a file with the authorities of both sides
	plain string // the registries once more, for pushing, in one
	files string // the folder of chartRepository

	mu       sync.Mutex
	requests map[string]int // connections by host
}

// chartRepository is the path of the charts at chartHost.
const chartHost, chartRepository = "castai.github.io", "/helm-charts/"

// publicHosts lists the hosts of the references, and that of the charts.
func publicHosts(refs []string) (hosts []string) {
	hosts = append(hosts, chartHost)
	seen := map[string]bool{}
	for _, ref := range refs {
		host, _, _ := strings.Cut(ref, "/")
		if host == "docker.io" {
			host = "registry-1.docker.io"
		}
		if !seen[host] {
			seen[host] = true
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// openInternet starts registries and proxy. They end with the test.
func openInternet(t *testing.T, hosts []string) *internet {
	t.Helper()
	i := &internet{requests: map[string]int{}, files: t.TempDir()}
	images := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	plain := httptest.NewServer(images)
	t.Cleanup(plain.Close)
	i.plain = plain.Listener.Addr().String()

	certificate, ca, _, err := ecr.Certify(hosts)
	if err != nil {
		t.Fatal(err)
	}
	sites := http.NewServeMux()
	sites.Handle("/", images)
	sites.Handle(chartHost+chartRepository, http.StripPrefix(chartRepository, http.FileServer(http.Dir(i.files))))
	public := httptest.NewUnstartedServer(sites)
	public.TLS = tlsOf(certificate)
	public.StartTLS()
	t.Cleanup(public.Close)
	i.ca = filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(i.ca, append(append([]byte{}, ca...), n.ECR.CA...), 0o644); err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { i.connect(w, r, public.Listener.Addr().String()) }))
	t.Cleanup(proxy.Close)
	i.proxy = proxy.URL
	return i
}

// connect handles CONNECT, the only method of the proxy.
func (i *internet) connect(w http.ResponseWriter, r *http.Request, to string) {
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
		return
	}
	i.mu.Lock()
	i.requests[r.URL.Hostname()]++
	i.mu.Unlock()
	server, err := net.Dial("tcp", to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer server.Close()
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
	_, _ = io.Copy(client, server)
}

// connections counts the connections through the proxy.
func (i *internet) connections() (count int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, n := range i.requests {
		count += n
	}
	return count
}

// publish pushes a stand-in of an image to its public registry.
func (i *internet) publish(t *testing.T, ref string, b behavior) {
	t.Helper()
	_, path, _ := strings.Cut(ref, "/")
	path, _, _ = strings.Cut(path, "@")
	to, err := name.ParseReference(i.plain + "/" + path)
	if err != nil {
		t.Fatal(err)
	}
	index, err := n.standIn(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(to, index); err != nil {
		t.Fatal(err)
	}
}
