// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"

	"github.com/spf13/pflag"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/exitcode"
)

// engineFlags select what rewrites pods, and the guard.
type engineFlags struct{ engine, guard string }

func (f *engineFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.engine, "engine", string(deploy.Webhook), engineHelp)
	flags.StringVar(&f.guard, "guard", string(deploy.GuardWarn), guardHelp)
}

func (f *engineFlags) choice() (deploy.Engine, deploy.Guard, error) {
	engine, guard := deploy.Engine(f.engine), deploy.Guard(f.guard)
	switch {
	case !slices.Contains(deploy.Engines(), engine):
		return "", "", exitcode.Usagef("--engine %q: use webhook or policy", engine)
	case !slices.Contains(deploy.Guards(), guard):
		return "", "", exitcode.Usagef("--guard %q: use warn, deny or off", guard)
	}
	return engine, guard, nil
}
