// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
)

// Kind is a way in which registries in use differ from the distribution
// specification, or fail. Some client copes with each of them.
type Kind struct {
	Name string
	// Report is a public report or a document about it, if one is known.
	Report string
	// Source and Target bend the registry that is read and the one that is written;
	// nil leaves it as it is. Each call returns a fault with a state of its own.
	Source, Target func(*Server) Fault
}

// Conforming is the kind that follows the specification.
const Conforming = "conforming"

// User and Password are the credentials that kinds with a login accept.
const User, Password = "user", "pass:word"

// Kinds lists the kinds.
func Kinds() []Kind {
	head, isPut := And(IsManifest, HasMethod(http.MethodHead)), And(IsManifest, HasMethod(http.MethodPut))
	signatureTag, referrers := hasPath("/manifests/sha256-"), hasPath("/referrers/")
	return []Kind{
		{Name: Conforming},
		{Name: "HEAD without digest", Source: always(When(head, alter(func(r *httptest.ResponseRecorder) { r.Header().Del("Docker-Content-Digest") })))},
		{Name: "HEAD without length", Report: "goharbor/harbor#13740", Source: always(When(head, alter(func(r *httptest.ResponseRecorder) { r.Header().Del("Content-Length") })))},
		{Name: "HEAD with length 0", Source: always(When(head, withHeader("Content-Length", "0")))},
		{Name: "HEAD with another length", Source: always(When(head, withHeader("Content-Length", "7")))},
		{Name: "HEAD with another content type", Source: always(When(head, withHeader("Content-Type", "text/html")))},
		{Name: "HEAD not supported", Report: "oras-project/oras-go#882", Source: always(When(head, Respond(http.StatusMethodNotAllowed, "")))},
		{Name: "HEAD answered 404", Source: always(When(head, Respond(http.StatusNotFound, "")))},
		{Name: "manifest without length", Source: always(When(IsManifest, chunked))},
		{Name: "manifest compressed in transit", Report: "oras-project/oras-go#1176", Source: always(When(And(IsManifest, HasMethod(http.MethodGet)), compress))},
		{Name: "blob compressed in transit", Report: "quay/quay#1310", Source: always(When(IsBlobGet, compress))},
		{Name: "Negotiate and Basic, two headers", Report: "google/go-containerregistry#1075", Source: always(login("Negotiate", `Basic realm="r"`))},
		{Name: "Negotiate and Basic, one header", Report: "RFC 9110, 11.6.1", Source: always(login(`Negotiate, Basic realm="r"`))},
		{Name: "Basic, then Negotiate", Target: always(login(`Basic realm="r"`, "Negotiate"))},
		{Name: "realm without scheme and host", Report: "containers/skopeo#1836", Source: func(*Server) Fault { return tokens("/token") }},
		{Name: "token endpoint busy", Source: func(s *Server) Fault {
			return first(1, hasPath("/token"), Respond(http.StatusServiceUnavailable, ""), tokens("http://"+s.Host+"/token"))
		}},
		{Name: "missing repository answered 401", Report: "containers/image#1265", Target: concealedRepository},
		{Name: "missing tag answered 403", Report: "google/go-containerregistry#1691", Target: always(When(And(IsManifest, not(HasMethod(http.MethodPut))), concealMissing(http.StatusForbidden)))},
		{Name: "cut connections, Range not advertised", Source: always(When(IsBlobGet, cutEach(100_000)))},
		{Name: "Range answered 200", Report: "rust-lang/rustup#4710", Source: func(*Server) Fault { return first(1, IsBlobGet, CutAfter(100_000), When(IsBlobGet, ignoreRange)) }},
		{Name: "Range answered with another range", Report: "RFC 9110, 14.4", Source: func(*Server) Fault { return first(1, IsBlobGet, CutAfter(100_000), When(IsBlobGet, otherRange)) }},
		{Name: "connection reset", Source: func(*Server) Fault { return first(2, IsBlobGet, reset(70_000), nil) }},
		{Name: "503 with Retry-After", Report: "docker/buildx#3630", Source: func(*Server) Fault {
			return first(2, hasPath("/manifests/v1"), busy(http.StatusServiceUnavailable, "1"), nil)
		}},
		{Name: "429 with Retry-After 0", Target: func(*Server) Fault { return first(3, isPut, busy(http.StatusTooManyRequests, "0"), nil) }},
		{Name: "429 with a Unix time", Report: "docker/hub-feedback#2459", Source: func(*Server) Fault {
			return first(1, IsManifest, busy(http.StatusTooManyRequests, "1746136938"), nil)
		}},
		{Name: "blobs at another host", Source: func(s *Server) Fault { return When(And(IsBlobGet, hasHost(s.Host)), redirect(s.otherHost())) }},
		{Name: "manifest PUT answered 200", Target: always(When(isPut, withStatus(http.StatusOK)))},
		{Name: "manifest PUT answered 202", Target: always(When(isPut, withStatus(http.StatusAccepted)))},
		{Name: "manifest PUT answered 204", Target: always(When(isPut, withStatus(http.StatusNoContent)))},
		{Name: "blob PUT answered 204", Target: always(When(isUploadPut, withStatus(http.StatusNoContent)))},
		{Name: "blob HEAD not supported", Target: always(When(And(IsBlob, HasMethod(http.MethodHead)), Respond(http.StatusMethodNotAllowed, "")))},
		{Name: "upload Location with a query", Target: always(requireQuery("_state=a%2Fb%3D"))},
		{Name: "upload Location without the port", Report: "containers/skopeo#2055", Target: func(s *Server) Fault { return relocate("http://" + strings.Split(s.Host, ":")[0]) }},
		{Name: "upload Location at another host", Target: func(s *Server) Fault { return relocate("http://" + s.otherHost()) }},
		{Name: "content only by PATCH", Target: always(When(And(isUploadPut, hasContent), Respond(http.StatusUnsupportedMediaType, "")))},
		{Name: "referrers API answered 400", Report: "quay/quay#3071", Source: always(When(referrers, Respond(http.StatusBadRequest, "")))},
		{Name: "referrers API answered 406", Report: "google/go-containerregistry#2026", Source: always(When(referrers, Respond(http.StatusNotAcceptable, "")))},
		{Name: "referrers API answered 500", Source: always(When(referrers, Respond(http.StatusInternalServerError, "")))},
		{Name: "referrer listed, manifest gone", Report: "chainguard-dev/terraform-provider-cosign#581", Source: always(When(referrers, ghost))},
		{Name: "signature tags answered 401", Source: always(When(signatureTag, Respond(http.StatusUnauthorized, "")))},
		{Name: "signature tags answered 403", Source: always(When(signatureTag, Respond(http.StatusForbidden, "")))},
	}
}

// StartKind starts a source with an image under the tag v1 of the repository a, an
// empty target, and bends both.
func StartKind(tb testing.TB, k Kind) (source, target *Server, digest string) {
	tb.Helper()
	source, target = Start(tb), Start(tb)
	digest = Push(tb, source.Host+"/a:v1", withoutArtifactTypes(tb, MultiArch(tb, 300_000, 1)))
	for s, bend := range map[*Server]func(*Server) Fault{source: k.Source, target: k.Target} {
		if bend != nil {
			s.SetFault(bend(s))
		}
	}
	return source, target, digest
}

// original is an index; the name differs from its method ImageIndex.
type original = v1.ImageIndex

// rawIndex is an index with other text.
type rawIndex struct {
	original
	text     []byte
	manifest *v1.IndexManifest
}

func (i *rawIndex) RawManifest() ([]byte, error)              { return i.text, nil }
func (i *rawIndex) IndexManifest() (*v1.IndexManifest, error) { return i.manifest, nil }
func (i *rawIndex) Digest() (v1.Hash, error)                  { return partial.Digest(i) }
func (i *rawIndex) Size() (int64, error)                      { return partial.Size(i) }

// withoutArtifactTypes removes a field that older clients drop when they write an
// index, which changes its digest.
func withoutArtifactTypes(tb testing.TB, index v1.ImageIndex) v1.ImageIndex {
	tb.Helper()
	parsed, err := index.IndexManifest()
	if err != nil {
		tb.Fatal(err)
	}
	manifest := parsed.DeepCopy()
	for i := range manifest.Manifests {
		manifest.Manifests[i].ArtifactType = ""
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		tb.Fatal(err)
	}
	return &rawIndex{index, text, manifest}
}
