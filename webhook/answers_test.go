// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
)

func TestAnswersFromMemoryAreThoseOfTheRules(t *testing.T) {
	rules := testRules(t)
	a := newAnswers(rules)
	for round := range 2 {
		for _, r := range corpus.References() {
			image, env := podspec.ImageField{Value: r.Source, EnvIndex: -1}, podspec.ImageField{Value: r.Source}
			if diff := cmp.Diff(rules.Image(r.Source), a.of(image)); diff != "" {
				t.Errorf("round %d, image %.100q (-rules +memory):\n%s", round, r.Source, diff)
			}
			if diff := cmp.Diff(rules.EnvValue(r.Source), a.of(env)); diff != "" {
				t.Errorf("round %d, value %.100q (-rules +memory):\n%s", round, r.Source, diff)
			}
		}
	}
}

func TestTheMemoryIsBounded(t *testing.T) {
	a := newAnswers(testRules(t))
	for i := range 3 * maxAnswers {
		a.of(podspec.ImageField{Value: fmt.Sprintf("busybox:%d", i), EnvIndex: -1})
	}
	if n := a.known.Len(); n != maxAnswers {
		t.Errorf("%d answers are remembered, want %d", n, maxAnswers)
	}
	a.known.Purge()
	a.of(podspec.ImageField{Value: strings.Repeat("x", maxAnsweredBytes+1), EnvIndex: -1})
	if n := a.known.Len(); n != 0 {
		t.Error("a text of any length is remembered")
	}
}

func TestTheMemoryIsSharedByReviewsAtOnce(t *testing.T) {
	a := newAnswers(testRules(t))
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				tag := (i*7 + worker) % (maxAnswers + 100)
				want := fmt.Sprintf("%s/docker.io/library/busybox:%d", registry, tag)
				if got := a.of(podspec.ImageField{Value: fmt.Sprintf("busybox:%d", tag), EnvIndex: -1}); got.Target != want {
					t.Errorf("%q, want %q", got.Target, want)
				}
			}
		})
	}
	wg.Wait()
}
