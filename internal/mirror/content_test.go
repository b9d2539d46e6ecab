// SPDX-License-Identifier: Apache-2.0

package mirror_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

func TestReadContent(t *testing.T) {
	p := newPair(t, 2, 1000)
	artifact := fakeregistry.Image(t, "unknown", fakeregistry.Layer(77, 100))
	referrer := fakeregistry.PushReferrer(t, p.jobs[0].Source, artifact)
	tag := fakeregistry.PushSignature(t, p.jobs[0].Source, artifact)
	c, err := p.mirror.ReadContent(t.Context(), p.jobs, p.target.Host, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Per image an index, two manifests and two configurations. Of the layers 4 are
	// common and 8 are not. The artifacts have a manifest each, and share the rest.
	if len(c.Lock.Images) != 2 || len(c.Manifests) != 2*3+2 || len(c.Blobs) != 2*2+4+8+2 {
		t.Errorf("%d images, %d manifests, %d blobs", len(c.Lock.Images), len(c.Manifests), len(c.Blobs))
	}
	subject := digest.Digest(fakeregistry.Digest(t, p.jobs[0].Source))
	if got := c.Referrers[subject]; len(got) != 1 || got[0].Digest.String() != referrer {
		t.Errorf("referrers of %s: %v", subject, got)
	}
	if _, ok := c.SignatureTags[tag]; !ok || len(c.SignatureTags) != 1 {
		t.Errorf("signature tags: %v", c.SignatureTags)
	}
	if n := p.target.Count("", ""); n != 0 {
		t.Errorf("%d requests to the target", n)
	}
	p.jobs[0].Refused = errors.New("no rule maps it")
	if c, err := p.mirror.ReadContent(t.Context(), p.jobs, p.target.Host, nil); err != nil || len(c.Failed) != 1 || c.Failed[0].Err != p.jobs[0].Refused {
		t.Errorf("an image that is refused: %+v, %v", c, err)
	}
	p.jobs[0].Refused = nil
	p.jobs[0].Source += "-missing"
	c, err = p.mirror.ReadContent(t.Context(), p.jobs, p.target.Host, nil)
	if err != nil || len(c.Failed) != 1 || c.Failed[0].Source != p.jobs[0].Source || c.Failed[0].Err == nil {
		t.Fatalf("%+v, %v", c, err)
	}
	if len(c.Lock.Images) != 1 || len(c.Lock.NotCopied) != 1 || c.Lock.NotCopied[0].Source != p.jobs[0].Source || len(c.Manifests) != 3 {
		t.Errorf("lock %+v, %d manifests", c.Lock, len(c.Manifests))
	}
	p.jobs[1].Source += "-missing"
	_, err = p.mirror.ReadContent(t.Context(), p.jobs, p.target.Host, nil)
	if err == nil || !strings.Contains(err.Error(), p.jobs[0].Source) || !strings.Contains(err.Error(), p.jobs[1].Source) {
		t.Errorf("the error does not name both images: %v", err)
	}
}
