// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// Settings are those of a repository that is made. What is empty is ECR's
// default. Encryption and key can never be changed afterwards.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
type Settings struct {
	// TagMutability is MUTABLE, IMMUTABLE, or one of both followed by
	// _WITH_EXCLUSION.
	TagMutability string `yaml:"tagMutability,omitempty" json:"tagMutability,omitempty"`
	// ExcludedTags are patterns with "*", of tags that are the other way.
	ExcludedTags []string `yaml:"excludedTags,omitempty" json:"excludedTags,omitempty"`
	// Encryption is AES256, KMS or KMS_DSSE.
	Encryption string `yaml:"encryption,omitempty" json:"encryption,omitempty"`
	// KMSKey is the id, alias or ARN of a key; default: AWS's key for ECR.
	KMSKey string `yaml:"kmsKey,omitempty" json:"kmsKey,omitempty"`
	// ScanOnPush is superseded by the registry's own setting, says AWS.
	ScanOnPush bool `yaml:"scanOnPush,omitempty" json:"scanOnPush,omitempty"`
	// LifecyclePolicy and RepositoryPolicy are JSON.
	LifecyclePolicy  string `yaml:"lifecyclePolicy,omitempty" json:"lifecyclePolicy,omitempty"`
	RepositoryPolicy string `yaml:"repositoryPolicy,omitempty" json:"repositoryPolicy,omitempty"`
	// Tags of AWS, for billing and access.
	Tags map[string]string `yaml:"tags,omitempty" json:"tags,omitempty"`
}

// Bounds of AWS.
const (
	maxLifecyclePolicy  = 30720
	maxRepositoryPolicy = 10240
	maxTags             = 50
	maxExcluded         = 5
)

// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageTagMutabilityExclusionFilter.html
var excludedTag = regexp.MustCompile(`^[0-9a-zA-Z._*-]{1,128}$`)

// Validate returns every fault, each with the path of its field, which begins
// with the field given.
func (s Settings) Validate(field string) error {
	var errs []error
	wrong := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s.%s "+format, append([]any{field, name}, args...)...))
	}
	oneOf := func(name, value string, allowed []string) {
		if value != "" && !slices.Contains(allowed, value) {
			wrong(name, "is %q, not one of %s", value, strings.Join(allowed, ", "))
		}
	}
	oneOf("tagMutability", s.TagMutability, texts(types.ImageTagMutability("").Values()))
	oneOf("encryption", s.Encryption, texts(types.EncryptionType("").Values()))
	s.validateExcluded(wrong)
	if s.KMSKey != "" && !strings.HasPrefix(s.Encryption, "KMS") {
		wrong("kmsKey", "needs encryption to be KMS or KMS_DSSE")
	}
	for _, p := range []struct {
		name, text string
		most       int
	}{{"lifecyclePolicy", s.LifecyclePolicy, maxLifecyclePolicy}, {"repositoryPolicy", s.RepositoryPolicy, maxRepositoryPolicy}} {
		var object map[string]json.RawMessage
		if p.text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(p.text), &object); err != nil {
			wrong(p.name, "is not a JSON object: %w", err)
		} else if len(p.text) > p.most {
			wrong(p.name, "has %d bytes; AWS takes %d", len(p.text), p.most)
		}
	}
	s.validateTags(wrong)
	return errors.Join(errs...)
}

func (s Settings) validateExcluded(wrong func(name, format string, args ...any)) {
	excludes := strings.HasSuffix(s.TagMutability, "_WITH_EXCLUSION")
	switch {
	case excludes && len(s.ExcludedTags) == 0:
		wrong("excludedTags", "is missing; tagMutability %s needs it", s.TagMutability)
	case !excludes && len(s.ExcludedTags) > 0:
		wrong("excludedTags", "needs tagMutability to be IMMUTABLE_WITH_EXCLUSION or MUTABLE_WITH_EXCLUSION")
	case len(s.ExcludedTags) > maxExcluded:
		wrong("excludedTags", "has %d patterns; AWS takes %d", len(s.ExcludedTags), maxExcluded)
	}
	for i, p := range s.ExcludedTags {
		if !excludedTag.MatchString(p) || strings.Count(p, "*") > 2 {
			wrong(fmt.Sprintf("excludedTags[%d]", i), "is %q; a pattern has letters, digits, \".\", \"_\", \"-\" and at most two \"*\", 128 characters at most", p)
		}
	}
}

func (s Settings) validateTags(wrong func(name, format string, args ...any)) {
	if len(s.Tags) > maxTags {
		wrong("tags", "has %d; AWS takes %d", len(s.Tags), maxTags)
	}
	for _, k := range slices.Sorted(maps.Keys(s.Tags)) {
		field := fmt.Sprintf("tags[%q]", k)
		switch v := s.Tags[k]; {
		case k == "" || len(k) > 128 || len(v) > 256:
			wrong(field, "is too long or empty; AWS takes names of 1 to 128 characters and values up to 256")
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			wrong(field, "begins with aws:, which is AWS's own")
		}
	}
}

func texts[T ~string](values []T) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = string(v)
	}
	return all
}

// input is the request that makes a repository.
func (s Settings) input(account, path string) *ecr.CreateRepositoryInput {
	in := &ecr.CreateRepositoryInput{RegistryId: &account, RepositoryName: &path, ImageTagMutability: types.ImageTagMutability(s.TagMutability)}
	for _, p := range s.ExcludedTags {
		in.ImageTagMutabilityExclusionFilters = append(in.ImageTagMutabilityExclusionFilters,
			types.ImageTagMutabilityExclusionFilter{Filter: &p, FilterType: types.ImageTagMutabilityExclusionFilterTypeWildcard})
	}
	if s.Encryption != "" {
		in.EncryptionConfiguration = &types.EncryptionConfiguration{EncryptionType: types.EncryptionType(s.Encryption)}
		if s.KMSKey != "" {
			in.EncryptionConfiguration.KmsKey = &s.KMSKey
		}
	}
	if s.ScanOnPush {
		in.ImageScanningConfiguration = &types.ImageScanningConfiguration{ScanOnPush: true}
	}
	for _, k := range slices.Sorted(maps.Keys(s.Tags)) {
		in.Tags = append(in.Tags, types.Tag{Key: &k, Value: aws.String(s.Tags[k])})
	}
	return in
}
