// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"

	"github.com/spf13/pflag"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// ruleFlags are the flags of every command that needs the rewrite rules.
type ruleFlags struct{ registry, config string }

func (f *ruleFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.registry, "registry", "", "private registry `PREFIX`, such as 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai")
	flags.StringVar(&f.config, "config", "", configHelp)
}

// rules returns the rules, and the text of the configuration file, nil if there
// is none. Its errors are usage errors.
func (f *ruleFlags) rules() (*rewrite.Rules, []byte, error) {
	if f.config == "" {
		if f.registry == "" {
			return nil, nil, exitcode.Usagef("give --registry PREFIX, or --config FILE")
		}
		rules, err := rewrite.New(rewrite.Config{Registry: f.registry})
		if err != nil {
			return nil, nil, exitcode.Usagef("--registry: %w", err)
		}
		return rules, nil, nil
	}
	text, err := os.ReadFile(f.config)
	if err != nil {
		return nil, nil, exitcode.Usagef("--config: %w", err)
	}
	rules, err := rewrite.Load(f.config, text)
	if err != nil {
		return nil, nil, exitcode.AsUsage(err)
	}
	if f.registry != "" && f.registry != rules.Registry() {
		return nil, nil, exitcode.Usagef("--registry and the registry of %s, %s, differ: give one of them", f.config, rules.Registry())
	}
	return rules, text, nil
}
