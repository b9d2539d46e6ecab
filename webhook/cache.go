// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Parsing references is two fifths of the work of a review, and a cluster runs
// some dozens of different images. The cache has at most about 1 MiB: long texts
// are not cached.
const (
	maxCached      = 1024
	maxCachedBytes = 512
)

// cacheKey is a reference and where it is from, since the rules differ.
type cacheKey struct {
	value string
	isEnv bool
}

// resultCache caches the results of the rules. They never change, since the rules
// are immutable. It is safe for concurrent use.
type resultCache struct {
	rules   *rewrite.Rules
	results *lru.Cache[cacheKey, rewrite.Result]
}

func newResultCache(rules *rewrite.Rules) resultCache {
	results, err := lru.New[cacheKey, rewrite.Result](maxCached)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return resultCache{rules, results}
}

// get returns the result of mapping the reference of the field.
func (c resultCache) get(i podspec.ImageField) rewrite.Result {
	key := cacheKey{i.Value, i.EnvIndex >= 0}
	if r, ok := c.results.Get(key); ok {
		return r
	}
	r := c.resolve(key)
	if len(key.value) <= maxCachedBytes {
		c.results.Add(key, r)
	}
	return r
}

func (c resultCache) resolve(k cacheKey) rewrite.Result {
	if k.isEnv {
		return c.rules.EnvValue(k.value)
	}
	return c.rules.Image(k.value)
}
