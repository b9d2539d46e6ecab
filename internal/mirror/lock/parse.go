// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"go.yaml.in/yaml/v3"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// maxSize bounds the memory for decoding, which is a multiple of the size. An entry
// takes about 500 bytes.
const maxSize = 4 << 20

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
