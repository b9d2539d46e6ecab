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
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/opencontainers/go-digest"
	"go.yaml.in/yaml/v3"

	"github.com/castai/privatelink-webhook/internal/atomicfile"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// The type of the file, and its default name.
const (
	APIVersion  = "privatelink.cast.ai/v1alpha1"
	Kind        = "Lock"
	DefaultFile = "privatelink.lock.yaml"
)

// maxSize bounds the memory for decoding, which is a multiple of the size. An entry
// takes about 500 bytes.
const maxSize = 4 << 20

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

// Parse reads the content of a lock file. file is the name in errors. These are
// errors: unknown keys, a second document, no image, invalid references or digests,
// and targets with more than one digest.
func Parse(file string, text []byte) (*Lock, error) {
	if len(text) > maxSize {
		return nil, fmt.Errorf("%s is larger than %d MiB: %s", file, maxSize>>20, writeAgain)
	}
	var l Lock
	if conflict.Match(text) {
		return nil, fmt.Errorf("%s has conflict markers of git: keep the images of both sides, or either side, which the next `privatelink mirror` completes", file)
	}
	if err := decode(text, &l); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", file, err, writeAgain)
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

// writeAgain is the remedy for a file that no command has written.
const writeAgain = "restore an earlier version of it, or delete it and write it again with `privatelink mirror` or `privatelink images -o lock`"

// conflict is the line with which git begins what two branches have changed.
var conflict = regexp.MustCompile(`(?m)^<<<<<<< `)

// decode decodes the only document of a YAML stream.
func decode(text []byte, l *Lock) error {
	stream := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	err := stream.Decode(&document)
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the file is empty")
	case err != nil:
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := stream.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("a second document follows after ---, and a lock file has one")
	}
	if field := findNull(&document, ""); field != "" {
		return fmt.Errorf("%s is null", field)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	err = d.Decode(l)
	var mismatches *yaml.TypeError
	switch {
	case errors.As(err, &mismatches):
		return errors.New(strings.Join(mismatches.Errors, "; "))
	case err != nil:
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return nil
}

// findNull returns the first field that is null, or "". The decoder drops it from a
// list without an error.
func findNull(n *yaml.Node, field string) string {
	for i, child := range n.Content {
		name := field
		switch n.Kind {
		case yaml.SequenceNode:
			name = fmt.Sprintf("%s[%d]", field, i)
		case yaml.MappingNode:
			if i%2 == 0 {
				continue // a key
			}
			name = strings.TrimPrefix(field+"."+n.Content[i-1].Value, ".")
		}
		if child.Tag == "!!null" {
			return cmp.Or(name, "the document")
		}
		if null := findNull(child, name); null != "" {
			return null
		}
	}
	return ""
}

func (l *Lock) validate() (errs []error) {
	invalid := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if l.APIVersion != APIVersion || l.Kind != Kind {
		invalid("is %s %s, not %s %s", l.APIVersion, l.Kind, APIVersion, Kind)
		return errs
	}
	if l.Registry == "" {
		invalid("registry is missing")
	}
	if len(l.Images) == 0 {
		invalid("lists no image: %s", writeAgain)
	}
	byTarget := map[string]int{}
	for i, e := range l.Images {
		field := fmt.Sprintf("images[%d]", i)
		for _, err := range e.validate() {
			invalid("%s%w", field, err)
		}
		if !l.contains(e.Target) {
			invalid("%s.target %q is not below the registry %s", field, e.Target, l.Registry)
		}
		if other, exists := byTarget[e.Target]; exists && l.Images[other].Digest != e.Digest {
			invalid("%s.target %q has another digest in images[%d]", field, e.Target, other)
		}
		byTarget[e.Target] = i
	}
	for _, name := range slices.Sorted(maps.Keys(l.Tracked)) {
		if _, err := semver.NewVersion(l.Tracked[name]); err != nil {
			invalid("tracked.%s %q: %w", name, l.Tracked[name], err)
		}
	}
	for i, n := range l.NotCopied {
		switch {
		case n.Source == "":
			invalid("notCopied[%d].source is missing", i)
		case n.Target != "" && !l.contains(n.Target):
			invalid("notCopied[%d].target %q is not below the registry %s", i, n.Target, l.Registry)
		}
		if err := n.Chart.validate(); err != nil {
			invalid("notCopied[%d].chart.%w", i, err)
		}
	}
	return errs
}

// contains reports whether a target is in the registry of the lock.
func (l *Lock) contains(target string) bool {
	return target == l.Registry || strings.HasPrefix(target, l.Registry+"/")
}

// validate returns errors that begin with the field.
func (e Entry) validate() (errs []error) {
	if e.Source == "" || e.Target == "" {
		return []error{errors.New(": source and target are required")}
	}
	invalid := func(field string, value any, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf(".%s %q: %w", field, value, err))
		}
	}
	_, err := rewrite.ParseReference(e.Source)
	invalid("source", e.Source, err)
	target, err := rewrite.ParseReference(e.Target)
	invalid("target", e.Target, err)
	invalid("digest", e.Digest, e.Digest.Validate())
	if target.Digest != "" && target.Digest != e.Digest.String() {
		invalid("target", e.Target, fmt.Errorf("its digest differs from digest %q", e.Digest))
	}
	if e.SourceDigest != "" {
		invalid("sourceDigest", e.SourceDigest, e.SourceDigest.Validate())
	}
	if err := e.Chart.validate(); err != nil {
		errs = append(errs, fmt.Errorf(".chart.%w", err))
	}
	if e.Size < 0 {
		errs = append(errs, fmt.Errorf(".size %d is negative", e.Size))
	}
	for i, d := range e.Referrers {
		invalid(fmt.Sprintf("referrers[%d]", i), d, d.Validate())
	}
	return errs
}

// validate returns an error that begins with the field. A later run reads the URL.
func (c *Chart) validate() error {
	if c == nil {
		return nil
	}
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		return fmt.Errorf("url: %w", err)
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return fmt.Errorf("url %q: is no http or https URL", u.Redacted())
	case u.User != nil:
		return fmt.Errorf("url %q: has a user name or password, which does not belong in a lock file", u.Redacted())
	}
	if err := c.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", c.Digest, err)
	}
	return nil
}

// Read reads a lock file.
func Read(file string) (*Lock, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	return Parse(file, text)
}

// Marshal returns the content of the file. Images are sorted by source.
func (l *Lock) Marshal() ([]byte, error) {
	c := *l
	c.APIVersion, c.Kind = APIVersion, Kind
	c.Images, c.NotCopied = slices.Clone(c.Images), slices.Clone(c.NotCopied)
	slices.SortFunc(c.Images, func(a, b Entry) int { return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Target, b.Target)) })
	slices.SortFunc(c.NotCopied, func(a, b NotCopied) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Target, b.Target))
	})
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(c), e.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Write replaces the file atomically. A lock that Parse would refuse, such as one
// without images, is an error, and the file is not changed. A symbolic link is
// replaced, and not followed.
func (l *Lock) Write(file string) error {
	text, err := l.Marshal()
	if err != nil {
		return err
	}
	if _, err := Parse(file, text); err != nil {
		return fmt.Errorf("%w; the file was not written", err)
	}
	return atomicfile.Write(file, text)
}

// CheckWritable returns an error if Write cannot create the file, so that a run can
// fail before it copies anything.
func CheckWritable(file string) error {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file: name another one", file)
	}
	tmp, err := atomicfile.Create(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s cannot be written, because the folder %s does not exist: create it, or name another file", file, filepath.Dir(file))
	}
	if err != nil {
		return err
	}
	return errors.Join(tmp.Close(), os.Remove(tmp.Name()))
}
