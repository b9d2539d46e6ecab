// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// terraformFiles returns the configuration files of the module and its examples, by path.
func terraformFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir("terraform", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".tf" {
			return err
		}
		text, err := os.ReadFile(path)
		files[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A bastion without a route out has the programs that its tools or its AMI bring.
func TestExamplesWithABastionCanInstallPrograms(t *testing.T) {
	found := 0
	for path, text := range terraformFiles(t) {
		_, block, hasBastion := strings.Cut(text, "\nmodule \"bastion\" {\n")
		if !hasBastion {
			continue
		}
		found++
		block, _, _ = strings.Cut(block, "\n}\n")
		for _, name := range []string{"tools", "ami_id"} {
			input := regexp.MustCompile(`(?m)^\s+` + name + `\s+= var\.` + name + `$`)
			if !input.MatchString(block) || !strings.Contains(text, "\nvariable \""+name+"\" {\n") {
				t.Errorf("%s: the bastion has no %s", path, name)
			}
		}
	}
	if found == 0 {
		t.Error("no example has a bastion")
	}
}
