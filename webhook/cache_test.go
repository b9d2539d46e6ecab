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

func TestCachedResultsAreThoseOfTheRules(t *testing.T) {
	rules := testRules(t)
	c := newResultCache(rules)
	for round := range 2 {
		for _, r := range corpus.References() {
			image, env := podspec.ImageField{Value: r.Source, EnvIndex: -1}, podspec.ImageField{Value: r.Source}
			if diff := cmp.Diff(rules.Image(r.Source), c.get(image)); diff != "" {
				t.Errorf("round %d, image %.100q (-rules +cache):\n%s", round, r.Source, diff)
			}
			if diff := cmp.Diff(rules.EnvValue(r.Source), c.get(env)); diff != "" {
				t.Errorf("round %d, value %.100q (-rules +cache):\n%s", round, r.Source, diff)
			}
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newResultCache(testRules(t))
	for i := range 3 * maxCached {
		c.get(podspec.ImageField{Value: fmt.Sprintf("busybox:%d", i), EnvIndex: -1})
	}
	if n := c.results.Len(); n != maxCached {
		t.Errorf("%d results are cached, want %d", n, maxCached)
	}
	c.results.Purge()
	for length, want := range map[int]bool{maxCachedBytes: true, maxCachedBytes + 1: false} {
		text := strings.Repeat("x", length)
		c.get(podspec.ImageField{Value: text, EnvIndex: -1})
		if c.results.Contains(cacheKey{text, false}) != want {
			t.Errorf("a text of %d bytes is cached: %t, want %t", length, !want, want)
		}
	}
}

func TestCacheIsSafeForConcurrentUse(t *testing.T) {
	c := newResultCache(testRules(t))
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				tag := (i*7 + worker) % (maxCached + 100)
				want := fmt.Sprintf("%s/docker.io/library/busybox:%d", registry, tag)
				if got := c.get(podspec.ImageField{Value: fmt.Sprintf("busybox:%d", tag), EnvIndex: -1}); got.Target != want {
					t.Errorf("%q, want %q", got.Target, want)
				}
			}
		})
	}
	wg.Wait()
}
