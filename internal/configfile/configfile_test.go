// SPDX-License-Identifier: Apache-2.0

package configfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestFind(t *testing.T) {
	file := func(t *testing.T) error {
		return os.WriteFile(Name, []byte("registry: registry.example.com/castai\n"), 0o600)
	}
	for name, tc := range map[string]struct {
		setUp  func(*testing.T) error
		args   []string
		config string
		report string
		err    string
	}{
		"a file":                  {file, nil, Name, "reading privatelink.yaml in the current folder, for the registry registry.example.com/castai; --config", ""},
		"a link to a file":        {func(t *testing.T) error { return os.Symlink(other(t), Name) }, nil, Name, "reading privatelink.yaml", ""},
		"another file":            {file, []string{"--config", "other.yaml"}, "other.yaml", "", ""},
		"the file itself":         {file, []string{"--config", Name}, Name, "", ""},
		"a registry":              {file, []string{"--registry", "x"}, "", "not read, because --registry is set", ""},
		"an alternative":          {file, []string{"--values", "x"}, "", "not read, because --values is set", ""},
		"an empty name":           {file, []string{"--config", ""}, "", "", "--config: is empty"},
		"no file":                 {func(*testing.T) error { return nil }, nil, "", "", ""},
		"a folder":                {func(*testing.T) error { return os.Mkdir(Name, 0o700) }, nil, "", "", ""},
		"a link that goes astray": {func(*testing.T) error { return os.Symlink("nowhere", Name) }, nil, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := tc.setUp(t); err != nil {
				t.Fatal(err)
			}
			flags := pflag.NewFlagSet("x", pflag.ContinueOnError)
			config, _, _ := flags.String("config", "", ""), flags.String("registry", "", ""), flags.String("values", "", "")
			Alternative(flags, "values")
			if err := flags.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			var reports []string
			err := Find(flags, func(s string) { reports = append(reports, s) })
			if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
			if report := strings.Join(reports, "\n"); *config != tc.config || !strings.Contains(report, tc.report) || (report == "") != (tc.report == "") {
				t.Errorf("--config %q, want %q; reported %q, want %q", *config, tc.config, report, tc.report)
			}
		})
	}
}

func other(t *testing.T) string {
	file := filepath.Join(t.TempDir(), "real.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFindLeavesOtherCommandsAlone(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile(Name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	status, doctor := pflag.NewFlagSet("status", pflag.ContinueOnError), pflag.NewFlagSet("doctor", pflag.ContinueOnError)
	config, _ := doctor.String("config", "", ""), doctor.String("registry", "", "")
	Exclude(doctor)
	for _, flags := range []*pflag.FlagSet{status, doctor} {
		if err := Find(flags, func(s string) { t.Error(s) }); err != nil || *config != "" {
			t.Error(err, *config)
		}
	}
}
