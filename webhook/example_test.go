// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/webhook"
)

// examplePatcher maps images to the registry registry.example.com/castai.
func examplePatcher() *webhook.Patcher {
	return webhook.NewPatcher(must(rewrite.New(rewrite.Config{Registry: "registry.example.com/castai"})))
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// printLines prints the lines of metrics that have a prefix.
func printLines(h http.Handler, prefix string) {
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(answer.Body.String()) {
		if strings.HasPrefix(line, prefix) {
			fmt.Print(line)
		}
	}
}

func ExamplePatcher_Create() {
	pod := `{"metadata": {"name": "p"}, "spec": {"containers": [{"name": "agent", "image": "ghcr.io/castai/images/agent:v1"}, {"name": "bad", "image": "Not an image"}]}}`
	patch, report := examplePatcher().Create([]byte(pod))
	fmt.Println(string(patch))
	fmt.Println(report.Changed(), "of", len(report.Images))
	fmt.Println(report.Warning())
	// Output:
	// [{"op":"replace","path":"/spec/containers/0/image","value":"registry.example.com/castai/agent:v1"},{"op":"add","path":"/metadata/annotations","value":{"privatelink.cast.ai/original-images":"{\"containers/agent\":\"ghcr.io/castai/images/agent:v1\"}"}}]
	// 1 of 2
	// privatelink: 1 not rewritten: "Not an image": not an image reference
}

// Only what an update sets is rewritten: here the second image, and not the first, which
// the pod runs with already.
func ExamplePatcher_Update() {
	old := `{"spec": {"containers": [{"name": "a", "image": "ghcr.io/castai/images/a:v1"}, {"name": "b", "image": "ghcr.io/castai/images/b:v1"}]}}`
	pod := strings.Replace(old, "b:v1", "b:v2", 1)
	patch, _ := examplePatcher().Update([]byte(pod), []byte(old))
	fmt.Println(string(patch))
	// Output:
	// [{"op":"replace","path":"/spec/containers/1/image","value":"registry.example.com/castai/b:v2"}]
}

// kubectl debug adds an ephemeral container. The other containers stay as they are.
func ExamplePatcher_UpdateEphemeral() {
	old := `{"spec": {"containers": [{"name": "a", "image": "ghcr.io/castai/images/a:v1"}]}}`
	pod := `{"spec": {"containers": [{"name": "a", "image": "ghcr.io/castai/images/a:v1"}], "ephemeralContainers": [{"name": "debugger", "image": "busybox"}]}}`
	patch, _ := examplePatcher().UpdateEphemeral([]byte(pod), []byte(old))
	fmt.Println(string(patch))
	// Output:
	// [{"op":"replace","path":"/spec/ephemeralContainers/0/image","value":"registry.example.com/castai/docker.io/library/busybox"}]
}

// A report is empty if nothing was examined, and says why.
func ExampleReport() {
	_, report := examplePatcher().Create([]byte(`{"metadata": {"name": "p", "annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": {}}`))
	fmt.Println(report.Pod, report.Changed(), report.Skipped)
	_, report = examplePatcher().Create([]byte(`{"metadata": {"name": "p"}, "spec": []}`))
	fmt.Println(report.Skipped, report.Err != nil)
	// Output:
	// p 0 a static pod: change its manifest on the node
	// invalid pod true
}

func ExampleNewHandler() {
	handler := must(webhook.NewHandler(webhook.HandlerConfig{Patcher: examplePatcher, Metrics: webhook.NewMetrics("v1")}))
	review := `{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
	  "uid": "1", "operation": "CREATE", "namespace": "castai-agent",
	  "kind": {"version": "v1", "kind": "Pod"}, "resource": {"version": "v1", "resource": "pods"},
	  "object": {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "ghcr.io/castai/images/a:v1"}]}}}}`
	request := httptest.NewRequest(http.MethodPost, "/mutate", strings.NewReader(review))
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	var reviewed admissionv1.AdmissionReview
	must(0, json.Unmarshal(answer.Body.Bytes(), &reviewed))
	fmt.Println(reviewed.Response.UID, reviewed.Response.Allowed)
	fmt.Println(string(reviewed.Response.Patch))
	// Output:
	// 1 true
	// [{"op":"replace","path":"/spec/containers/0/image","value":"registry.example.com/castai/a:v1"},{"op":"add","path":"/metadata/annotations","value":{"privatelink.cast.ai/original-images":"{\"containers/a\":\"ghcr.io/castai/images/a:v1\"}"}}]
}

// The webhook serves with the certificate of a Source of package certs; here it is one
// of httptest.
func ExampleNewServer() {
	issued := httptest.NewTLSServer(nil)
	defer issued.Close()
	certificate := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &issued.TLS.Certificates[0], nil }
	metrics := webhook.NewMetrics("v1")
	server := must(webhook.NewServer(webhook.ServerConfig{
		Listen: "127.0.0.1:0", MetricsListen: "127.0.0.1:0",
		Handler:        must(webhook.NewHandler(webhook.HandlerConfig{Patcher: examplePatcher, Metrics: metrics})),
		GetCertificate: certificate, Ready: func() error { return nil }, Metrics: metrics,
		Drain: time.Millisecond,
	}))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- server.Run(ctx) }()
	answer := must(http.Get("http://" + server.MetricsAddr() + "/readyz"))
	defer answer.Body.Close()
	fmt.Print(answer.StatusCode, " ", string(must(io.ReadAll(answer.Body))))
	stop()
	fmt.Println(<-ended)
	// Output:
	// 200 ok
	// <nil>
}

// A faulty file is an error at the start. Later it does not take effect.
func ExampleNewConfigFile() {
	folder := must(os.MkdirTemp("", "example"))
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "privatelink.yaml")
	text := "apiVersion: privatelink.cast.ai/v1alpha1\nkind: Config\nregistry: registry.example.com/castai\n"
	must(0, os.WriteFile(file, []byte(text), 0o600))
	config := must(webhook.NewConfigFile(webhook.ConfigFileConfig{Path: file, Metrics: webhook.NewMetrics("v1")}))
	_, report := config.Patcher().Create([]byte(`{"spec": {"containers": [{"name": "a", "image": "busybox"}]}}`))
	fmt.Println(report.Images[0].Target)

	must(0, os.WriteFile(file, []byte("registry: ''\n"), 0o600))
	_, err := webhook.NewConfigFile(webhook.ConfigFileConfig{Path: file, Metrics: webhook.NewMetrics("v1")})
	fmt.Println(strings.ReplaceAll(err.Error(), folder+"/", ""))
	// Output:
	// registry.example.com/castai/docker.io/library/busybox
	// privatelink.yaml:1: registry: is missing: write it like 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai
}

func ExampleMetrics_Handler() {
	printLines(webhook.NewMetrics("v1.2.3").Handler(), "privatelink_build_info")
	// Output:
	// privatelink_build_info{version="v1.2.3"} 1
}

func ExampleMetrics_WatchCertificate() {
	metrics := webhook.NewMetrics("v1")
	metrics.WatchCertificate(func() (leaf, ca time.Time) { return time.Unix(1800000000, 0), time.Time{} })
	printLines(metrics.Handler(), "privatelink_certificate_not_after_seconds")
	// Output:
	// privatelink_certificate_not_after_seconds{certificate="ca"} 0
	// privatelink_certificate_not_after_seconds{certificate="leaf"} 1.8e+09
}
