// SPDX-License-Identifier: Apache-2.0

// Package lock reads and writes privatelink.lock.yaml, which records the digest and
// the target of each mirrored image.
//
// The file is sorted and has no dates, so a diff shows only what an upgrade changes.
package lock

import (
	"slices"

	"github.com/Masterminds/semver/v3"
	"github.com/opencontainers/go-digest"
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
	// Tracked is the newest version of each chart up to which a run with --track has
	// copied all images.
	Tracked map[string]string `yaml:"tracked,omitempty" json:"tracked,omitempty"`
	Images  []Entry           `yaml:"images" json:"images"`
	// NotCopied are images that were selected, and that have no entry because they
	// could not be copied.
	NotCopied []NotCopied `yaml:"notCopied,omitempty" json:"notCopied,omitempty"`
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
	// Chart is the Helm chart that the entry has, nil for an image.
	Chart *Chart `yaml:"chart,omitempty" json:"chart,omitempty"`
	// Why lists where the image was found.
	Why []string `yaml:"why,omitempty" json:"why,omitempty"`
}

// Chart is where the archive of a Helm chart was found. A registry has it as an artifact
// with a digest of its own.
type Chart struct {
	// URL is that of the archive, without a user and a password.
	URL string `yaml:"url" json:"url"`
	// Digest is that of the archive.
	Digest digest.Digest `yaml:"digest" json:"digest"`
}

// NotCopied is an image without a digest.
type NotCopied struct {
	Source string `yaml:"source" json:"source"`
	// Target is empty if the rules do not map the source.
	Target string `yaml:"target,omitempty" json:"target,omitempty"`
	// Chart is the Helm chart, nil for an image.
	Chart *Chart `yaml:"chart,omitempty" json:"chart,omitempty"`
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

// Add adds what another lock has and this one does not. A nil lock has nothing.
func (l *Lock) Add(other *Lock) {
	if other == nil {
		return
	}
	l.AddImages(other)
	for name, version := range other.Tracked {
		if known, ok := l.Tracked[name]; ok && !isNewer(version, known) {
			continue
		}
		if l.Tracked == nil {
			l.Tracked = map[string]string{}
		}
		l.Tracked[name] = version
	}
	for _, n := range other.NotCopied {
		known := slices.ContainsFunc(l.NotCopied, func(k NotCopied) bool { return k.Source == n.Source })
		if _, ok := l.Lookup(n.Source, n.Target); !ok && !known {
			l.NotCopied = append(l.NotCopied, n)
		}
	}
	// The other lock may have images that this one lists as not copied.
	l.NotCopied = slices.DeleteFunc(l.NotCopied, func(n NotCopied) bool {
		return slices.ContainsFunc(l.Images, func(e Entry) bool { return e.Target == n.Target })
	})
}

// AddImages adds the images of another lock, nil for none, that this one does not list.
func (l *Lock) AddImages(other *Lock) {
	if other == nil {
		return
	}
	for _, e := range other.Images {
		if _, ok := l.Lookup(e.Source, e.Target); !ok {
			l.Images = append(l.Images, e)
		}
	}
}

// isNewer reports whether a version comes after another, both as validate wants them.
func isNewer(version, other string) bool {
	return semver.MustParse(version).GreaterThan(semver.MustParse(other))
}

// RemovedSince lists the sources of an older lock that this lock does not have, not
// even as images that were not copied.
func (l *Lock) RemovedSince(old *Lock) (sources []string) {
	if old == nil {
		return nil
	}
	for _, e := range old.Images {
		isFailure := func(n NotCopied) bool { return n.Source == e.Source }
		if _, ok := l.Lookup(e.Source, e.Target); !ok && !slices.ContainsFunc(l.NotCopied, isFailure) {
			sources = append(sources, e.Source)
		}
	}
	return sources
}
