// SPDX-License-Identifier: Apache-2.0

// Package lock reads and writes privatelink.lock.yaml, which records the digest and
// the target of each mirrored image.
//
// The file is sorted and has no dates, so a diff shows only what an upgrade changes.
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

// The type of the file, and its default name.
const (
	APIVersion  = "privatelink.cast.ai/v1alpha1"
	Kind        = "Lock"
	DefaultFile = "privatelink.lock.yaml"
)

// Lock is the content of the file.
type Lock struct {
	APIVersion string `yaml:"apiVersion" json:"apiVersion"`
	Kind       string `yaml:"kind" json:"kind"`
	// Registry is the prefix of all targets.
	Registry string `yaml:"registry" json:"registry"`
	// Platforms are those that were kept; empty for all.
	Platforms []string `yaml:"platforms,omitempty" json:"platforms,omitempty"`
	Images    []Entry  `yaml:"images" json:"images"`
}

// Entry is one image of a lock.
type Entry struct {
	Source string `yaml:"source" json:"source"`
	Target string `yaml:"target" json:"target"`
	// Digest is that of the manifest or index in the target.
	Digest digest.Digest `yaml:"digest" json:"digest"`
	// SourceDigest is that of the source, if it differs because platforms were left
	// out.
	SourceDigest digest.Digest `yaml:"sourceDigest,omitempty" json:"sourceDigest,omitempty"`
	MediaType    string        `yaml:"mediaType" json:"mediaType"`
	// Size is that of all manifests and blobs in bytes. Each counts once.
	Size      int64    `yaml:"size" json:"size"`
	Platforms []string `yaml:"platforms,omitempty" json:"platforms,omitempty"`
	// Referrers are the digests of signatures, attestations and SBOMs.
	Referrers []digest.Digest `yaml:"referrers,omitempty" json:"referrers,omitempty"`
	// Why lists where the image was found.
	Why []string `yaml:"why,omitempty" json:"why,omitempty"`
}

// Lookup returns the entry with a source, or else the one with a target: an image may
// be published under several names. A nil lock has no entries.
func (l *Lock) Lookup(source, target string) (Entry, bool) {
	if l == nil {
		return Entry{}, false
	}
	i := slices.IndexFunc(l.Images, func(e Entry) bool { return e.Source == source })
	if i < 0 {
		i = slices.IndexFunc(l.Images, func(e Entry) bool { return e.Target == target })
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

// Parse reads a lock file. Unknown keys, invalid digests, and targets with more than
// one digest are errors. file is the name in errors.
func Parse(file string, text []byte) (*Lock, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	var l Lock
	if err := d.Decode(&l); err != nil {
		return nil, fmt.Errorf("%s: %w; create it again with `privatelink images -o lock`", file, err)
	}
	var errs []error
	for _, err := range l.validate() {
		errs = append(errs, fmt.Errorf("%s: %w", file, err))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &l, nil
}

func (l *Lock) validate() (errs []error) {
	invalid := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if l.APIVersion != APIVersion || l.Kind != Kind {
		invalid("is %s %s, not %s %s", l.APIVersion, l.Kind, APIVersion, Kind)
	}
	if l.Registry == "" {
		invalid("registry is missing")
	}
	byTarget := map[string]int{}
	for i, e := range l.Images {
		field := fmt.Sprintf("images[%d]", i)
		if e.Source == "" || e.Target == "" {
			invalid("%s: source and target are required", field)
		}
		if err := e.Digest.Validate(); err != nil {
			invalid("%s.digest %q: %w", field, e.Digest, err)
		}
		if e.Target != l.Registry && !strings.HasPrefix(e.Target, l.Registry+"/") {
			invalid("%s.target %s is not below the registry %s", field, e.Target, l.Registry)
		}
		if other, exists := byTarget[e.Target]; exists && l.Images[other].Digest != e.Digest {
			invalid("%s.target %s has another digest in images[%d]", field, e.Target, other)
		}
		byTarget[e.Target] = i
	}
	return errs
}

// Read reads a lock file.
func Read(file string) (*Lock, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return Parse(file, text)
}

// Marshal returns the content of the file. Images are sorted by source.
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

// Write replaces the file atomically.
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
