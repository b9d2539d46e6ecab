// SPDX-License-Identifier: Apache-2.0

// Package configfile finds the configuration file of a command that names none.
package configfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/pflag"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Name is the file that is read from the current folder.
const Name = "privatelink.yaml"

// Annotations of a flag --config.
const (
	exclude     = "privatelink.cast.ai/no-default-file"
	alternative = "privatelink.cast.ai/in-place-of-config"
)

// Alternative names a flag that, like --registry, is given in place of --config.
func Alternative(flags *pflag.FlagSet, name string) {
	_ = flags.SetAnnotation("config", alternative, []string{name})
}

// Exclude keeps Find from setting --config of a command that has another default.
func Exclude(flags *pflag.FlagSet) { _ = flags.SetAnnotation("config", exclude, nil) }

// Find sets --config to the file of the current folder if neither --config nor --registry,
// nor an Alternative, is set. Whether it does or not, a file that is there is reported.
// Flags without these two are left alone. Its errors are usage errors.
func Find(flags *pflag.FlagSet, report func(string)) error {
	config := flags.Lookup("config")
	if config == nil || flags.Lookup("registry") == nil {
		return nil
	}
	if _, excluded := config.Annotations[exclude]; excluded {
		return nil
	}
	if config.Changed {
		if config.Value.String() == "" {
			return errors.New("--config: is empty: name a file, or leave the flag out")
		}
		return nil
	}
	switch info, err := os.Stat(Name); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("the configuration in the current folder: %w: read another one with --config, or set --registry", err)
	case !info.Mode().IsRegular():
		return nil
	}
	for _, name := range append([]string{"registry"}, config.Annotations[alternative]...) {
		if flags.Changed(name) {
			report(Name + " in the current folder is not read, because --" + name + " is set; --config " + Name + " reads it")
			return nil
		}
	}
	report("reading " + Name + " in the current folder" + registry() + "; --config or --registry select another configuration")
	return flags.Set("config", Name)
}

// registry names the registry of the file: what comes from a folder of another party
// must not decide on it without notice. The command reports the errors of the file.
func registry() string {
	text, err := os.ReadFile(Name)
	if err != nil {
		return ""
	}
	rules, err := rewrite.Load(Name, text)
	if err != nil {
		return ""
	}
	return ", for the registry " + rules.Registry()
}
