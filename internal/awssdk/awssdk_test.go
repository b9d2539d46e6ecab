// SPDX-License-Identifier: Apache-2.0

package awssdk

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// load loads a configuration without the files of the machine.
func load(t *testing.T) aws.Config {
	t.Helper()
	c, err := Load(t.Context(), config.WithRegion("eu-central-1"), config.WithSharedConfigFiles(nil), config.WithSharedCredentialsFiles(nil),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIDTEST", "secret-key-of-test", "")))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

// TestABodyIsReadToItsEndAfterTheResponse reads the last of a body when the client has the response, as
// net/http does if the response is faster than its own goroutine.
func TestABodyIsReadToItsEndAfterTheResponse(t *testing.T) {
	var sent string
	var body io.Reader
	c := load(t)
	c.HTTPClient = doer(func(r *http.Request) (*http.Response, error) {
		body = r.Body
		text, err := io.ReadAll(io.LimitReader(r.Body, r.ContentLength))
		sent = string(text)
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, err
	})
	for name, request := range map[string]struct {
		send func() error
		want string
	}{
		"ECR": {func() error {
			_, err := ecr.NewFromConfig(c).DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"castai/agent"}})
			return err
		}, `{"repositoryNames":["castai/agent"]}`},
		"S3": {func() error {
			_, err := s3.NewFromConfig(c, func(o *s3.Options) { o.BaseEndpoint = aws.String("http://s3.example") }).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("charts"), Key: aws.String("index.yaml"), Body: strings.NewReader("entries: {}\n")})
			return err
		}, "entries: {}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := request.send(); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(sent, request.want) {
				t.Errorf("the body is %q, want %q", sent, request.want)
			}
			if rest, err := io.Copy(io.Discard, body); err != nil || rest != 0 {
				t.Errorf("the end of the body: %d bytes more, error %v; want neither", rest, err)
			}
		})
	}
}

// TestAnInterruptedResponseIsRetried ends the connection within the first response.
func TestAnInterruptedResponseIsRetried(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		send func(aws.Config) error
	}{
		"ECR": {`{"repositories": []}`, func(c aws.Config) error {
			_, err := ecr.NewFromConfig(c).DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
			return err
		}},
		"EC2": {`<DescribeVpcsResponse><vpcSet/></DescribeVpcsResponse>`, func(c aws.Config) error {
			_, err := ec2.NewFromConfig(c).DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})
			return err
		}},
		"S3": {`<ListBucketResult></ListBucketResult>`, func(c aws.Config) error {
			_, err := s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = true }).ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("charts")})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body := test.body
				w.Header().Set("Content-Length", strconv.Itoa(len(body)))
				if requests.Add(1) == 1 {
					body = body[:len(body)/2] // net/http closes the connection if this is less than the length
				}
				io.WriteString(w, body)
			}))
			defer server.Close()
			c := load(t)
			c.BaseEndpoint = &server.URL
			if err := test.send(c); err != nil {
				t.Error(err)
			}
			if n := requests.Load(); n != 2 {
				t.Errorf("%d requests, want 2", n)
			}
		})
	}
}
