// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// A cluster runs some dozens of different images, over and over; parsing their
// references is two fifths of the work of a review. The answers are remembered,
// at most so many and none for absurdly long texts: about 1 MiB in all.
const (
	maxAnswers       = 1024
	maxAnsweredBytes = 512
)

// question is a reference and how it is to be read.
type question struct {
	value string
	env   bool
}

// answers are the rules with a memory. The rules are pure, so an answer stays
// true for as long as the rules do.
type answers struct {
	rules *rewrite.Rules
	known *lru.Cache[question, rewrite.Result]
}

func newAnswers(rules *rewrite.Rules) answers {
	known, err := lru.New[question, rewrite.Result](maxAnswers)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return answers{rules, known}
}

func (a answers) of(i podspec.ImageField) rewrite.Result {
	q := question{i.Value, i.EnvIndex >= 0}
	if r, ok := a.known.Get(q); ok {
		return r
	}
	r := a.ask(q)
	if len(q.value) <= maxAnsweredBytes {
		a.known.Add(q, r)
	}
	return r
}

func (a answers) ask(q question) rewrite.Result {
	if q.env {
		return a.rules.EnvValue(q.value)
	}
	return a.rules.Image(q.value)
}
