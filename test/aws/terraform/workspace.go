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

// module is the folder of the module, relative to this package.
const module = "../../../deploy/terraform"

// override lets the provider work with an emulator. Terraform merges files whose
// names end in _override.tf into the configuration.
const override = `provider "aws" {
  skip_metadata_api_check = true
  max_retries             = 2
}
`

// workspace is a copy of the module, in which one of the examples is applied.
type workspace struct {
	dir, example string
	env          []string
}

// newWorkspace copies the module to dir. env has the settings of the provider.
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

// selectExample makes an example the current one, and initializes it.
func (w *workspace) selectExample(ctx context.Context, example string) error {
	w.example = filepath.Join(w.dir, "terraform", "examples", example)
	text := override
	if example == "replication" {
		text += strings.Replace(override, "{\n", "{\n  alias = \"destination\"\n", 1)
	}
	if err := os.WriteFile(filepath.Join(w.example, "zz_override.tf"), []byte(text), 0o600); err != nil {
		return err
	}
	return w.init(ctx)
}

// init installs the providers and modules of the current configuration.
func (w *workspace) init(ctx context.Context) error {
	if out, _, err := w.run(ctx, "init", "-input=false", "-no-color"); err != nil {
		return fmt.Errorf("%w; install Terraform 1.11 or newer, and make its registry reachable or set TF_PLUGINS to a plugin folder with hashicorp/aws\n%s", err, out)
	}
	return nil
}

// run runs terraform in the current example and returns its output and exit code.
func (w *workspace) run(ctx context.Context, args ...string) (out string, code int, err error) {
	cmd := exec.CommandContext(ctx, "terraform", args...)
	cmd.Dir, cmd.Env = w.example, w.env
	combined, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	if err != nil {
		err = fmt.Errorf("terraform %s: %w", strings.Join(args, " "), err)
	}
	return string(combined), code, err
}
