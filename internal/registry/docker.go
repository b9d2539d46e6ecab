// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/credentials/trace"
)

// DockerLogins finds the credentials that `docker login` and `podman login` have
// stored.
type DockerLogins struct {
	files []loginFile
}

// loginFile is a configuration file of Docker or Podman.
type loginFile struct {
	helpers credentials.Store // the credential helper of a host, or else the credentials in the file
	plain   credentials.Store // only the credentials in the file
}

// ReadDockerLogins reads the files of the environment: REGISTRY_AUTH_FILE,
// config.json in DOCKER_CONFIG or ~/.docker, and Podman's
// $XDG_RUNTIME_DIR/containers/auth.json. A file that does not exist is ignored. One
// that cannot be read is an error, since without its credentials later requests would
// fail for an unrelated reason.
//
// https://docs.docker.com/reference/cli/docker/login/,
// https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
func ReadDockerLogins() (*DockerLogins, error) {
	l := &DockerLogins{}
	for _, path := range loginFiles() {
		helpers, err := credentials.NewStore(path, credentials.StoreOptions{})
		if err != nil {
			return nil, fmt.Errorf("reading the Docker configuration: %w: correct the file, or name another by REGISTRY_AUTH_FILE or DOCKER_CONFIG", err)
		}
		plain, err := credentials.NewFileStore(path)
		if err != nil {
			return nil, err
		}
		l.files = append(l.files, loginFile{helpers, plain})
	}
	return l, nil
}

// loginFiles lists the files that may exist, in order of precedence.
func loginFiles() (paths []string) {
	if path := os.Getenv("REGISTRY_AUTH_FILE"); path != "" {
		paths = append(paths, path)
	}
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		paths = append(paths, filepath.Join(dir, "config.json"))
	} else if home, err := os.UserHomeDir(); err == nil {
		paths = append(paths, filepath.Join(home, ".docker", "config.json"))
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		paths = append(paths, filepath.Join(dir, "containers", "auth.json"))
	}
	return paths
}

// serverAddresses are the names under which the credentials for a host may be stored.
func serverAddresses(host string) []string {
	if host == "registry-1.docker.io" || host == "docker.io" || host == "index.docker.io" {
		return []string{"https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"}
	}
	return []string{host}
}

var _ auth.CredentialFunc = (*DockerLogins)(nil).Credential

// Credential returns the credentials for a host. If a credential helper fails or has
// none, those in the file are used. If there are none either, they are empty, and the
// error is the first of a helper or a file. It contains no secrets.
func (l *DockerLogins) Credential(ctx context.Context, host string) (auth.Credential, error) {
	var first error
	for _, f := range l.files {
		for _, address := range serverAddresses(host) {
			for _, get := range []func(context.Context, string) (auth.Credential, error){withHelperErrors(f.helpers.Get), f.plain.Get} {
				c, err := get(ctx, address)
				// A final newline comes from `echo` in scripts that write the file.
				c.Password = strings.TrimRight(c.Password, "\r\n\x00")
				if err == nil && c != auth.EmptyCredential {
					return c, nil
				}
				if err != nil && first == nil {
					first = err
				}
			}
		}
	}
	var helper *helperError
	if first != nil && !errors.As(first, &helper) {
		first = errors.New("the entry of " + host + " is not valid") // its text may contain the password
	}
	return auth.EmptyCredential, first
}

// helperError is a failure of a credential helper. What the program printed is left
// out, because it may be a secret.
type helperError struct {
	program string
	problem string
}

func (e *helperError) Error() string { return "the credential helper " + e.program + " " + e.problem }

// withHelperErrors returns a function that names the program in the error if it is that
// of a credential helper.
func withHelperErrors(get func(context.Context, string) (auth.Credential, error)) func(context.Context, string) (auth.Credential, error) {
	return func(ctx context.Context, address string) (auth.Credential, error) {
		var program string
		var failed error
		ctx = trace.WithExecutableTrace(ctx, &trace.ExecutableTrace{
			ExecuteStart: func(name, _ string) { program = name },
			ExecuteDone:  func(_, _ string, err error) { failed = err },
		})
		c, err := get(ctx, address)
		if err == nil || program == "" {
			return c, err
		}
		var notExecutable *exec.Error
		switch {
		case errors.As(err, &notExecutable):
			return c, &helperError{program, "cannot be run: " + notExecutable.Err.Error()}
		case failed != nil:
			return c, &helperError{program, "failed"}
		}
		return c, &helperError{program, "printed something other than credentials to standard output"}
	}
}
