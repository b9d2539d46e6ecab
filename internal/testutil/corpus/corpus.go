// SPDX-License-Identifier: Apache-2.0

// Package corpus provides the inputs that all levels of tests share: references of
// all classes with their expected results, and pods of all shapes.
package corpus

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/castai/privatelink-webhook/test/testdata"
)

// Registry is the prefix for which the results are written. Digest is the digest in
// the references.
const (
	Registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"
	Digest   = "sha256:" + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// Reference is a row of references.tsv: a source and the target to which it is
// mapped. Target equals Source if the source is not rewritten. Then Reason is the
// reason, or "" if there is to be no warning.
type Reference struct {
	ID, Class, Source, Target, Reason string
}

// References returns all rows of references.tsv.
func References() []Reference {
	var out []Reference
	for line := range strings.Lines(testdata.References) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		r := Reference{ID: f[0], Class: f[1], Source: expand(f[2])}
		switch {
		case f[3] == "=":
			r.Target = r.Source
		case strings.HasPrefix(f[3], "!"):
			r.Target, r.Reason = r.Source, f[3][1:]
		default:
			r.Target = expand(f[3])
		}
		out = append(out, r)
	}
	return out
}

var (
	repeat = regexp.MustCompile(`(.)\{([0-9]+)\}`)
	prefix = regexp.MustCompile(`(^|/)T([/:2]|$)`)
	host   = regexp.MustCompile(`^H/`)
)

// expand replaces the abbreviations that the head of the file defines.
func expand(s string) string {
	s = prefix.ReplaceAllString(prefix.ReplaceAllString(s, "${1}"+Registry+"${2}"), "${1}"+Registry+"${2}")
	s = host.ReplaceAllString(s, strings.Split(Registry, "/")[0]+"/")
	s = strings.NewReplacer("@D", "@"+Digest, `\s`, " ", `\t`, "\t", `\0`, "").Replace(s)
	return repeat.ReplaceAllStringFunc(s, func(m string) string {
		p := repeat.FindStringSubmatch(m)
		n, _ := strconv.Atoi(p[2])
		return strings.Repeat(p[1], n)
	})
}
