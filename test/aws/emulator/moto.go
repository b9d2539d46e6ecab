// SPDX-License-Identifier: Apache-2.0

// Package emulator runs moto, an AWS emulator from PyPI. It needs python3 and a
// package index that pip can reach.
//
// launcher.py adds what the tests need and moto does not have. NewCustomer creates
// a healthy account with a cluster, Variations are other healthy accounts, and
// Faults break one.
package emulator

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

// version of moto, and cliVersion of the AWS CLI that works with the same botocore.
// Each pair is installed in its own folder.
const (
	version    = "5.2.5"
	cliVersion = "1.46.3"
)

// module is this one; .cache is in its folder.
const module = "github.com/castai/privatelink-webhook"

//go:embed launcher.py
var launcher string

// Start runs moto on a free port of the loopback interface until stop is called,
// and returns its URL once it responds. It installs moto if necessary, which takes
// minutes. The account is Account, unless env has MOTO_ACCOUNT_ID=ID. Signatures and
// permissions are not checked before Enforce.
func Start(ctx context.Context, env ...string) (url string, stop func(), err error) {
	python, err := Install(ctx)
	if err != nil {
		return "", nil, err
	}
	// Another process may take the free port before moto does.
	for range 5 {
		if url, stop, err = startOnFreePort(ctx, python, env); !errors.Is(err, errExited) {
			break
		}
	}
	return url, stop, err
}

var errExited = errors.New("moto exited before it responded")

func startOnFreePort(ctx context.Context, python string, env []string) (url string, stop func(), err error) {
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	var out bytes.Buffer
	c := exec.Command(python, "-", "-H", "127.0.0.1", "-p", port)
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(launcher), &out, &out
	c.Env = append(append(os.Environ(), "MOTO_IAM_LOAD_MANAGED_POLICIES=true"), env...)
	if err := c.Start(); err != nil {
		return "", nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	stop = func() {
		_ = c.Process.Kill() // it has no state to save
		<-ended
	}
	url = "http://127.0.0.1:" + port
	for {
		if resp, err := http.Get(url + "/moto-api/"); err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK {
			return url, stop, nil
		}
		select {
		case err := <-ended:
			return "", nil, fmt.Errorf("%w: %v\n%s", errExited, err, out.String())
		case <-ctx.Done():
			stop()
			return "", nil, fmt.Errorf("moto does not respond: %w\n%s", context.Cause(ctx), out.String())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// StartForTest is Start, until the test ends.
func StartForTest(t testing.TB) (url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // for the installation
	defer cancel()
	url, stop, err := Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return url
}

// Reset deletes all resources.
func Reset(ctx context.Context, url string) error { return post(ctx, url+"/moto-api/reset", "") }

// Enforce makes moto check signatures and permissions until it ends.
func Enforce(ctx context.Context, url string) error {
	return post(ctx, url+"/moto-api/reset-auth", "0") // the number of requests before it begins
}

func post(ctx context.Context, url, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("POST %s: %s", url, resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

// Install creates a virtual environment with moto and the AWS CLI below .cache, unless there is
// one, and returns its Python interpreter, next to which is the command aws. Call it
// before Start where Start has no network. The environment is renamed into place, so
// that concurrent tests do not see a partial one; those that need it wait for the
// first.
func Install(ctx context.Context) (python string, err error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("locating module %s: %w", module, err)
	}
	all := filepath.Join(strings.TrimSpace(string(root)), ".cache", "moto")
	dir := filepath.Join(all, version+"-"+cliVersion+"-moved")
	program := filepath.Join("bin", "python3")
	if runtime.GOOS == "windows" {
		program = filepath.Join("Scripts", "python.exe")
	}
	python = filepath.Join(dir, program)
	done := func(dir string) string { return filepath.Join(dir, "installed") }
	if _, err := os.Stat(done(dir)); err == nil {
		return python, nil
	}
	if err := os.MkdirAll(all, 0o755); err != nil {
		return "", err
	}
	lock := flock.New(filepath.Join(all, "lock"))
	if _, err := lock.TryLockContext(ctx, time.Second); err != nil {
		return "", fmt.Errorf("waiting for another installation: %w", err)
	}
	defer lock.Unlock()
	if _, err := os.Stat(done(dir)); err == nil {
		return python, nil
	}
	fresh, err := os.MkdirTemp(all, "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	if err := run(ctx, "python3", "-m", "venv", fresh); err != nil {
		return "", fmt.Errorf("%w; install Python 3 with its venv module (Debian: apt-get install python3-venv)", err)
	}
	if err := run(ctx, filepath.Join(fresh, program), "-m", "pip", "install", "--quiet", "moto[server]=="+version, "awscli=="+cliVersion); err != nil {
		return "", fmt.Errorf("%w; pip needs a package index with moto %s and awscli %s (see pip config)", err, version, cliVersion)
	}
	// pip writes the name of the interpreter before the renaming into its scripts.
	aws := []byte("#!/bin/sh\nexec '" + python + "' -m awscli \"$@\"\n")
	if err := errors.Join(os.WriteFile(filepath.Join(fresh, filepath.Dir(program), "aws"), aws, 0o755), os.WriteFile(done(fresh), nil, 0o644)); err != nil {
		return "", err
	}
	if err := os.Rename(fresh, dir); err != nil {
		return "", fmt.Errorf("%w; remove %s", err, dir)
	}
	return python, nil
}

func run(ctx context.Context, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", c, err, out)
	}
	return nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}
