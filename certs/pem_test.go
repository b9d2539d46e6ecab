// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"
)

// testCA is a CA certificate with its key, in PEM.
func testCA(t testing.TB, name string, lifetime time.Duration) (cert, key []byte) {
	t.Helper()
	cert, key, err := newCA(time.Now(), name, dnsName, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func TestUnion(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a, aKey := testCA(t, "a", 3*time.Hour)
	b, _ := testCA(t, "b", 2*time.Hour)
	old, _ := testCA(t, "old", -time.Minute)
	block, _ := pem.Decode(b)
	withHeader := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: map[string]string{"k": "v"}, Bytes: block.Bytes})
	broken := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes[:50]})
	for name, tc := range map[string]struct {
		in   [][]byte
		want []byte
	}{
		"nothing makes nothing":                        {nil, nil},
		"two CAs are both kept":                        {[][]byte{a, b}, join(a, b)},
		"the order of the input has no effect":         {[][]byte{b, a}, join(a, b)},
		"a repeated CA is kept once":                   {[][]byte{join(a, b, a), b}, join(a, b)},
		"an expired CA is dropped":                     {[][]byte{join(old, a)}, a},
		"text between the blocks is dropped":           {[][]byte{join([]byte("# ours\n"), a, []byte("junk\n"))}, a},
		"a block that is cut off is dropped":           {[][]byte{join(a, b[:len(b)/2])}, a},
		"a block cut off before ours does not matter":  {[][]byte{b[:len(b)/2], a}, a},
		"a certificate that does not parse is dropped": {[][]byte{join(broken, a)}, a},
		"a private key never gets into a bundle":       {[][]byte{join(aKey, a)}, a},
		"a block with headers is not made trusted":     {[][]byte{join(withHeader, a)}, a},
		"a missing final newline does no harm":         {[][]byte{bytes.TrimSpace(a), b}, join(a, b)},
		"carriage returns do no harm":                  {[][]byte{bytes.ReplaceAll(a, []byte("\n"), []byte("\r\n"))}, a},
	} {
		t.Run(name, func(t *testing.T) {
			if got := union(now, nil, tc.in...); !bytes.Equal(got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestUnionIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ca, _ := testCA(t, "ours", time.Hour)
	ca2, _ := testCA(t, "before ours", time.Hour)
	var bundle, newest []byte
	for i := range 3 * maxCAs {
		other, _, err := newCA(now.Add(time.Duration(i)*time.Minute), "other", dnsName, year)
		if err != nil {
			t.Fatal(err)
		}
		newest = other
		bundle = union(now, ca, bundle, other)
	}
	if n := len(parse(bundle)); n != maxCAs {
		t.Errorf("%d certificates, want %d", n, maxCAs)
	}
	if !holds(bundle, ca) || !holds(bundle, newest) {
		t.Error("the CA or the newest other certificate was dropped")
	}
	bundle = union(now, ca2, bundle)
	if !holds(bundle, ca2) || len(parse(bundle)) != maxCAs {
		t.Error("a new CA does not displace another certificate")
	}
	if repeated := union(now, ca2, bundle); !bytes.Equal(repeated, bundle) {
		t.Error("a second union changes the bundle")
	}
}

func TestFirstCertificate(t *testing.T) {
	t.Parallel()
	a, aKey := testCA(t, "a", time.Hour)
	b, _ := testCA(t, "b", time.Hour)
	for name, tc := range map[string]struct{ in, want []byte }{
		"none":       {nil, nil},
		"no PEM":     {[]byte("x"), nil},
		"a key":      {aKey, nil},
		"one":        {a, a},
		"two":        {join(b, a), b},
		"after text": {join([]byte("# ours\n"), a), a},
	} {
		if got := firstCertificate(tc.in); !bytes.Equal(got, tc.want) {
			t.Errorf("%s: have %q", name, got)
		}
	}
}

// With GODEBUG=x509keypairleaf=0 a pair is loaded without its parsed leaf.
func TestLeafOfAPair(t *testing.T) {
	t.Parallel()
	cert, key := testCA(t, "a", time.Hour)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*tls.Certificate{"parsed": {Leaf: pair.Leaf}, "not parsed": {Certificate: pair.Certificate}} {
		if leaf, err := leafOf(c); err != nil || !leaf.Equal(pair.Leaf) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := leafOf(&tls.Certificate{}); err == nil || err.Error() != "the pair holds no certificate" {
		t.Errorf("an empty pair: %v", err)
	}
}

func TestHolds(t *testing.T) {
	t.Parallel()
	a, _ := testCA(t, "a", time.Hour)
	b, _ := testCA(t, "b", time.Hour)
	for name, tc := range map[string]struct {
		bundle, ca []byte
		want       bool
	}{
		"a bundle holds its CA":                    {join(b, a), a, true},
		"a bundle does not hold another CA":        {b, a, false},
		"an empty bundle holds nothing":            {nil, a, false},
		"no bundle holds a CA that does not exist": {a, nil, false},
		"spelling has no effect":                   {join([]byte("x\n"), bytes.TrimSpace(a)), a, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := holds(tc.bundle, tc.ca); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// FuzzUnion: whatever is in a caBundle, our CA ends up in it, and replicas agree.
func FuzzUnion(f *testing.F) {
	now := time.Now()
	ca, key := testCA(f, "ours", time.Hour)
	other, _ := testCA(f, "other", 2*time.Hour)
	old, _ := testCA(f, "old", -time.Hour)
	f.Add(other, old)
	f.Add(join(other, key, other), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----"), other[:100])
	f.Add([]byte(strings.ReplaceAll(string(other), "\n", "\r\n")), []byte{0, 0xff})
	f.Fuzz(func(t *testing.T, x, y []byte) {
		got := union(now, ca, x, y)
		if !holds(got, ca) {
			t.Fatalf("our CA is not in %q", got)
		}
		if repeated := union(now, nil, got); !bytes.Equal(repeated, got) {
			t.Fatalf("a second union changes %q to %q", got, repeated)
		}
		if other := union(now, ca, y, x); !bytes.Equal(other, got) {
			t.Fatalf("the order matters: %q, %q", got, other)
		}
		have := parse(got)
		for _, c := range have {
			if now.After(c.NotAfter) {
				t.Fatalf("%s has expired", c.Subject)
			}
		}
		for _, c := range append(parse(x), parse(y)...) {
			if !now.After(c.NotAfter) && !slices.ContainsFunc(have, c.Equal) && len(have) < maxCAs {
				t.Fatalf("%s was lost", c.Subject)
			}
		}
		if len(have) > maxCAs {
			t.Fatalf("%d certificates, want at most %d", len(have), maxCAs)
		}
		if before := slices.Concat(parse(x), parse(y), parse(ca)); len(have) > len(before) {
			t.Fatalf("%d certificates became %d", len(before), len(have))
		}
		// The API server reads the result the same way.
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(got)
		want := x509.NewCertPool()
		for _, c := range have {
			want.AddCert(c)
		}
		if !pool.Equal(want) {
			t.Fatal("x509.CertPool reads another set")
		}
	})
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
