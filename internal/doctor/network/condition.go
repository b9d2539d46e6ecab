// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// evaluateConditions evaluates the condition element of a statement: all operators and
// keys must match, by one of their values each. keys is as in request.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
func evaluateConditions(conditions map[string]map[string]oneOrMore[any], keys map[string]*string) truth {
	matches := yes
	for operator, byKey := range conditions {
		for key, values := range byKey {
			matches = min(matches, evaluateCondition(operator, key, values, keys))
		}
	}
	return matches
}

func evaluateCondition(operator, key string, values oneOrMore[any], keys map[string]*string) truth {
	value, isKnown := keys[strings.ToLower(key)]
	base, ifExists := strings.CutSuffix(operator, "IfExists")
	switch {
	case !isKnown:
		return maybe
	case base == "Null":
		return anyValue(values, func(want string) truth { return truthOf(strings.EqualFold(want, "true") == (value == nil)) })
	case value == nil && ifExists:
		return yes
	}
	match, isNegated := matcher(base)
	switch {
	case match == nil:
		return maybe
	case value == nil:
		return truthOf(isNegated)
	}
	matches := anyValue(values, func(want string) truth {
		if strings.Contains(want, "${") { // a policy variable
			return maybe
		}
		return truthOf(match(want, *value))
	})
	if isNegated {
		return not(matches)
	}
	return matches
}

func anyValue(values oneOrMore[any], matches func(string) truth) (t truth) {
	for _, v := range values {
		t = max(t, matches(fmt.Sprint(v)))
	}
	return t
}

// matcher returns the function of an operator, and whether the operator negates it. It
// is nil for an operator that is not supported.
func matcher(operator string) (match func(want, got string) bool, isNegated bool) {
	equal := func(want, got string) bool { return want == got }
	switch operator {
	case "StringEquals":
		return equal, false
	case "StringNotEquals":
		return equal, true
	case "StringEqualsIgnoreCase", "Bool":
		return strings.EqualFold, false
	case "StringNotEqualsIgnoreCase":
		return strings.EqualFold, true
	case "StringLike", "ArnLike", "ArnEquals":
		return matchWildcards, false
	case "StringNotLike", "ArnNotLike", "ArnNotEquals":
		return matchWildcards, true
	}
	if name, isAddress := strings.CutSuffix(operator, "IpAddress"); isAddress { // only for a key that a request does not have
		return func(string, string) bool { return false }, name == "Not"
	}
	return nil, false
}

// unknownKeys returns the keys, with their values, because of which conditions cannot be
// decided.
func unknownKeys(conditions map[string]map[string]oneOrMore[any], keys map[string]*string) (unknown []string) {
	for _, operator := range slices.Sorted(maps.Keys(conditions)) {
		for _, key := range slices.Sorted(maps.Keys(conditions[operator])) {
			if values := conditions[operator][key]; evaluateCondition(operator, key, values, keys) == maybe {
				unknown = append(unknown, fmt.Sprintf("%s %v", key, []any(values)))
			}
		}
	}
	return unknown
}
