// SPDX-License-Identifier: Apache-2.0

// Package redact replaces what identifies a customer in a report: accounts, ARNs, names,
// hosts and buckets, IDs of resources in AWS and IP addresses. The same original always
// gets the same placeholder, such as account-1, so that a report remains readable.
package redact

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Redactor replaces the originals that it knows and those that it recognizes by their form.
type Redactor struct {
	names        map[string]string // kind by name in lower case
	placeholders map[string]string // by original in lower case
	count        map[string]int    // by kind
	pattern      *regexp.Regexp    // nil if a name was added since it was compiled
}

// New returns a Redactor that knows no names.
func New() *Redactor {
	return &Redactor{names: map[string]string{}, placeholders: map[string]string{}, count: map[string]int{}}
}

// Add makes names of a kind known, such as those of nodes. Empty ones are ignored.
func (r *Redactor) Add(kind string, names ...string) {
	for _, n := range names {
		if n = strings.ToLower(n); n != "" && r.names[n] == "" {
			r.names[n], r.pattern = kind, nil
		}
	}
}

const arnForm = `arn:aws[a-z-]*:[a-z0-9-]*:[a-z0-9-]*:[a-z0-9]*:[^\s"'` + "`" + `,;<>(){}\[\]]+`

var (
	arns = regexp.MustCompile(`(?i)` + arnForm)
	// urls have a host or a bucket, after what may be a user with a password.
	urls = regexp.MustCompile(`(?i)\b(https?|s3)://(?:[^\s/@"']*@)?([a-z0-9][a-z0-9.-]*[a-z0-9])`)
	// bucketHost is the host of a bucket.
	bucketHost = regexp.MustCompile(`(?i)^(.+)\.s3[.-](?:[a-z0-9-]+\.)*amazonaws\.com(?:\.cn)?$`)
	// forms are what is recognized, with their kinds. The kind "" is that of the match.
	forms = []struct{ kind, form string }{
		{"arn", arnForm},
		{"node", `\bip-\d+-\d+-\d+-\d+(?:\.[a-z0-9-]+)*`},
		{"node", `\b[a-z0-9-]+\.(?:[a-z0-9-]+\.)?compute\.internal\b`},
		{"", `\b(?:vpce-svc|vpce|vpc|subnet|sg|sgr|rtb|eni|i|lt|acl|igw|eigw|nat|pl|dopt|pcx|tgw|eipalloc|o|r|ou)-[0-9a-f]{8,17}\b`},
		{"zone", `\bZ[0-9A-Z]{8,32}\b`},
		{"key", `\b(?:AKIA|ASIA|AIDA|AROA)[A-Z0-9]{12,}\b`},
		{"account", `\b\d{12}\b`},
		{"address", `\b\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?\b`},
		{"address", `[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?:\.\d{1,3}){0,3}(?:/\d{1,3})?`},
	}
)

// Learn makes the names in the ARNs of a text known, of roles, users, clusters and others,
// and the hosts and buckets in its URLs.
func (r *Redactor) Learn(text string) {
	for _, m := range urls.FindAllStringSubmatch(text, -1) {
		if strings.EqualFold(m[1], "s3") {
			r.addBucket(m[2])
		} else {
			r.AddHost(m[2])
		}
	}
	for _, arn := range arns.FindAllString(text, -1) {
		parts := strings.SplitN(strings.TrimRight(arn, ".:"), ":", 6)
		if isPublic(arn) || len(parts) < 6 {
			continue
		}
		kind, name, isPath := strings.Cut(parts[5], "/")
		if !isPath {
			continue
		}
		if kind == "assumed-role" {
			kind = "role"
		}
		for segment := range strings.SplitSeq(name, "/") {
			if len(segment) > 2 && !strings.ContainsAny(segment, "*?$") {
				r.Add(kind, segment)
			}
		}
	}
}

// AddHost makes a host known, or the bucket that it is of, unless it is public.
func (r *Redactor) AddHost(host string) {
	_, err := netip.ParseAddr(host)
	bucket := bucketHost.FindStringSubmatch(host)
	switch {
	case err == nil || !strings.Contains(host, "."): // an address has a form; a bare name may be any word
	case bucket != nil:
		r.addBucket(bucket[1])
	case !isPublicHost(host):
		r.Add("host", host)
	}
}

// addBucket makes a bucket known, unless it is of AWS. A name of letters alone may be any
// word, as BUCKET in a remedy.
func (r *Redactor) addBucket(name string) {
	if strings.ContainsAny(name, "-.0123456789") && !isPublic(name) {
		r.Add("bucket", name)
	}
}

// isPublicHost reports whether a host is one of AWS, of CAST AI or of public software, or
// an example.
func isPublicHost(host string) bool {
	return slices.ContainsFunc([]string{"amazonaws.com", "amazonaws.com.cn", "amazon.com", "cast.ai", "github.io", "github.com", "kubernetes.io", "example.com"},
		func(domain string) bool { return strings.HasSuffix("."+strings.ToLower(host), "."+domain) })
}

// isPublic reports whether an ARN is that of AWS itself: of its policies and its buckets
// for the layers of ECR.
func isPublic(arn string) bool {
	return strings.Contains(arn, ":iam::aws:") || strings.Contains(arn, "-starport-layer-bucket")
}

// Text returns a text with placeholders.
func (r *Redactor) Text(s string) string {
	if r.pattern == nil {
		r.compile()
	}
	var b strings.Builder
	for {
		m := r.pattern.FindStringSubmatchIndex(s)
		if m == nil {
			return b.String() + s
		}
		begin, end := m[0], m[1]
		original := s[begin:end]
		switch group := firstGroup(m); {
		case group <= 1 || forms[group-1].kind != "address" || isAddress(original) && !continuesWord(s, begin, end):
			b.WriteString(s[:begin] + r.replace(original, group))
		case strings.Contains(original, ":"): // what only looks like an address may contain something else
			end = begin + strings.Index(original, ":") + 1
			fallthrough
		default:
			b.WriteString(s[:end])
		}
		s = s[end:]
	}
}

// continuesWord reports whether s[begin:end] is a part of a longer word.
func continuesWord(s string, begin, end int) bool {
	isWord := func(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
	return begin > 0 && isWord(s[begin-1]) || end < len(s) && isWord(s[end])
}

// firstGroup returns the number of the group that matched, from 0.
func firstGroup(match []int) int {
	for i := 2; i < len(match); i += 2 {
		if match[i] >= 0 {
			return i/2 - 1
		}
	}
	return -1
}

// compile creates the pattern: a group with the names, the longest first, and then one for
// each form. ARNs precede names, which they contain.
func (r *Redactor) compile() {
	var names []string
	for n := range r.names {
		form := regexp.QuoteMeta(n)
		if len(n) < 5 { // part of many words
			form = `\b` + form + `\b`
		}
		names = append(names, form)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	groups := []string{"(" + forms[0].form + ")", "([^\\s\\S])"} // the second matches nothing
	if len(names) > 0 {
		groups[1] = "(" + strings.Join(names, "|") + ")"
	}
	for _, f := range forms[1:] {
		groups = append(groups, "("+f.form+")")
	}
	r.pattern = regexp.MustCompile(`(?i)` + strings.Join(groups, "|"))
}

// replace returns the placeholder of a match in a group of the pattern.
func (r *Redactor) replace(original string, group int) string {
	key := strings.ToLower(original)
	if group == 1 {
		return r.placeholder(r.names[key], key)
	}
	form := forms[max(0, group-1)]
	switch form.kind {
	case "arn":
		trimmed := strings.TrimRight(original, ".:")
		if isPublic(original) {
			return original
		}
		return r.placeholder("arn", strings.ToLower(trimmed)) + original[len(trimmed):]
	case "":
		return r.placeholder(key[:strings.LastIndex(key, "-")], key)
	}
	return r.placeholder(form.kind, key)
}

// isAddress reports whether s is an address or a range of addresses, and not one that all
// networks have.
func isAddress(s string) bool {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return false
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	return p.Bits() > 1 && !p.Addr().IsLoopback() && !p.Addr().IsUnspecified()
}

func (r *Redactor) placeholder(kind, original string) string {
	p, ok := r.placeholders[original]
	if !ok {
		r.count[kind]++
		p = fmt.Sprintf("%s-%d", kind, r.count[kind])
		r.placeholders[original] = p
	}
	return p
}
