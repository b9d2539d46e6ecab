// SPDX-License-Identifier: Apache-2.0

package kubeconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A login command that asks for a password would take what is typed after the key that
// completes.
func TestTheLoginForCompletionsHasNoTerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	stdin := os.Stdin
	os.Stdin = terminal
	t.Cleanup(func() { os.Stdin = stdin })
	dir := t.TempDir()
	login, seen, file := filepath.Join(dir, "login"), filepath.Join(dir, "seen"), filepath.Join(dir, "config")
	for name, text := range map[string]string{
		login: "#!/bin/sh\nif test -t 0; then echo a terminal; else echo none; fi > " + seen + "\nexit 1\n",
		file: strings.ReplaceAll(`{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
			"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
			"users": [{"name": "u", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "LOGIN", "interactiveMode": "IfAvailable"}}}]}`, "LOGIN", login),
	} {
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got := (Options{File: file}).Namespaces(t.Context()); len(got) > 0 {
		t.Errorf("%q", got)
	}
	if text, err := os.ReadFile(seen); err != nil || string(text) != "none\n" {
		t.Errorf("the standard input of the login is %q, %v", text, err)
	}
}
