// SPDX-License-Identifier: Apache-2.0

//go:build aws

package aws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// version of moto. Another one gets another folder, and is installed anew.
const version = "5.2.5"

// root of the repository, seen from this package.
const root = "../.."

// install makes a virtual environment with moto below .cache, unless there is
// one, and returns the program in it. pip takes packages from where it is
// configured to.
func install(ctx context.Context) (program string, err error) {
	dir, err := filepath.Abs(filepath.Join(root, ".cache", "moto", version))
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "bin")
	if runtime.GOOS == "windows" {
		bin = filepath.Join(dir, "Scripts")
	}
	program = filepath.Join(bin, "moto_server")
	done := filepath.Join(dir, "installed")
	if _, err := os.Stat(done); err == nil {
		return program, nil
	}
	if err := os.RemoveAll(dir); err != nil { // half of one
		return "", err
	}
	if err := run(ctx, "python3", "-m", "venv", dir); err != nil {
		return "", fmt.Errorf("%w; install Python 3 with its venv module (Debian: apt-get install python3-venv)", err)
	}
	if err := run(ctx, filepath.Join(bin, "python3"), "-m", "pip", "install", "--quiet", "moto[server]=="+version); err != nil {
		return "", fmt.Errorf("%w; pip needs a package index with moto %s (see pip config)", err, version)
	}
	return program, os.WriteFile(done, nil, 0o644)
}

func run(ctx context.Context, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", c, err, out)
	}
	return nil
}

// start runs moto on a free port until stop is called, and returns when it
// answers.
func start(ctx context.Context, program string) (url string, stop func(), err error) {
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	var out bytes.Buffer
	c := exec.Command(program, "-H", "127.0.0.1", "-p", port)
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		return "", nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	stop = func() {
		_ = c.Process.Kill() // it has nothing to save
		<-ended
	}
	url = "http://127.0.0.1:" + port
	for {
		if resp, err := http.Get(url + "/moto-api/"); err == nil {
			return url, stop, resp.Body.Close()
		}
		select {
		case err := <-ended:
			return "", nil, fmt.Errorf("moto ended: %w\n%s", errors.Join(err, errors.New("before it answered")), out.String())
		case <-ctx.Done():
			stop()
			return "", nil, fmt.Errorf("moto does not answer: %w\n%s", context.Cause(ctx), out.String())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}
