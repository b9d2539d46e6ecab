// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
)

// testRules are the default rules for the corpus, with one keep.
func testRules(t testing.TB) *rewrite.Rules {
	t.Helper()
	r, err := rewrite.New(rewrite.Config{Registry: corpus.Registry, Keep: []string{corpus.Kept}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func testPatcher(t testing.TB) *Patcher { return NewPatcher(testRules(t)) }

func fixed(p *Patcher) func() *Patcher { return func() *Patcher { return p } }

// request is an admission request as the API server sends it. Object and
// OldObject are added by review, byte for byte.
type request struct {
	UID         string            `json:"uid"`
	Kind        map[string]string `json:"kind"`
	Resource    map[string]string `json:"resource"`
	SubResource string            `json:"subResource,omitempty"`
	Namespace   string            `json:"namespace"`
	Operation   string            `json:"operation"`
	UserInfo    map[string]any    `json:"userInfo"`
	DryRun      bool              `json:"dryRun"`
	Options     map[string]string `json:"options"`
	Object      []byte            `json:"-"`
	OldObject   []byte            `json:"-"`
}

func podRequest(uid, operation, subresource string) request {
	return request{
		UID: uid, Operation: operation, SubResource: subresource, Namespace: "castai-agent",
		Kind:     map[string]string{"group": "", "version": "v1", "kind": "Pod"},
		Resource: map[string]string{"group": "", "version": "v1", "resource": "pods"},
		UserInfo: map[string]any{"username": "system:serviceaccount:kube-system:replicaset-controller", "groups": []string{"system:authenticated"}},
		Options:  map[string]string{"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
	}
}

func createRequest(uid string, pod []byte) request {
	r := podRequest(uid, "CREATE", "")
	r.Object = pod
	return r
}

// review encodes a request as an AdmissionReview.
func review(r request) []byte {
	orNull := func(b []byte) []byte {
		if b == nil {
			return []byte("null")
		}
		return b
	}
	head, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and maps of strings only
	}
	return slices.Concat([]byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":`), head[:len(head)-1],
		[]byte(`,"object":`), orNull(r.Object), []byte(`,"oldObject":`), orNull(r.OldObject), []byte("}}\n"))
}

func createReview(uid string, pod []byte) []byte { return review(createRequest(uid, pod)) }

// scrape reads the metrics as Prometheus does: series, with its labels, → value.
func scrape(t testing.TB, m *Metrics) map[string]float64 {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	out := map[string]float64{}
	for s := bufio.NewScanner(w.Body); s.Scan(); {
		series, value, ok := cutLast(s.Text(), " ")
		if strings.HasPrefix(series, "#") || !ok {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("metrics: %q: %v", s.Text(), err)
		}
		out[series] = v
	}
	return out
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// expectMetrics compares the named series with their expected values.
func expectMetrics(t testing.TB, m *Metrics, want map[string]float64) {
	t.Helper()
	got := scrape(t, m)
	for _, series := range slices.Sorted(maps.Keys(want)) {
		if got[series] != want[series] {
			t.Errorf("%s = %v, want %v", series, got[series], want[series])
		}
	}
}

// selfSigned returns a fresh certificate for example.com.
func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"example.com"}, NotAfter: time.Now().AddDate(100, 0, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// journal is a log that can be read while it is written.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}
