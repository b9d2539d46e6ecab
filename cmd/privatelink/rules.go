// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// ruleFlags are the flags of every command that needs the rewrite rules.
type ruleFlags struct{ registry, config string }

func (f *ruleFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.registry, "registry", "", "private registry `PREFIX`, such as 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai")
	flags.StringVar(&f.config, "config", "", "configuration `FILE`, privatelink.yaml, for more than a registry")
}

// rules returns the rules, and the text of the configuration file if there is
// one.
func (f *ruleFlags) rules() (*rewrite.Rules, []byte, error) {
	if f.config == "" {
		if f.registry == "" {
			return nil, nil, usageError{errors.New("give --registry PREFIX, or --config FILE")}
		}
		rules, err := rewrite.New(rewrite.Config{Registry: f.registry})
		if err != nil {
			return nil, nil, usageError{fmt.Errorf("--registry: %w", err)}
		}
		return rules, nil, nil
	}
	text, err := os.ReadFile(f.config)
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("--config: %w", err)}
	}
	rules, err := rewrite.Load(f.config, text)
	if err != nil {
		return nil, nil, usageError{err}
	}
	if f.registry != "" && f.registry != rules.Registry() {
		return nil, nil, usageError{fmt.Errorf("--registry %s and the registry of %s, %s, differ; give one of them", f.registry, f.config, rules.Registry())}
	}
	return rules, text, nil
}
