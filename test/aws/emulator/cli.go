// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// runner runs a command of the AWS CLI for each line, and prints its exit code after its
// output.
const runner = `
import shlex, sys
from awscli.clidriver import create_clidriver

sys.stderr = sys.stdout
for line in sys.stdin:
    try:
        code = create_clidriver().main(shlex.split(line)[1:])
    except SystemExit as e:
        code = e.code
    print(f"\nexit code {code}", flush=True)
`

// CLI is the AWS CLI with all permissions. One process runs all commands, because the CLI
// takes a second to start.
type CLI struct {
	in  io.Writer
	out *bufio.Reader
}

// StartCLIForTest starts the AWS CLI for moto at url until the test ends.
func StartCLIForTest(t testing.TB, url string) *CLI {
	t.Helper()
	python, err := Install(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), python, "-c", runner)
	c.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+url, "AWS_DEFAULT_REGION=us-east-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_SESSION_TOKEN=",
		"AWS_CONFIG_FILE=none", "AWS_SHARED_CREDENTIALS_FILE=none", "AWS_PAGER=")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // it has no state to save
		_ = c.Wait()
	})
	return &CLI{in, bufio.NewReader(out)}
}

// Commands returns the lines of a remedy that are commands of the AWS CLI.
func Commands(remedy string) (commands []string) {
	for line := range strings.Lines(remedy) {
		if strings.HasPrefix(line, "aws ") {
			commands = append(commands, strings.TrimSpace(line))
		}
	}
	return commands
}

// Run runs commands in order, and stops at the first that fails.
func (c *CLI) Run(commands []string) error {
	for _, command := range commands {
		if _, err := fmt.Fprintln(c.in, command); err != nil {
			return err
		}
		var output strings.Builder
		for {
			line, err := c.out.ReadString('\n')
			if err != nil {
				return fmt.Errorf("%s: %w\n%s", command, err, output.String())
			}
			if code, ok := strings.CutPrefix(strings.TrimSpace(line), "exit code "); ok {
				if code != "0" {
					return fmt.Errorf("%s: exit code %s\n%s", command, code, output.String())
				}
				break
			}
			output.WriteString(line)
		}
	}
	return nil
}
