// SPDX-License-Identifier: Apache-2.0

// Package pty runs commands on a terminal, for tests.
package pty

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Run runs a command with a terminal of some columns as its standard output, and as its
// standard error. It returns what the terminal displays, with the line ends of a file.
// Standard output may be set to something else before.
func Run(t *testing.T, columns uint16, cmd *exec.Cmd) (displayed string, err error) {
	t.Helper()
	return run(t, columns, cmd, "")
}

// Answer is Run with the terminal as standard input as well, on which the user types
// input in advance.
func Answer(t *testing.T, cmd *exec.Cmd, input string) (displayed string, err error) {
	t.Helper()
	return run(t, 80, cmd, input)
}

func run(t *testing.T, columns uint16, cmd *exec.Cmd, input string) (displayed string, err error) {
	t.Helper()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	fd := int(terminal.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
	}
	if err != nil {
		t.Fatal(err)
	}
	end, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if cmd.Stdout == nil {
		cmd.Stdout = end
	}
	cmd.Stderr = end
	if input != "" {
		cmd.Stdin = end
		if _, err := terminal.WriteString(input); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end.Close()
	var text bytes.Buffer
	if _, err := io.Copy(&text, terminal); err != nil && !errors.Is(err, syscall.EIO) { // EIO: the other end is closed
		t.Error(err)
	}
	return strings.ReplaceAll(text.String(), "\r\n", "\n"), cmd.Wait()
}
