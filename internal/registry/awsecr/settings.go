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

// Settings are the settings of a repository to create. Empty fields have the
// default of ECR. Encryption and KMSKey cannot be changed afterwards.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
type Settings struct {
	// TagMutability is MUTABLE, IMMUTABLE, MUTABLE_WITH_EXCLUSION or
	// IMMUTABLE_WITH_EXCLUSION.
	TagMutability string `yaml:"tagMutability,omitempty" json:"tagMutability,omitempty"`
	// ExcludedTags are patterns with "*", of tags with the opposite mutability.
	ExcludedTags []string `yaml:"excludedTags,omitempty" json:"excludedTags,omitempty"`
	// Encryption is AES256, KMS or KMS_DSSE.
	Encryption string `yaml:"encryption,omitempty" json:"encryption,omitempty"`
	// KMSKey is the ID, alias or ARN of a key. Default: the AWS managed key of ECR.
	KMSKey string `yaml:"kmsKey,omitempty" json:"kmsKey,omitempty"`
	// ScanOnPush is deprecated by AWS in favor of a setting of the registry.
	ScanOnPush bool `yaml:"scanOnPush,omitempty" json:"scanOnPush,omitempty"`
	// LifecyclePolicy and RepositoryPolicy are JSON documents.
	LifecyclePolicy  string `yaml:"lifecyclePolicy,omitempty" json:"lifecyclePolicy,omitempty"`
	RepositoryPolicy string `yaml:"repositoryPolicy,omitempty" json:"repositoryPolicy,omitempty"`
	// Tags are AWS resource tags.
	Tags map[string]string `yaml:"tags,omitempty" json:"tags,omitempty"`
}

// Quotas of AWS. Sizes are in bytes.
const (
	maxLifecyclePolicy  = 30720
	maxRepositoryPolicy = 10240
	maxTags             = 50
	maxExcludedTags     = 5
)

// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageTagMutabilityExclusionFilter.html
var excludedTagPattern = regexp.MustCompile(`^[0-9a-zA-Z._*-]{1,128}$`)

// Validate returns all errors, each with the path of its field below the field
// given.
func (s Settings) Validate(field string) error {
	var errs []error
	invalid := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s.%s "+format, append([]any{field, name}, args...)...))
	}
	oneOf := func(name, value string, allowed []string) {
		if value != "" && !slices.Contains(allowed, value) {
			invalid(name, "is %q, not one of %s", value, strings.Join(allowed, ", "))
		}
	}
	oneOf("tagMutability", s.TagMutability, toStrings(types.ImageTagMutability("").Values()))
	oneOf("encryption", s.Encryption, toStrings(types.EncryptionType("").Values()))
	s.validateExcludedTags(invalid)
	if s.KMSKey != "" && !strings.HasPrefix(s.Encryption, "KMS") {
		invalid("kmsKey", "requires encryption to be KMS or KMS_DSSE")
	}
	for _, p := range []struct {
		name, text string
		maxSize    int
	}{{"lifecyclePolicy", s.LifecyclePolicy, maxLifecyclePolicy}, {"repositoryPolicy", s.RepositoryPolicy, maxRepositoryPolicy}} {
		var object map[string]json.RawMessage
		if p.text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(p.text), &object); err != nil {
			invalid(p.name, "is not a JSON object: %w", err)
		} else if len(p.text) > p.maxSize {
			invalid(p.name, "has %d bytes; the maximum is %d", len(p.text), p.maxSize)
		}
	}
	s.validateTags(invalid)
	return errors.Join(errs...)
}

func (s Settings) validateExcludedTags(invalid func(name, format string, args ...any)) {
	excludes := strings.HasSuffix(s.TagMutability, "_WITH_EXCLUSION")
	switch {
	case excludes && len(s.ExcludedTags) == 0:
		invalid("excludedTags", "is required by tagMutability %s", s.TagMutability)
	case !excludes && len(s.ExcludedTags) > 0:
		invalid("excludedTags", "requires tagMutability to be IMMUTABLE_WITH_EXCLUSION or MUTABLE_WITH_EXCLUSION")
	case len(s.ExcludedTags) > maxExcludedTags:
		invalid("excludedTags", "has %d patterns; the maximum is %d", len(s.ExcludedTags), maxExcludedTags)
	}
	for i, p := range s.ExcludedTags {
		if !excludedTagPattern.MatchString(p) || strings.Count(p, "*") > 2 {
			invalid(fmt.Sprintf("excludedTags[%d]", i), "is %q; a pattern consists of letters, digits, \".\", \"_\", \"-\" and at most two \"*\", with at most 128 characters", p)
		}
	}
}

func (s Settings) validateTags(invalid func(name, format string, args ...any)) {
	if len(s.Tags) > maxTags {
		invalid("tags", "has %d entries; the maximum is %d", len(s.Tags), maxTags)
	}
	for _, k := range slices.Sorted(maps.Keys(s.Tags)) {
		field := fmt.Sprintf("tags[%q]", k)
		switch v := s.Tags[k]; {
		case k == "" || len(k) > 128 || len(v) > 256:
			invalid(field, "is empty or too long; keys have 1 to 128 characters, and values at most 256")
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			invalid(field, "begins with aws:, which is reserved for AWS")
		}
	}
}

func toStrings[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// createInput returns the request that creates a repository.
func (s Settings) createInput(account, path string) *ecr.CreateRepositoryInput {
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
