// SPDX-License-Identifier: Apache-2.0

package awssdk

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

// TestABodyIsReadToItsEndAfterTheResponse reads the last of a body when the client has the response, as
// net/http does if the response is faster than its own goroutine.
func TestABodyIsReadToItsEndAfterTheResponse(t *testing.T) {
	var sent string
	var body io.Reader
	c, err := Load(t.Context(), config.WithRegion("eu-central-1"), config.WithSharedConfigFiles(nil), config.WithSharedCredentialsFiles(nil),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIDTEST", "secret-key-of-test", "")))
	if err != nil {
		t.Fatal(err)
	}
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
