// SPDX-License-Identifier: Apache-2.0

//go:build aws

package terraform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// module is the module's folder, seen from this package.
const module = "../../../deploy/terraform"

// override is what makes the provider content with an emulator. Terraform adds
// it to the configuration because of its name.
const override = `provider "aws" {
  skip_metadata_api_check = true
}
`

// workspace is a copy of the module, with an example to apply in it.
type workspace struct {
	dir, example string
	env          []string
}

// newWorkspace copies the module to dir and installs the provider. The
// environment leads the provider to the emulator.
func newWorkspace(ctx context.Context, dir string, env map[string]string) (*workspace, error) {
	w := &workspace{dir: dir, env: append(os.Environ(), "TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1")}
	for name, value := range env {
		w.env = append(w.env, name+"="+value)
	}
	config := ""
	if plugins := os.Getenv("TF_PLUGINS"); plugins != "" {
		config = fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", plugins)
	}
	rc := filepath.Join(dir, "terraformrc")
	w.env = append(w.env, "TF_CLI_CONFIG_FILE="+rc)
	return w, errors.Join(os.WriteFile(rc, []byte(config), 0o600), os.CopyFS(filepath.Join(dir, "terraform"), os.DirFS(module)))
}

// use makes an example the one that is run.
func (w *workspace) use(ctx context.Context, example string) error {
	w.example = filepath.Join(w.dir, "terraform", "examples", example)
	if err := os.WriteFile(filepath.Join(w.example, "zz_override.tf"), []byte(override), 0o600); err != nil {
		return err
	}
	if out, _, err := w.run(ctx, "init", "-input=false", "-no-color"); err != nil {
		return fmt.Errorf("%w; terraform 1.5 or newer has to be installed, and its registry reached or TF_PLUGINS name a folder of plugins with hashicorp/aws\n%s", err, out)
	}
	return nil
}

// run runs terraform in the example and returns what it said and its exit code.
func (w *workspace) run(ctx context.Context, args ...string) (out string, code int, err error) {
	cmd := exec.CommandContext(ctx, "terraform", args...)
	cmd.Dir, cmd.Env = w.example, w.env
	said, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	if err != nil {
		err = fmt.Errorf("terraform %s: %w", strings.Join(args, " "), err)
	}
	return string(said), code, err
}
