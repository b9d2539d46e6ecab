// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"fmt"
	"regexp"
	"strings"
)

// The type of the configuration file.
const (
	APIVersion = "privatelink.cast.ai/v1alpha1"
	Kind       = "Config"
)

// Config is the content of privatelink.yaml, the one file that webhook and
// command line share. Registry is required; Load and New fill in the rest.
type Config struct {
	// Registry is the prefix of every private copy: a private ECR host, usually
	// with a repository path, such as
	// 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai. Another registry's
	// host, with a port if it has one, is taken too.
	Registry string `json:"registry"`
	// Namespaces are those whose pods are rewritten. Default: castai-agent.
	Namespaces []string `json:"namespaces"`
	// NamespaceSelector selects further namespaces, by labels that they may get at
	// any time. Default: none.
	NamespaceSelector LabelSelector `json:"namespaceSelector,omitzero"`
	// Rules send a source prefix to a path below the registry; the longest
	// source wins, at a path boundary.
	Rules []Rule `json:"rules"`
	// Keep are source prefixes that are not rewritten.
	Keep []string `json:"keep"`
	// EnvVars are the environment variables whose values are image references.
	// Default: JMX_EXPORTER_INIT_IMAGE and SCANNERS_IMAGE.
	EnvVars []string `json:"envVars"`
	// Repositories are the settings of the ECR repositories that the mirror makes.
	// No image is mapped by them.
	Repositories Repositories `json:"repositories"`
	// Track names charts whose newest versions the mirror copies ahead of upgrades. No
	// image is mapped by it.
	Track Track `json:"track,omitzero"`
}

// Repositories are settings of ECR repositories, by the names of AWS's API. What
// is empty is ECR's default. What the values mean is checked where they are used.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
type Repositories struct {
	TagMutability    string            `json:"tagMutability,omitempty"`
	ExcludedTags     []string          `json:"excludedTags,omitempty"`
	Encryption       string            `json:"encryption,omitempty"`
	KMSKey           string            `json:"kmsKey,omitempty"`
	ScanOnPush       bool              `json:"scanOnPush,omitempty"`
	LifecyclePolicy  string            `json:"lifecyclePolicy,omitempty"`
	RepositoryPolicy string            `json:"repositoryPolicy,omitempty"`
	Tags             map[string]string `json:"tags,omitempty"`
}

// Fault is one thing wrong with a configuration. Every fault of a file is
// reported, not only the first.
type Fault struct {
	File  string // "" when the configuration does not come from a file
	Line  int    // 0 when unknown
	Field string // such as rules[1].source
	What  string // what is wrong with it
	Fix   string // what to do
}

// beforeAt is a quoted text, or a word, up to its last "@". The algorithm of a digest may
// follow.
var beforeAt = regexp.MustCompile(`(?:"(?:\\.|[^"\\])*|\S+)@(?:sha(?:256|512):)?`)

// withoutUser replaces what may be a user name and a password in the text of a fault,
// since faults are logged. The name before a digest remains.
func withoutUser(what string) string {
	return beforeAt.ReplaceAllStringFunc(what, func(s string) string {
		at := strings.LastIndex(s, "@")
		if strings.HasSuffix(s, ":") { // it is that of a digest
			at = strings.LastIndex(s[:at], "@")
		}
		if at < 0 {
			return s
		}
		quote := s[:len(s)-len(strings.TrimPrefix(s, `"`))]
		return quote + "xxxxx" + s[at:]
	})
}

// Error names file, line, field, fault and remedy on one line.
func (f Fault) Error() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File)
		if f.Line > 0 {
			fmt.Fprintf(&b, ":%d", f.Line)
		}
		b.WriteString(": ")
	}
	if f.Field != "" {
		b.WriteString(f.Field + ": ")
	}
	return b.String() + f.What + ": " + f.Fix
}

// Faults are all the faults of one configuration.
type Faults []Fault

// Error gives each fault its own line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

// New checks a configuration and returns its rules. Every fault is reported, as
// Faults.
func New(c Config) (*Rules, error) {
	if c.Namespaces == nil {
		c.Namespaces = []string{"castai-agent"}
	}
	if c.EnvVars == nil {
		c.EnvVars = []string{"JMX_EXPORTER_INIT_IMAGE", "SCANNERS_IMAGE"}
	}
	v := validator{config: c, rules: build(c)}
	v.validate()
	if len(v.faults) > 0 {
		return nil, v.faults
	}
	return v.rules, nil
}
