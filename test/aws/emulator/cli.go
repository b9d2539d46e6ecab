// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// runner runs one command of the AWS CLI for each line, and stops at the first that
// fails. One process for all is faster: the CLI takes a second to start.
const runner = `
import shlex, sys
from awscli.clidriver import create_clidriver

for line in sys.stdin:
    code = create_clidriver().main(shlex.split(line)[1:])
    if code:
        sys.exit(f"exit code {code}: {line}")
`

// Commands returns the lines of a remedy that are commands of the AWS CLI.
func Commands(remedy string) (commands []string) {
	for line := range strings.Lines(remedy) {
		if strings.HasPrefix(line, "aws ") {
			commands = append(commands, strings.TrimSpace(line))
		}
	}
	return commands
}

// CLI runs commands of the AWS CLI against moto, with all permissions.
func (c *Customer) CLI(ctx context.Context, commands []string) error {
	python, err := Install(ctx)
	if err != nil {
		return err
	}
	run := exec.CommandContext(ctx, python, "-c", runner)
	run.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	run.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+c.URL, "AWS_DEFAULT_REGION="+c.Region, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_SESSION_TOKEN=", "AWS_CONFIG_FILE=none", "AWS_SHARED_CREDENTIALS_FILE=none", "AWS_PAGER=")
	if out, err := run.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}
