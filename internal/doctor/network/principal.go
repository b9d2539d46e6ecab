// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/json"
	"strings"
)

// truth is the value of a statement about a request, of which not all is known.
type truth int

const (
	no truth = iota
	maybe
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// not turns yes into no, and no into yes.
func not(t truth) truth { return yes - t }

// principal is who signs a request.
type principal struct {
	// account is its account. It is empty for a request that no principal of the
	// customer signs: only statements for every principal apply to it.
	account string
	// arn is that of its user or role, or empty if that is not known.
	arn string
}

// matchesPrincipal reports whether the statement is for a principal.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
func (s policyStatement) matchesPrincipal(p principal) truth {
	if s.NotPrincipal != nil {
		return maybe
	}
	var all string
	if json.Unmarshal(s.Principal, &all) == nil {
		return truthOf(all == "*")
	}
	var byType map[string]oneOrMore[string]
	if json.Unmarshal(s.Principal, &byType) != nil {
		return no
	}
	matches := no
	for _, named := range byType["AWS"] {
		matches = max(matches, p.is(named))
	}
	return matches
}

// is reports whether a policy that names a principal means p.
func (p principal) is(named string) truth {
	switch {
	case named == "*":
		return yes
	case p.account == "":
		return no
	case named == p.account, strings.HasPrefix(named, "arn:") && strings.HasSuffix(named, ":iam::"+p.account+":root"), named == p.arn:
		return yes
	case !strings.Contains(named, "::"+p.account+":"):
		return no
	case p.arn == "":
		return maybe
	}
	// The session of a role: its name is not known.
	_, role, isRole := strings.Cut(named, ":assumed-role/")
	role, _, _ = strings.Cut(role, "/")
	if isRole && strings.HasSuffix(p.arn, "/"+role) {
		return maybe
	}
	return no
}
