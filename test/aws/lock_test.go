// SPDX-License-Identifier: Apache-2.0

//go:build aws

package aws

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/mirror/lockstore"
	"github.com/castai/privatelink-webhook/test/aws/emulator"
)

func lockOf(names ...string) *lock.Lock {
	l := &lock.Lock{Registry: host}
	for _, n := range names {
		l.Images = append(l.Images, lock.Entry{Source: "quay.io/acme/" + n + ":1", Target: host + "/" + n + ":1", Digest: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", MediaType: "m"})
	}
	return l
}

// s3Client makes the emulator the AWS of a test, and returns a client of it.
func s3Client(t *testing.T, url string) *s3.Client {
	t.Helper()
	missing := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_REGION": "us-east-1",
		"AWS_CONFIG_FILE": missing, "AWS_SHARED_CREDENTIALS_FILE": missing, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	loaded, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s3.NewFromConfig(loaded, func(o *s3.Options) { o.UsePathStyle = true })
}

func TestLockInS3(t *testing.T) {
	api := s3Client(t, emulator.StartForTest(t))
	open := func() lockstore.Store {
		s, err := lockstore.Open("s3://locks/castai/privatelink.lock.yaml", lockstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if err := open().CheckWritable(t.Context()); err == nil {
		t.Error("a bucket that does not exist")
	}
	if _, err := api.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("locks")}); err != nil {
		t.Fatal(err)
	}
	first, second := open(), open()
	for _, s := range []lockstore.Store{first, second} {
		if err := s.CheckWritable(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	// Neither has read what the other has written, and the emulator refuses to overwrite it.
	for _, w := range []struct {
		store lockstore.Store
		lock  *lock.Lock
	}{{first, lockOf("a")}, {second, lockOf("b")}, {first, lockOf("c")}} {
		if err := w.store.Write(t.Context(), w.lock); err != nil {
			t.Fatal(err)
		}
	}
	got, err := open().Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range got.Images {
		names = append(names, e.Source)
	}
	if want := []string{"quay.io/acme/a:1", "quay.io/acme/b:1", "quay.io/acme/c:1"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	if _, err := api.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("locks"), Key: aws.String("castai/privatelink.lock.yaml"), IfNoneMatch: aws.String("*")}); err == nil {
		t.Error("the emulator overwrites an object with If-None-Match")
	}
}
