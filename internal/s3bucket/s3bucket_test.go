// SPDX-License-Identifier: Apache-2.0

package s3bucket

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Without a region, no request is sent.
func TestNoRegion(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": "", "AWS_CONFIG_FILE": missing, "AWS_SHARED_CREDENTIALS_FILE": missing} {
		t.Setenv(name, value)
	}
	b := New("charts", "")
	_, _, readErr := b.Read(t.Context(), "index.yaml", 1)
	_, writeErr := b.Replace(t.Context(), "index.yaml", "", "text/plain", nil)
	for _, err := range []error{b.Check(t.Context(), "index.yaml"), readErr, writeErr} {
		if err == nil || !strings.HasPrefix(err.Error(), "s3://charts/index.yaml: ") || !strings.Contains(err.Error(), "set AWS_REGION") {
			t.Error(err)
		}
	}
}

// TestContentThatBreaksOff closes connections within the content of an object.
func TestContentThatBreaksOff(t *testing.T) {
	const content = "entries: {}\n"
	for broken, want := range map[int]string{0: content, 2: content, 3: ""} {
		requests := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests++
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			w.Header().Set("ETag", `"1"`)
			if requests <= broken {
				io.WriteString(w, content[:5]) // net/http closes the connection
				return
			}
			io.WriteString(w, content)
		}))
		defer server.Close()
		b := NewWithClient("charts", s3.New(s3.Options{
			Region: "eu-central-1", BaseEndpoint: &server.URL, UsePathStyle: true, DisableLogOutputChecksumValidationSkipped: true,
			Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider("AKIDTEST", "secret-key-of-test", "")),
		}))
		data, etag, err := b.Read(t.Context(), "index.yaml", 100)
		if string(data) != want || (want != "") != (etag == `"1"`) || (err == nil) != (want != "") || want == "" && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d broken responses: %q, ETag %s, error %v; want %q", broken, data, etag, err, want)
		}
		if n := min(broken, maxReads-1) + 1; requests != n {
			t.Errorf("%d broken responses: %d requests, want %d", broken, requests, n)
		}
	}
}
