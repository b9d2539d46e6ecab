// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"errors"
	"strings"

	// The parser rejects a digest whose hash function is not linked in.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/distribution/reference"
)

// Reference is an image reference, REPOSITORY[:TAG][@DIGEST], split at its
// separators.
type Reference struct {
	// Repository is the registry host and the path, such as quay.io/acme/widget.
	Repository string
	// Tag is without its colon. It is empty if the reference has none.
	Tag string
	// Digest begins with its algorithm, such as sha256:. It is empty if the
	// reference has none.
	Digest string
}

// errNoHost is the error for a name such as my_host.example.com/x: the grammar
// allows "_" in paths but not in hosts, so the parser takes it for a path.
var errNoHost = errors.New("invalid reference format: no registry host")

// ParseReference validates a reference and expands Docker short names, so that
// the repository begins with a registry host: nginx becomes
// docker.io/library/nginx. Tag and digest are kept as they are; none is added.
// The grammar is that of github.com/distribution/reference, as in the container
// runtimes.
func ParseReference(ref string) (Reference, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return Reference{}, err
	}
	if reference.Domain(named) == "" {
		return Reference{}, errNoHost
	}
	r := SplitReference(ref)
	r.Repository = named.Name()
	return r, nil
}

// SplitReference splits a reference without validating or expanding it.
func SplitReference(ref string) Reference {
	name, digest, _ := strings.Cut(ref, "@")
	r := Reference{Repository: name, Digest: digest}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		r.Repository, r.Tag = name[:i], name[i+1:]
	}
	return r
}

// Host is the registry host of the repository, with its port if it has one.
func (r Reference) Host() string { return RegistryHost(r.Repository) }

// Identifier is what a client requests from a registry: the digest, or else the
// tag, or else "latest".
func (r Reference) Identifier() string {
	switch {
	case r.Digest != "":
		return r.Digest
	case r.Tag != "":
		return r.Tag
	}
	return "latest"
}

// String joins the parts again.
func (r Reference) String() string { return r.Repository + r.suffix() }

// suffix is the text after the repository: tag, digest, both or neither.
func (r Reference) suffix() string {
	var s string
	if r.Tag != "" {
		s = ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// RegistryHost is the host of a repository or of a prefix of repositories, with
// its port if it has one.
func RegistryHost(repository string) string {
	host, _, _ := strings.Cut(repository, "/")
	return host
}
