// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// policy is an IAM policy, as far as those of VPC endpoints need it.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
type policy struct{ Statement oneOrMore[policyStatement] }

type policyStatement struct {
	Sid                   string
	Effect                string
	Principal             json.RawMessage
	NotPrincipal          json.RawMessage
	Action, NotAction     oneOrMore[string]
	Resource, NotResource oneOrMore[string]
	// Condition has values by key by operator.
	Condition map[string]map[string]oneOrMore[any]
}

// oneOrMore is a JSON list, or its only element.
type oneOrMore[T any] []T

func (o *oneOrMore[T]) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		var list []T
		err := json.Unmarshal(text, &list)
		*o = list
		return err
	}
	var one T
	err := json.Unmarshal(text, &one)
	*o = []T{one}
	return err
}

func parsePolicy(text []byte) (p policy, err error) {
	if err := json.Unmarshal(text, &p); err != nil {
		return policy{}, fmt.Errorf("not an IAM policy: %w", err)
	}
	for _, s := range p.Statement {
		if s.Effect != "Allow" && s.Effect != "Deny" {
			return policy{}, fmt.Errorf("not an IAM policy: Effect %q is neither Allow nor Deny", s.Effect)
		}
	}
	return p, nil
}

// decision is the result of evaluating a policy.
type decision int

const (
	notAllowed  decision = iota // no statement allows it
	denied                      // a statement denies it
	partial                     // it is allowed for some of the resources
	conditional                 // it depends on facts that are not known
	allowed
)

// request is what a client asks for through an endpoint.
type request struct {
	action string
	// resource is an ARN, or the beginning of ARNs followed by *. It is * for an action that
	// applies to no resource.
	resource  string
	principal principal
	// keys are the condition keys of the request, in lower case: nil for one that the
	// request does not have. All others are not known.
	keys map[string]*string
}

// evaluate decides about a request, and gives the reason.
func (p policy) evaluate(r request) (d decision, reason string) {
	reason = "no statement allows it"
	unknownDeny := "" // the reason why it may be denied
	for _, s := range p.Statement {
		all, some := s.matchResources(r.resource)
		applies := min(truthOf(s.matchesAction(r.action) && some), s.matchesPrincipal(r.principal), evaluateConditions(s.Condition, r.keys))
		if applies == no {
			continue
		}
		name := "a statement"
		if s.Sid != "" {
			name = "statement " + s.Sid
		}
		switch {
		case s.Effect == "Deny" && applies == yes:
			return denied, name + " denies it"
		case s.Effect == "Deny":
			unknownDeny = name + " denies it " + s.dependsOn(r)
		case d == allowed:
		case !all:
			if d < partial {
				d, reason = partial, name+" allows it for some resources only"
			}
		case applies == yes:
			d, reason = allowed, name+" allows it"
		default:
			d, reason = conditional, name+" allows it "+s.dependsOn(r)
		}
	}
	if d >= partial && unknownDeny != "" {
		return conditional, unknownDeny
	}
	return d, reason
}

// dependsOn names the facts that decide whether a statement applies.
func (s policyStatement) dependsOn(r request) string {
	var facts []string
	if s.matchesPrincipal(r.principal) == maybe {
		facts = append(facts, "its principals")
	}
	facts = append(facts, unknownKeys(s.Condition, r.keys)...)
	return "depending on " + strings.Join(facts, ", ")
}

// matchesAction ignores case, as IAM does.
func (s policyStatement) matchesAction(action string) bool {
	matches := func(pattern string) bool { return matchWildcards(strings.ToLower(pattern), strings.ToLower(action)) }
	if s.NotAction != nil {
		return !slices.ContainsFunc(s.NotAction, matches)
	}
	return slices.ContainsFunc(s.Action, matches)
}

// matchResources reports whether a statement applies to all resources that a request
// names, and whether it applies to some.
func (s policyStatement) matchResources(resource string) (all, some bool) {
	patterns := s.Resource
	if s.NotResource != nil {
		patterns = s.NotResource
	}
	for _, p := range patterns {
		a, b := matchResource(p, resource)
		all, some = all || a, some || b
	}
	if s.NotResource != nil {
		return !some, !all
	}
	return all, some
}

func matchResource(pattern, resource string) (all, some bool) {
	if prefix, isPrefix := strings.CutSuffix(resource, "*"); isPrefix && prefix != "" {
		return matchPrefix(pattern, prefix)
	}
	matches := matchWildcards(pattern, resource)
	return matches, matches
}

// arnParts is the number of parts of an ARN; the last one may have colons.
const arnParts = 6

// matchPrefix reports whether a pattern matches all texts that begin with prefix,
// and whether it matches some. Wildcards do not reach beyond a part of an ARN.
func matchPrefix(pattern, prefix string) (all, some bool) {
	patterns, prefixes := strings.SplitN(pattern, ":", arnParts), strings.SplitN(prefix, ":", arnParts)
	if len(patterns) == arnParts && len(prefixes) == arnParts {
		for i := range arnParts - 1 {
			if !matchWildcards(patterns[i], prefixes[i]) {
				return false, false
			}
		}
		pattern, prefix = patterns[arnParts-1], prefixes[arnParts-1]
	}
	for i := range positions(pattern, prefix) {
		some = true // a text exists for any rest of the pattern
		all = all || i < len(pattern) && strings.Trim(pattern[i:], "*") == ""
	}
	return all, some
}

// matchWildcards reports whether a pattern with * and ? matches a text.
func matchWildcards(pattern, text string) bool {
	for i := range positions(pattern, text) {
		if strings.Trim(pattern[i:], "*") == "" {
			return true
		}
	}
	return false
}

// positions returns all positions in a pattern that reading a text can lead to.
// To track them together takes polynomial time, where backtracking may take
// exponential time.
func positions(pattern, text string) map[int]bool {
	current := skipStars(pattern, map[int]bool{0: true})
	for i := range len(text) {
		next := map[int]bool{}
		for p := range current {
			switch {
			case p == len(pattern):
			case pattern[p] == '*':
				next[p] = true
			case pattern[p] == '?' || pattern[p] == text[i]:
				next[p+1] = true
			}
		}
		current = skipStars(pattern, next)
	}
	return current
}

// skipStars adds the positions that are reached if a * matches nothing.
func skipStars(pattern string, positions map[int]bool) map[int]bool {
	for _, p := range slices.Collect(maps.Keys(positions)) {
		for ; p < len(pattern) && pattern[p] == '*'; p++ {
			positions[p+1] = true
		}
	}
	return positions
}
