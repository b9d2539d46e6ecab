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
	Condition             map[string]json.RawMessage
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
	allowed                     // for every principal
	conditional                 // it depends on the principal or on conditions
)

// evaluate decides whether every principal may do action on all resources whose
// name begins with prefix, and gives the reason.
func (p policy) evaluate(action, prefix string) (d decision, reason string) {
	reason = "no statement allows it"
	limited := "" // the reason why it is denied to some
	for _, s := range p.Statement {
		all, some := s.matchResources(prefix)
		if !s.matchesAction(action) || !some {
			continue
		}
		name := "a statement"
		if s.Sid != "" {
			name = "statement " + s.Sid
		}
		switch {
		case s.Effect == "Deny" && (len(s.Condition) > 0 || !s.matchesEveryPrincipal()):
			limited = name + " denies it to some"
		case s.Effect == "Deny":
			return denied, name + " denies it"
		case d == allowed:
		case len(s.Condition) > 0:
			d, reason = conditional, name+" allows it under conditions"
		case !s.matchesEveryPrincipal():
			d, reason = conditional, name+" allows it to some; ECR signs the URLs of layers, so the principal should be *"
		case all:
			d, reason = allowed, name+" allows it"
		case d != conditional:
			reason = name + " allows it for some resources only"
		}
	}
	if d == allowed && limited != "" {
		return conditional, limited
	}
	return d, reason
}

// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
func (s policyStatement) matchesEveryPrincipal() bool {
	if s.NotPrincipal != nil {
		return false
	}
	var principal string
	if json.Unmarshal(s.Principal, &principal) == nil {
		return principal == "*"
	}
	var byType map[string]oneOrMore[string]
	return json.Unmarshal(s.Principal, &byType) == nil && slices.Contains(byType["AWS"], "*")
}

// matchesAction ignores case, as IAM does.
func (s policyStatement) matchesAction(action string) bool {
	matches := func(pattern string) bool { return matchWildcards(strings.ToLower(pattern), strings.ToLower(action)) }
	if s.NotAction != nil {
		return !slices.ContainsFunc(s.NotAction, matches)
	}
	return slices.ContainsFunc(s.Action, matches)
}

// matchResources reports whether a statement applies to all resources whose name
// begins with prefix, and whether it applies to some.
func (s policyStatement) matchResources(prefix string) (all, some bool) {
	patterns := s.Resource
	if s.NotResource != nil {
		patterns = s.NotResource
	}
	for _, p := range patterns {
		a, b := matchPrefix(p, prefix)
		all, some = all || a, some || b
	}
	if s.NotResource != nil {
		return !some, !all
	}
	return all, some
}

// matchPrefix reports whether a pattern matches all texts that begin with prefix,
// and whether it matches some.
func matchPrefix(pattern, prefix string) (all, some bool) {
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
