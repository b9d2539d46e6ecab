// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// policy is one of IAM's, as far as the policy of an endpoint needs it.
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

// oneOrMore is a list, or its only element.
type oneOrMore[T any] []T

func (o *oneOrMore[T]) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		var all []T
		err := json.Unmarshal(text, &all)
		*o = all
		return err
	}
	var one T
	err := json.Unmarshal(text, &one)
	*o = []T{one}
	return err
}

func parsePolicy(text []byte) (p policy, err error) {
	if err := json.Unmarshal(text, &p); err != nil {
		return policy{}, fmt.Errorf("not a policy of IAM: %w", err)
	}
	for _, s := range p.Statement {
		if s.Effect != "Allow" && s.Effect != "Deny" {
			return policy{}, errors.New("not a policy of IAM: an Effect is neither Allow nor Deny")
		}
	}
	return p, nil
}

// answer of a policy.
type answer int

const (
	notAllowed answer = iota // no statement says so
	denied                   // one says no
	allowed
	unclear // it depends on who asks, and how
)

// decide tells whether anybody may do action on everything whose name begins
// with prefix. The reason is for people.
func (p policy) decide(action, prefix string) (a answer, why string) {
	why = "no statement allows it"
	limited := "" // denied to some
	for _, s := range p.Statement {
		all, some := s.resources(prefix)
		if !s.acts(action) || !some {
			continue
		}
		name := called(s.Sid)
		switch {
		case s.Effect == "Deny" && (len(s.Condition) > 0 || !s.anybody()):
			limited = name + " denies it to some"
		case s.Effect == "Deny":
			return denied, name + " denies it"
		case a == allowed:
		case len(s.Condition) > 0:
			a, why = unclear, name+" allows it under conditions"
		case !s.anybody():
			a, why = unclear, name+" allows it to some; ECR signs the links to layers, so it should be Principal *"
		case all:
			a, why = allowed, name+" allows it"
		case a != unclear:
			why = name + " allows it for a part only"
		}
	}
	if a == allowed && limited != "" {
		return unclear, limited
	}
	return a, why
}

func called(sid string) string {
	if sid == "" {
		return "a statement"
	}
	return "the statement " + sid
}

// anybody tells whether a statement is for everyone.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
func (s policyStatement) anybody() bool {
	if s.NotPrincipal != nil {
		return false
	}
	var star string
	if json.Unmarshal(s.Principal, &star) == nil {
		return star == "*"
	}
	var by map[string]oneOrMore[string]
	return json.Unmarshal(s.Principal, &by) == nil && slices.Contains(by["AWS"], "*")
}

// acts tells whether a statement is about an action. Their case is of no matter.
func (s policyStatement) acts(action string) bool {
	is := func(pattern string) bool { return matches(strings.ToLower(pattern), strings.ToLower(action)) }
	if s.NotAction != nil {
		return !slices.ContainsFunc(s.NotAction, is)
	}
	return slices.ContainsFunc(s.Action, is)
}

// resources tells whether a statement is about all names that begin with prefix,
// and whether about any.
func (s policyStatement) resources(prefix string) (all, some bool) {
	patterns := s.Resource
	if s.NotResource != nil {
		patterns = s.NotResource
	}
	for _, p := range patterns {
		a, b := begins(p, prefix)
		all, some = all || a, some || b
	}
	if s.NotResource != nil {
		return !some, !all
	}
	return all, some
}

// begins tells whether a pattern matches all names that begin with prefix, and
// whether it matches one of them.
func begins(pattern, prefix string) (all, some bool) {
	for rest := range states(pattern, prefix) {
		some = true // whatever the rest asks for may follow
		all = all || rest < len(pattern) && strings.Trim(pattern[rest:], "*") == ""
	}
	return all, some
}

// matches tells whether a pattern with * and ? matches a text.
func matches(pattern, text string) bool {
	for rest := range states(pattern, text) {
		if strings.Trim(pattern[rest:], "*") == "" {
			return true
		}
	}
	return false
}

// states are the places in a pattern at which one can be after reading a text:
// all of them at once, so that no pattern takes long.
func states(pattern, text string) map[int]bool {
	at := stars(pattern, map[int]bool{0: true})
	for i := range len(text) {
		next := map[int]bool{}
		for p := range at {
			switch {
			case p == len(pattern):
			case pattern[p] == '*':
				next[p] = true
			case pattern[p] == '?' || pattern[p] == text[i]:
				next[p+1] = true
			}
		}
		at = stars(pattern, next)
	}
	return at
}

// stars adds what is reached by letting a * stand for nothing.
func stars(pattern string, at map[int]bool) map[int]bool {
	var all []int
	for p := range at {
		all = append(all, p)
	}
	for _, p := range all {
		for ; p < len(pattern) && pattern[p] == '*'; p++ {
			at[p+1] = true
		}
	}
	return at
}
