// SPDX-License-Identifier: Apache-2.0

package lockstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/castai/privatelink-webhook/internal/s3bucket"
)

// bucket is S3 with one object. Each request to write is answered by the next of the
// answers, and then accepted if it names the version that is there.
type bucket struct {
	text    string
	version int
	answers []func(b *bucket, w http.ResponseWriter)
}

func (b *bucket) etag() string { return fmt.Sprintf("%q", fmt.Sprint(b.version)) }

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch {
	case r.Method == http.MethodGet && b.text == "":
		refuse(http.StatusNotFound, "NoSuchKey")(b, w)
	case r.Method == http.MethodGet:
		w.Header().Set("ETag", b.etag())
		fmt.Fprint(w, b.text)
	case len(b.answers) > 0:
		answer := b.answers[0]
		b.answers = b.answers[1:]
		answer(b, w)
	case r.Header.Get("If-None-Match") == "*" && b.text != "", r.Header.Get("If-Match") != "" && r.Header.Get("If-Match") != b.etag():
		refuse(http.StatusPreconditionFailed, "PreconditionFailed")(b, w)
	default:
		b.put(string(body))
		w.Header().Set("ETag", b.etag())
	}
}

func (b *bucket) put(text string) { b.text, b.version = text, b.version+1 }

func refuse(status int, code string) func(*bucket, http.ResponseWriter) {
	return func(_ *bucket, w http.ResponseWriter) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
	}
}

func moved(b *bucket, w http.ResponseWriter) {
	w.Header().Set("X-Amz-Bucket-Region", "eu-west-1")
	refuse(http.StatusMovedPermanently, "PermanentRedirect")(b, w)
}

func deleted(b *bucket, w http.ResponseWriter) {
	b.text = ""
	refuse(http.StatusNotFound, "NoSuchKey")(b, w)
}

// otherRun is a run whose lock is written first.
func otherRun(t *testing.T, images ...string) func(*bucket, http.ResponseWriter) {
	t.Helper()
	text, err := lockOf(images...).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return func(b *bucket, w http.ResponseWriter) {
		b.put(string(text))
		refuse(http.StatusPreconditionFailed, "PreconditionFailed")(b, w)
	}
}

func objectIn(t *testing.T, b *bucket) *object {
	t.Helper()
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	return &object{key: "lock.yaml", bucket: s3bucket.NewWithClient("locks", s3.NewFromConfig(aws.Config{
		Region: "us-east-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""), RetryMaxAttempts: 1,
	}, func(o *s3.Options) { o.UsePathStyle = true }))}
}

// The beginning of a large object must not be taken for the whole.
func TestAnObjectThatIsTooLarge(t *testing.T) {
	text, err := lockOf("a").Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b := &bucket{text: string(text) + strings.Repeat("# more\n", maxObject/7)}
	if l, err := objectIn(t, b).Read(t.Context()); err == nil || !strings.Contains(err.Error(), "more than 16 MiB") {
		t.Errorf("%+v %v", l, err)
	}
}

// The time of the object tells when a run last wrote it, also one without news.
func TestEachRunWritesTheObject(t *testing.T) {
	b := &bucket{}
	for version := range 2 {
		o := objectIn(t, b)
		if _, err := o.Read(t.Context()); (version == 0) != errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := o.Write(t.Context(), lockOf("a")); err != nil || b.version != version+1 {
			t.Errorf("%d writes, %v", b.version, err)
		}
	}
}

func TestAnswersOfS3ToAWrite(t *testing.T) {
	conflict := refuse(http.StatusConflict, "ConditionalRequestConflict")
	for name, tc := range map[string]struct {
		answers []func(*bucket, http.ResponseWriter)
		want    string // images in the lock afterwards
		wantErr string
	}{
		"another write that comes to nothing":     {[]func(*bucket, http.ResponseWriter){conflict, conflict}, "a b", ""},
		"another run was faster":                  {[]func(*bucket, http.ResponseWriter){otherRun(t, "old", "c")}, "a b c old", ""},
		"a conflict, then another run was faster": {[]func(*bucket, http.ResponseWriter){conflict, otherRun(t, "c")}, "a b c", ""},
		"the role may not write":                  {[]func(*bucket, http.ResponseWriter){refuse(http.StatusForbidden, "AccessDenied")}, "old", "the role needs s3:ListBucket on locks, and s3:GetObject and s3:PutObject on locks/lock.yaml"},
		"the session has ended":                   {[]func(*bucket, http.ResponseWriter){refuse(http.StatusBadRequest, "ExpiredToken")}, "old", "the AWS session has ended"},
		"the bucket is in another region":         {[]func(*bucket, http.ResponseWriter){moved}, "old", "set AWS_REGION=eu-west-1"},
		"the lock was deleted":                    {[]func(*bucket, http.ResponseWriter){deleted}, "a b", ""},
		"the bucket is gone":                      {[]func(*bucket, http.ResponseWriter){refuse(http.StatusNotFound, "NoSuchBucket")}, "old", "NoSuchBucket"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bucket{}
			s := objectIn(t, b)
			_, _ = s.Read(t.Context())
			if err := s.Write(t.Context(), lockOf("old")); err != nil {
				t.Fatal(err)
			}
			b.answers = tc.answers
			err := s.Write(t.Context(), lockOf("a", "b"))
			if (err == nil) != (tc.wantErr == "") || err != nil && (!strings.Contains(err.Error(), tc.wantErr) || !strings.Contains(err.Error(), "s3://locks/lock.yaml")) {
				t.Errorf("%v, want %q", err, tc.wantErr)
			}
			if got := names(t, s); got != tc.want {
				t.Errorf("the lock has %q, want %q", got, tc.want)
			}
		})
	}
}
