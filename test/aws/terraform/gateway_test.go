// SPDX-License-Identifier: Apache-2.0

//go:build aws

package terraform

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
)

// gateway serves ECR itself, and all other services by moto. moto does not serve the
// registry protocol, and does not check permissions by resource.
type gateway struct {
	URL       string
	ecr       *fakeecr.Server
	denied    map[string]bool // IAM actions of other services
	published []url.Values    // requests to SNS

	moto *httputil.ReverseProxy
}

func (g *gateway) start(t *testing.T, moto string) {
	t.Helper()
	target, err := url.Parse(moto)
	if err != nil {
		t.Fatal(err)
	}
	g.moto = httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	g.URL = server.URL
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	isECR := strings.HasPrefix(r.Header.Get("X-Amz-Target"), "AmazonEC2ContainerRegistry") || strings.HasSuffix(r.Host, ".amazonaws.com")
	if isECR {
		g.ecr.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	action := g.action(r, string(body))
	if g.denied[action] {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not authorized to perform: %s</Message></Error></ErrorResponse>", action)
		return
	}
	g.moto.ServeHTTP(w, r)
}

// action returns the IAM action of a request to S3 or SNS, and "" for others. Requests to SNS
// are recorded.
func (g *gateway) action(r *http.Request, body string) string {
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	ofCharts := "" // after an action on the bucket of charts
	if bucket, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/"); bucket == chartBucket {
		ofCharts = " " + chartBucket
	}
	switch {
	case strings.Contains(scope, "/sns/"):
		form, err := url.ParseQuery(body)
		if err != nil {
			return ""
		}
		if !g.denied["sns:Publish"] {
			g.published = append(g.published, form)
		}
		return "sns:" + form.Get("Action")
	case !strings.Contains(scope, "/s3/"):
		return ""
	case r.Method == http.MethodHead:
		return "s3:ListBucket" + ofCharts
	case r.Method == http.MethodPut:
		return "s3:PutObject" + ofCharts
	}
	return "s3:GetObject" + ofCharts
}
