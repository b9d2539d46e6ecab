// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/registry"
)

const repository = "registry.example.com/a"

// scripted is a target that answers writes with the errors, in order, and takes those after
// them.
type scripted struct {
	Target
	puts, uploads []error
	children      []error                  // answers to manifests without a tag
	lookups       []error                  // answers to requests for blobs
	found         map[string]digest.Digest // by tag
	stored        map[digest.Digest]bool   // blobs
	knows         bool                     // it has the content of uploads, and does not read it
	log           []string                 // of the writes
}

func next(errs *[]error) (err error) {
	if len(*errs) > 0 {
		err, *errs = (*errs)[0], (*errs)[1:]
	}
	return err
}

func (s *scripted) PutManifest(_ context.Context, _ string, d ocispec.Descriptor, _ []byte, tag string) error {
	if tag == "" {
		s.log = append(s.log, "put "+d.Annotations["name"])
		return next(&s.children)
	}
	s.log = append(s.log, "put "+tag)
	return next(&s.puts)
}

func (s *scripted) Upload(_ context.Context, _ string, d ocispec.Descriptor, content io.Reader) error {
	s.log = append(s.log, "upload "+d.Annotations["name"])
	if s.knows {
		return nil
	}
	if _, err := io.Copy(io.Discard, content); err != nil {
		return errors.New("the request was canceled") // as clients of HTTP may say
	}
	return next(&s.uploads)
}

func (s *scripted) HasBlob(_ context.Context, _ string, d ocispec.Descriptor) (bool, error) {
	return s.stored[d.Digest], next(&s.lookups)
}

func (s *scripted) Resolve(_ context.Context, _, tag string) (ocispec.Descriptor, error) {
	if d, ok := s.found[tag]; ok {
		return ocispec.Descriptor{Digest: d}, nil
	}
	return ocispec.Descriptor{}, registry.ErrNotFound
}

// scriptedRepositories is a target's repositories, all of which are missing or present.
type scriptedRepositories struct {
	Repositories
	missing bool
	refuse  error // of a creation
	created int
}

func (s *scriptedRepositories) Missing(_ context.Context, names []string) ([]string, error) {
	if s.missing {
		return names, nil
	}
	return nil, nil
}

func (s *scriptedRepositories) Create(context.Context, string) error {
	s.created++
	return s.refuse
}

// named adds content with a name for the log of the target.
func (s *memory) named(name string) ocispec.Descriptor {
	d := s.add(ocispec.MediaTypeImageLayer, []byte("content of "+name))
	d.Annotations = map[string]string{"name": name}
	return d
}

func runOf(source Source, target Target, blobs ...ocispec.Descriptor) *run {
	p := &Plan{blobs: map[digest.Digest]*blob{}}
	for _, d := range blobs {
		p.blobs[d.Digest] = &blob{desc: d, source: "example.com/a"}
	}
	return newRun(&Mirror{Source: source, Target: target}, p, &Progress{})
}

func TestManifestsAreWrittenAgain(t *testing.T) {
	transient, unknown, immutable, denied := registry.ErrTransient, registry.ErrIncomplete, registry.ErrImmutable, registry.ErrDenied
	put, restored := []string{"put v1"}, []string{"put v1", "put v1", "put v1", "put child", "upload lost", "upload gone"}
	s := newMemory()
	lost, kept, gone, child := s.named("lost"), s.named("kept"), s.named("gone"), s.named("child")
	n := &node{desc: s.manifest("amd64"), children: []*node{{desc: child}}, blobs: []ocispec.Descriptor{lost, kept, gone}}
	for name, tc := range map[string]struct {
		answers, uploads, children, lookups []error
		found                               digest.Digest // under the tag
		log                                 []string
		want                                error
	}{
		"no need to":                               {log: put},
		"after a failure that may pass":            {answers: []error{transient}, log: slices.Repeat(put, 2)},
		"five times at most":                       {answers: slices.Repeat([]error{transient}, 9), log: slices.Repeat(put, 5), want: transient},
		"not if it is not allowed":                 {answers: []error{denied}, log: put, want: denied},
		"while its content becomes visible":        {answers: slices.Repeat([]error{unknown}, 2), log: slices.Repeat(put, 3)},
		"after its lost content":                   {answers: slices.Repeat([]error{unknown}, 3), log: slices.Concat(restored, put)},
		"with its lost content once":               {answers: slices.Repeat([]error{unknown}, 9), log: slices.Concat(restored, put, put), want: unknown},
		"not if a child is refused":                {answers: slices.Repeat([]error{unknown}, 3), children: []error{denied}, log: restored[:4], want: denied},
		"not if a blob cannot be looked up":        {answers: slices.Repeat([]error{unknown}, 3), lookups: []error{denied}, log: restored[:4], want: denied},
		"not if a blob is refused":                 {answers: slices.Repeat([]error{unknown}, 3), uploads: []error{denied}, log: restored[:5], want: denied},
		"without its content after other failures": {answers: slices.Repeat([]error{transient}, 3), log: slices.Repeat(put, 4)},
		"not if an immutable tag has it":           {answers: []error{immutable}, found: n.desc.Digest, log: put},
		"not if an immutable tag has another":      {answers: []error{immutable}, found: child.Digest, log: put, want: immutable},
		"not if an immutable tag is gone":          {answers: []error{immutable}, log: put, want: immutable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				target := &scripted{puts: tc.answers, uploads: tc.uploads, children: tc.children, lookups: tc.lookups, stored: map[digest.Digest]bool{kept.Digest: true}, found: map[string]digest.Digest{}}
				if tc.found != "" {
					target.found["v1"] = tc.found
				}
				if err := runOf(s, target, lost, kept, gone).pushTag(t.Context(), repository, n, "v1"); !errors.Is(err, tc.want) {
					t.Errorf("error %v, want %v", err, tc.want)
				}
				if diff := cmp.Diff(tc.log, target.log); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestBlobsAreUploadedAgain(t *testing.T) {
	transient, corrupt, auth := registry.ErrTransient, registry.ErrCorrupt, registry.ErrAuth
	notFound := func(repository string) error {
		return &registry.Error{Operation: "writing", Repository: repository, Class: registry.ErrNotFound, Cause: errors.New("404")}
	}
	refused := &scriptedRepositories{missing: true, refuse: registry.ErrDenied}
	s := newMemory()
	content := s.named("content")
	for name, tc := range map[string]struct {
		answers      []error
		stored       bool // in spite of the answer
		knows        bool
		repositories *scriptedRepositories
		uploads      int
		want         error
		created      int
	}{
		"no need to":                              {uploads: 1},
		"no need to read it":                      {knows: true, uploads: 1},
		"after a failure that may pass":           {answers: []error{transient}, uploads: 2},
		"five times at most":                      {answers: slices.Repeat([]error{transient}, 9), uploads: 5, want: transient},
		"not if it arrived":                       {answers: []error{transient}, stored: true, uploads: 1},
		"not if it is not allowed":                {answers: []error{registry.ErrDenied}, uploads: 1, want: registry.ErrDenied},
		"if it is corrupt once":                   {answers: []error{corrupt}, uploads: 2},
		"not if it is corrupt twice":              {answers: []error{corrupt, corrupt}, uploads: 2, want: corrupt},
		"if the token has expired":                {answers: []error{auth, auth}, uploads: 3},
		"not if every token is refused":           {answers: []error{auth, auth, auth}, uploads: 3, want: auth},
		"in a repository that was deleted":        {answers: []error{notFound(repository)}, repositories: &scriptedRepositories{}, uploads: 2, created: 1},
		"not in one that is deleted twice":        {answers: []error{notFound(repository), notFound(repository)}, repositories: &scriptedRepositories{}, uploads: 2, created: 1, want: registry.ErrNotFound},
		"not in one that cannot be created":       {answers: []error{notFound(repository)}, repositories: refused, uploads: 1, created: 1, want: registry.ErrNotFound},
		"not if the source is gone":               {answers: []error{notFound("example.com/a")}, repositories: &scriptedRepositories{}, uploads: 1, want: registry.ErrNotFound},
		"not in one that only its owner creates":  {answers: []error{notFound(repository)}, uploads: 1, want: registry.ErrNotFound},
		"in one whose deletion cut the upload":    {answers: []error{transient}, repositories: &scriptedRepositories{missing: true}, uploads: 2, created: 1},
		"without a creation in one that is there": {answers: []error{transient}, repositories: &scriptedRepositories{}, uploads: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s.reads = nil
				start := time.Now()
				target := &scripted{uploads: tc.answers, knows: tc.knows, stored: map[digest.Digest]bool{content.Digest: tc.stored}}
				r := runOf(s, target, content)
				if tc.repositories != nil {
					r.m.Repositories = tc.repositories
				}
				err := r.uploadBlob(t.Context(), r.plan.blobs[content.Digest], []*task{{repository: repository}})[0]
				if !errors.Is(err, tc.want) || len(target.log) != tc.uploads {
					t.Errorf("%v after %d uploads, want %v after %d", err, len(target.log), tc.want, tc.uploads)
				}
				if waited := time.Since(start) > 0; waited != (tc.uploads > 1 || tc.stored) {
					t.Errorf("waited %t, for %d uploads", waited, tc.uploads)
				}
				if len(s.reads) != tc.uploads {
					t.Errorf("the source was read %d times for %d uploads", len(s.reads), tc.uploads)
				}
				if tc.repositories != nil && tc.repositories.created != tc.created {
					t.Errorf("the repository was created %d times, want %d", tc.repositories.created, tc.created)
				}
				if done := r.progress.Done.Load(); done != content.Size {
					t.Errorf("%d bytes were counted, want each of %d once", done, content.Size)
				}
			})
		})
	}
}

// brokenSource has blobs that cannot be read.
type brokenSource struct{ *memory }

func (brokenSource) Blob(context.Context, string, ocispec.Descriptor) (io.ReadCloser, error) {
	return io.NopCloser(iotest.ErrReader(registry.ErrDenied)), nil
}

func TestTheErrorOfTheSourceIsReported(t *testing.T) {
	s := newMemory()
	content := s.named("content")
	r := runOf(brokenSource{s}, &scripted{}, content)
	if err := r.uploadBlob(t.Context(), r.plan.blobs[content.Digest], []*task{{repository: repository}})[0]; !errors.Is(err, registry.ErrDenied) {
		t.Errorf("error %v, want that of the source", err)
	}
}

// Uploads of several chunks from one source do not stop one another.
func TestCopyToAll(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), chunkSize/4)
	failure := errors.New("the connection is gone")
	for name, tc := range map[string]struct {
		reads  []int // bytes that each reader takes before it fails
		source error // at the end
		left   bool  // some of the source is not read
	}{
		"all take all":          {reads: []int{len(content), len(content)}},
		"one takes a part":      {reads: []int{10, len(content)}},
		"each takes a part":     {reads: []int{10, chunkSize + 1}, left: true},
		"the source ends early": {reads: []int{len(content), len(content)}, source: failure},
	} {
		t.Run(name, func(t *testing.T) {
			rest := bytes.NewReader(content)
			var source io.Reader = rest
			if tc.source != nil {
				source = io.MultiReader(rest, iotest.ErrReader(tc.source))
			}
			var readers sync.WaitGroup
			var pipes []*io.PipeWriter
			for _, n := range tc.reads {
				r, w := io.Pipe()
				pipes = append(pipes, w)
				readers.Go(func() {
					got := make([]byte, n)
					if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, content[:n]) {
						t.Errorf("%d bytes: %v", n, err)
					}
					_ = r.CloseWithError(failure)
				})
			}
			if err := copyToAll(pipes, source); !errors.Is(err, tc.source) {
				t.Errorf("error %v, want %v", err, tc.source)
			}
			readers.Wait()
			if left := rest.Len() > 0; left != tc.left {
				t.Errorf("%d bytes were not read", rest.Len())
			}
		})
	}
}
