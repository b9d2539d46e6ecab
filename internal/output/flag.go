// SPDX-License-Identifier: Apache-2.0

package output

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Flag is the value of a flag --output. It accepts the formats of its command, and ""
// for text.
type Flag struct {
	value         *Format
	text, content string
	formats       []Format
}

// AddFlag adds --output, -o. text says what is printed without it, such as "a table", and
// content what JSON and YAML have, such as "events".
func AddFlag(flags *pflag.FlagSet, value *Format, text, content string, formats ...Format) {
	f := &Flag{value, text, content, formats}
	flags.VarP(f, "output", "o", fmt.Sprintf("output `FORMAT`: %s, %s (default: %s)", enumerate(f.Formats()), content, text))
}

// Formats returns the formats besides text.
func (f *Flag) Formats() []string {
	var names []string
	for _, format := range f.formats {
		names = append(names, string(format))
	}
	return names
}

// Default says what is printed without a format.
func (f *Flag) Default() string { return f.text }

// Content says what JSON and YAML have.
func (f *Flag) Content() string { return f.content }

// Set implements pflag.Value.
func (f *Flag) Set(s string) error {
	if s != "" && !slices.Contains(f.formats, Format(s)) {
		return fmt.Errorf("use %s", enumerate(f.Formats()))
	}
	*f.value = Format(s)
	return nil
}

// String implements pflag.Value.
func (f *Flag) String() string { return string(*f.value) }

// Type implements pflag.Value.
func (f *Flag) Type() string { return "string" }

// enumerate returns "a, b or c".
func enumerate(names []string) string {
	if last := len(names) - 1; last > 0 {
		return strings.Join(names[:last], ", ") + " or " + names[last]
	}
	return strings.Join(names, "")
}
