// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// discarded is a response that is not kept, so that the benchmark measures the
// handler and not its recorder.
type discarded struct {
	header http.Header
	status int
	size   int
}

func (d *discarded) Header() http.Header  { return d.header }
func (d *discarded) WriteHeader(code int) { d.status = code }
func (d *discarded) Write(b []byte) (int, error) {
	d.size += len(b)
	return len(b), nil
}

// BenchmarkReview is one review from the first byte of its body to the last of
// the answer, without TLS and HTTP parsing; test/bench measures those.
func BenchmarkReview(b *testing.B) {
	for _, n := range []int{2, 30, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			benchmark(b, createReview("1", podOf(n, "us-docker.pkg.dev/castai-hub/library/agent:v0.161.1")))
		})
	}
	b.Run("2 with an image not seen before", func(b *testing.B) {
		reviews := make([][]byte, 2*maxCached)
		for i := range reviews {
			reviews[i] = createReview("1", podOf(2, fmt.Sprintf("us-docker.pkg.dev/castai-hub/library/agent:v0.%d.1", i)))
		}
		benchmark(b, reviews...)
	})
}

// benchmark sends the reviews in turn.
func benchmark(b *testing.B, reviews ...[]byte) {
	h, err := NewHandler(HandlerConfig{Patcher: fixed(testPatcher(b)), Metrics: NewMetrics("test")})
	if err != nil {
		b.Fatal(err)
	}
	body := bytes.NewReader(nil)
	r, err := http.NewRequest(http.MethodPost, "/mutate", io.NopCloser(body))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	w := &discarded{header: http.Header{}}
	b.SetBytes(int64(len(reviews[0])))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		review := reviews[i%len(reviews)]
		body.Reset(review)
		r.ContentLength = int64(len(review))
		h.ServeHTTP(w, r)
	}
	if w.status != 0 || w.size == 0 {
		b.Fatalf("HTTP %d with %d bytes", w.status, w.size)
	}
}

// podOf returns a pod with n containers of the image, each with the
// other fields that charts set.
func podOf(n int, image string) []byte {
	var b strings.Builder
	b.WriteString(`{"kind":"Pod","apiVersion":"v1","metadata":{"generateName":"castai-agent-7d9c6b5f4d-","namespace":"castai-agent",` +
		`"labels":{"app.kubernetes.io/name":"castai-agent","pod-template-hash":"7d9c6b5f4d"},"annotations":{"checksum/config":"5f2d9f6a6d1b0c8e"},` +
		`"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"castai-agent-7d9c6b5f4d","uid":"c1d0b2a4-3e5f-4a69-8b7c-9d0e1f2a3b4c","controller":true}]},` +
		`"spec":{"volumes":[{"name":"token","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}}],"defaultMode":420}}],"containers":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"c%d","image":%q,"env":[{"name":"API_URL","value":"api.cast.ai"},{"name":"API_KEY","valueFrom":{"secretKeyRef":{"name":"castai-agent","key":"API_KEY"}}},`+
			`{"name":"PROVIDER","value":"eks"}],"resources":{"limits":{"cpu":"2","memory":"2Gi"},"requests":{"cpu":"100m","memory":"512Mi"}},`+
			`"volumeMounts":[{"name":"token","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],`+
			`"livenessProbe":{"httpGet":{"path":"/healthz","port":9876,"scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10},`+
			`"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}`, i, image)
	}
	b.WriteString(`],"restartPolicy":"Always","serviceAccountName":"castai-agent","schedulerName":"default-scheduler"},"status":{"phase":"Pending"}}`)
	return []byte(b.String())
}
