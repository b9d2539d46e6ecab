// SPDX-License-Identifier: Apache-2.0

// Package lock reads and writes privatelink.lock.yaml: which image, by digest,
// belongs under which name of the private registry.
//
// The file is sorted and has no dates, so that a diff in review shows what an
// upgrade changes and nothing else.
package lock

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"go.yaml.in/yaml/v3"
)

// The type of the file, and its usual name.
const (
	APIVersion  = "privatelink.cast.ai/v1alpha1"
	Kind        = "Lock"
	DefaultFile = "privatelink.lock.yaml"
)

// Lock is the content of the file.
type Lock struct {
	APIVersion string `yaml:"apiVersion" json:"apiVersion"`
	Kind       string `yaml:"kind" json:"kind"`
	// Registry is the prefix below which the targets lie.
	Registry string `yaml:"registry" json:"registry"`
	// Platforms are those that were kept; empty for all that there are.
	Platforms []string `yaml:"platforms,omitempty" json:"platforms,omitempty"`
	Images    []Entry  `yaml:"images" json:"images"`
}

// Entry is one image.
type Entry struct {
	Source string `yaml:"source" json:"source"`
	Target string `yaml:"target" json:"target"`
	// Digest is that of the manifest or index behind the target.
	Digest digest.Digest `yaml:"digest" json:"digest"`
	// SourceDigest is what the source had, where platforms were left out and
	// the digest is another one for that.
	SourceDigest digest.Digest `yaml:"sourceDigest,omitempty" json:"sourceDigest,omitempty"`
	MediaType    string        `yaml:"mediaType" json:"mediaType"`
	// Size is that of all manifests and blobs, in bytes, each counted once.
	Size      int64    `yaml:"size" json:"size"`
	Platforms []string `yaml:"platforms,omitempty" json:"platforms,omitempty"`
	// Referrers are the digests of signatures, attestations and SBOMs.
	Referrers []digest.Digest `yaml:"referrers,omitempty" json:"referrers,omitempty"`
	// Why lists where the image was found.
	Why []string `yaml:"why,omitempty" json:"why,omitempty"`
}

// Lookup returns what is known of an image: by its source, or else by its target,
// since one image may be published under several names.
func (l *Lock) Lookup(source, target string) (Entry, bool) {
	if l == nil {
		return Entry{}, false
	}
	i := slices.IndexFunc(l.Images, func(i Entry) bool { return i.Source == source })
	if i < 0 {
		i = slices.IndexFunc(l.Images, func(i Entry) bool { return i.Target == target })
	}
	if i < 0 {
		return Entry{}, false
	}
	return l.Images[i], true
}

// RemovedSince lists the sources of an older lock that this lock does not have.
func (l *Lock) RemovedSince(old *Lock) (sources []string) {
	if old == nil {
		return nil
	}
	for _, e := range old.Images {
		if _, ok := l.Lookup(e.Source, e.Target); !ok {
			sources = append(sources, e.Source)
		}
	}
	return sources
}

// Parse reads a lock file. It is strict: an unknown key, a digest that is none or
// an image twice is an error. file is the name in errors.
func Parse(file string, text []byte) (*Lock, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	var l Lock
	if err := d.Decode(&l); err != nil {
		return nil, fmt.Errorf("%s: %w; make it anew with `privatelink images -o lock`", file, err)
	}
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{file}, args...)...))
	}
	if l.APIVersion != APIVersion || l.Kind != Kind {
		wrong("is %s %s, not %s %s", l.APIVersion, l.Kind, APIVersion, Kind)
	}
	if l.Registry == "" {
		wrong("registry is missing")
	}
	seen := map[string]int{}
	for i, image := range l.Images {
		field := fmt.Sprintf("images[%d]", i)
		if image.Source == "" || image.Target == "" {
			wrong("%s: source and target are required", field)
		}
		if err := image.Digest.Validate(); err != nil {
			wrong("%s.digest %q: %w", field, image.Digest, err)
		}
		if image.Target != l.Registry && !strings.HasPrefix(image.Target, l.Registry+"/") {
			wrong("%s.target %s is not below the registry %s", field, image.Target, l.Registry)
		}
		if first, twice := seen[image.Target]; twice && l.Images[first].Digest != image.Digest {
			wrong("%s.target %s stands for another digest in images[%d]", field, image.Target, first)
		}
		seen[image.Target] = i
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &l, nil
}

// Read reads a lock file.
func Read(file string) (*Lock, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return Parse(file, text)
}

// Marshal returns the file's text, the images sorted by source.
func (l *Lock) Marshal() ([]byte, error) {
	c := *l
	c.APIVersion, c.Kind = APIVersion, Kind
	c.Images = slices.Clone(c.Images)
	slices.SortFunc(c.Images, func(a, b Entry) int { return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Target, b.Target)) })
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(c), e.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Write replaces the file in one step, so that nobody ever reads half of it.
func (l *Lock) Write(file string) error {
	text, err := l.Marshal()
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-")
	if err != nil {
		return err
	}
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
