// SPDX-License-Identifier: Apache-2.0

package live

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func pack(text []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(b.Bytes()))
}

const secret = "SECRET-VALUE"

func TestInvalidReleasesAreRejectedWithoutQuotingThem(t *testing.T) {
	whole := pack([]byte(`{"manifest":"` + strings.Repeat(secret, 100) + `"}`))
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"text":                   {[]byte(secret), "not base64"},
		"nothing":                {nil, "not JSON"},
		"base64 of text":         {[]byte(base64.StdEncoding.EncodeToString([]byte(secret))), "not JSON"},
		"a gzip header alone":    {[]byte(base64.StdEncoding.EncodeToString([]byte{0x1f, 0x8b, 8, 0})), "not gzip"},
		"half of it":             {whole[:len(whole)/8*4], "cut off"},
		"JSON of another shape":  {pack([]byte(`{"manifest":["` + secret + `"]}`)), "not JSON with manifest"},
		"JSON with more behind":  {pack([]byte(`{"manifest":""} ` + secret)), "not JSON"},
		"a thousandfold of zero": {pack(make([]byte, maxRelease+1)), "more than 32 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decode(tc.data)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), secret[:3]) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

func TestUncompressedReleasesAreRead(t *testing.T) {
	r, err := decode([]byte(base64.StdEncoding.EncodeToString([]byte(`{"manifest":"m","hooks":[{"manifest":"h"}]}`))))
	if err != nil || r.Manifest != "m" || r.hooks()[0] != "h" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestARevisionWithoutANumberComesLast(t *testing.T) {
	for label, want := range map[string]int{"10": 10, "": -1, "x": -1} {
		if got := revision(corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"version": label}}}); got != want {
			t.Errorf("%q: %d, want %d", label, got, want)
		}
	}
}

func TestOtherSecretsAreNoReleases(t *testing.T) {
	var r releases
	if err := r.keep(corev1.Secret{Type: corev1.SecretTypeOpaque}); err != nil || r.revisions != nil {
		t.Errorf("%v, %v", r.revisions, err)
	}
}

func TestAReleaseWithAnInvalidManifestIsNamed(t *testing.T) {
	m := meta("sh.helm.release.v1.agent.v1")
	m.Labels = map[string]string{"owner": "helm", "name": "agent", "status": "deployed", "version": "1"}
	text := pack([]byte(`{"manifest":"a: ["}`))
	_, err := Read(t.Context(), fake.NewClientset(&corev1.Secret{ObjectMeta: m, Type: releaseType, Data: map[string][]byte{"release": text}}), newList(t))
	if err == nil || !strings.Contains(err.Error(), "release castai-agent/agent revision 1") {
		t.Error(err)
	}
}

// FuzzDecode: whatever a Secret holds, decoding ends with a release or an error,
// and the error does not show the content.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"manifest":"m","hooks":[{"manifest":"h"}]}`), true)
	f.Add([]byte(`{"manifest":1}`), true)
	f.Add([]byte("\x1f\x8b\x08\x00"), false)
	f.Add([]byte(`{"hooks":[null,{}],"config":{"key":"value"}}`), false)
	f.Fuzz(func(t *testing.T, text []byte, packed bool) {
		data := []byte(base64.StdEncoding.EncodeToString(text))
		if packed {
			data = pack(text)
		}
		for _, d := range [][]byte{data, text, data[:len(data)/2]} {
			r, err := decode(d)
			if err != nil && (r.Manifest != "" || r.Hooks != nil || len(err.Error()) > 60) {
				t.Fatalf("%+v, %v", r, err)
			}
			if len(r.hooks()) != len(r.Hooks) {
				t.Fatal("a hook was lost")
			}
		}
	})
}
