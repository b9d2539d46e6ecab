// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"strings"
	"testing"

	"github.com/distribution/reference"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
)

var testDigest = "sha256:" + strings.Repeat("ab", 32)

func TestSplitReference(t *testing.T) {
	for ref, want := range map[string]struct {
		rewrite.Reference
		host, identifier string
	}{
		"quay.io/a/b:v1":                    {rewrite.Reference{Repository: "quay.io/a/b", Tag: "v1"}, "quay.io", "v1"},
		"quay.io/a/b":                       {rewrite.Reference{Repository: "quay.io/a/b"}, "quay.io", "latest"},
		"localhost:5000/b":                  {rewrite.Reference{Repository: "localhost:5000/b"}, "localhost:5000", "latest"},
		"localhost:5000/b:v1":               {rewrite.Reference{Repository: "localhost:5000/b", Tag: "v1"}, "localhost:5000", "v1"},
		"quay.io/a/b@" + testDigest:         {rewrite.Reference{Repository: "quay.io/a/b", Digest: testDigest}, "quay.io", testDigest},
		"localhost:5000/b:v1@" + testDigest: {rewrite.Reference{Repository: "localhost:5000/b", Tag: "v1", Digest: testDigest}, "localhost:5000", testDigest},
		"[::1]:5000/b:v1":                   {rewrite.Reference{Repository: "[::1]:5000/b", Tag: "v1"}, "[::1]:5000", "v1"},
		"nginx:1":                           {rewrite.Reference{Repository: "nginx", Tag: "1"}, "nginx", "1"},
		"":                                  {rewrite.Reference{}, "", "latest"},
	} {
		got := rewrite.SplitReference(ref)
		if got != want.Reference || got.Host() != want.host || got.Identifier() != want.identifier {
			t.Errorf("SplitReference(%q) = %+v, host %q, identifier %q; want %+v", ref, got, got.Host(), got.Identifier(), want)
		}
		if got.String() != ref {
			t.Errorf("%q is joined as %q", ref, got.String())
		}
	}
}

func TestParseReference(t *testing.T) {
	for ref, want := range map[string]string{
		"nginx":                               "docker.io/library/nginx",
		"acme/widget:v1":                      "docker.io/acme/widget:v1",
		"index.docker.io/acme/w":              "docker.io/acme/w",
		"quay.io/a/b:v1@" + testDigest:        "quay.io/a/b:v1@" + testDigest,
		"localhost/a":                         "localhost/a",
		"":                                    "",
		"Not A Reference":                     "",
		"quay.io/a@sha256:short":              "",
		"my_host.example.com/x":               "", // "_" is not legal in a host
		strings.Repeat("ab", 32):              "", // the text of an image ID
		"quay.io/" + strings.Repeat("a", 256): "",
	} {
		got, err := rewrite.ParseReference(ref)
		if (err == nil) != (want != "") || got.String() != want {
			t.Errorf("ParseReference(%q) = %q, %v; want %q", ref, got, err, want)
		}
	}
}

// FuzzParseReference compares the parts with those of the parser.
func FuzzParseReference(f *testing.F) {
	for _, row := range corpus.References() {
		if len(row.Source) < 1000 {
			f.Add(row.Source)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := rewrite.ParseReference(text)
		if err != nil {
			if got != (rewrite.Reference{}) {
				t.Fatalf("%q: %+v with error %v", text, got, err)
			}
			return
		}
		named, err := reference.ParseNormalizedNamed(text)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != named.String() || got.Repository != named.Name() || got.Host() != reference.Domain(named) {
			t.Fatalf("%q is %+v, the parser has %q", text, got, named)
		}
		if reparsed, err := rewrite.ParseReference(got.String()); err != nil || reparsed != got {
			t.Fatalf("%q is %+v, then %+v, %v", text, got, reparsed, err)
		}
	})
}

// FuzzParseECRHost: a host that is split is one that IsECRHost accepts.
func FuzzParseECRHost(f *testing.F) {
	for _, seed := range []string{ecr, ecr + "/castai", "123456789012.dkr-ecr-fips.us-east-1.on.aws", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "123456789012.dkr.ecr.evil.example", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if h, err := rewrite.ParseECRHost(text); err == nil && !rewrite.IsECRHost(h.Name) {
			t.Fatalf("%q is split as %+v, which is no ECR host", text, h)
		}
	})
}
