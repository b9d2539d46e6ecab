// SPDX-License-Identifier: Apache-2.0

//go:build compat

package compat

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// timeout is how long a client may take for an image before it counts as hung.
const timeout = 30 * time.Second

// client copies images.
type client struct {
	name string
	// copy copies an image. A directory has the Docker configuration.
	copy func(ctx context.Context, dir, source, target string) error
}

// outcome is the result of a copy.
type outcome string

const (
	copied outcome = "copied"
	failed outcome = "failed"
	hung   outcome = "hung"
)

// Each kind of registry is copied from or to by this project and by others. Whatever
// one of them copies, this project copies.
func TestClients(t *testing.T) {
	clients := []client{{"privatelink", ours}}
	program := buildClients(t)
	for _, library := range []string{"crane", "regclient"} {
		clients = append(clients, client{library, func(ctx context.Context, dir, source, target string) error {
			return run(ctx, dir, program, "-library", library, source, target)
		}})
	}
	skopeo := install(t, "skopeo")
	clients = append(clients, client{"skopeo", func(ctx context.Context, dir, source, target string) error {
		return run(ctx, dir, skopeo, "--insecure-policy", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false",
			"docker://"+source, "docker://"+target)
	}})

	kinds := fakeregistry.Kinds()
	table := make([][]outcome, len(kinds))
	logs := make([]string, len(kinds))
	var running sync.WaitGroup
	slots := make(chan struct{}, 4)
	for i, k := range kinds {
		table[i] = make([]outcome, len(clients))
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			for n, c := range clients {
				var err error
				table[i][n], err = try(t, k, c)
				if err != nil {
					logs[i] += fmt.Sprintf("%s, %s: %v\n", k.Name, c.name, err)
				}
			}
		})
	}
	running.Wait()
	t.Logf("\n%s\n%s", format(kinds, clients, table), strings.Join(logs, ""))
	for i, k := range kinds {
		for n, c := range clients {
			if k.Name == fakeregistry.Conforming && table[i][n] != copied {
				t.Errorf("%s does not copy at all", c.name)
			}
		}
		for n, c := range clients[1:] {
			if table[i][0] != copied && table[i][1+n] == copied {
				t.Errorf("%s: %s copies the image, and %s does not", k.Name, c.name, clients[0].name)
			}
		}
	}
}

// try copies an image and compares the result.
func try(t *testing.T, k fakeregistry.Kind, c client) (outcome, error) {
	source, target, digest := fakeregistry.StartKind(t, k)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	err := c.copy(ctx, writeCredentials(t, source.Host, target.Host), source.Host+"/a:v1", target.Host+"/a:v1")
	source.SetFault(nil)
	target.SetFault(nil)
	switch {
	case ctx.Err() != nil:
		return hung, err
	case err != nil:
		return failed, err
	}
	if got := fakeregistry.Digest(t, target.Host+"/a:v1"); got != digest {
		return failed, fmt.Errorf("the target has the digest %q", got)
	}
	fakeregistry.Verify(t, target.Host+"/a:v1")
	return copied, nil
}

// ours copies with this project's client.
func ours(ctx context.Context, _, source, target string) error {
	c := registry.New(registry.Options{Credential: func(context.Context, string) (auth.Credential, error) {
		return auth.Credential{Username: fakeregistry.User, Password: fakeregistry.Password}, nil
	}})
	m := &mirror.Mirror{Source: c, Target: c.ForPush(), Referrers: true}
	plan, err := m.Plan(ctx, []mirror.Job{{Source: source, Target: target}})
	if err == nil {
		err = m.Run(ctx, plan, &mirror.Progress{})
	}
	if err == nil {
		err = plan.Items[0].Err
	}
	return err
}

// run runs a program. The credentials are in a Docker configuration.
func run(ctx context.Context, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+dir, "REGISTRY_AUTH_FILE="+filepath.Join(dir, "config.json"))
	cmd.WaitDelay = 5 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		return fmt.Errorf("%w: %s", err, lines[len(lines)-1])
	}
	return nil
}

// writeCredentials writes a Docker configuration with the credentials for hosts.
func writeCredentials(t *testing.T, hosts ...string) (dir string) {
	t.Helper()
	auths := map[string]any{}
	for _, host := range hosts {
		auths[host] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(fakeregistry.User + ":" + fakeregistry.Password))}
	}
	text, err := json.Marshal(map[string]any{"auths": auths})
	dir = t.TempDir()
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// buildClients builds the program with the libraries of others.
func buildClients(t *testing.T) string {
	t.Helper()
	program, err := filepath.Abs(filepath.Join(root, ".cache", "compat", "clients"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, ".")
	cmd.Dir = "clients"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the clients: %v: %s", err, out)
	}
	return program
}

// format returns the table.
func format(kinds []fakeregistry.Kind, clients []client, table [][]outcome) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := []string{"REGISTRY"}
	for _, c := range clients {
		row = append(row, c.name)
	}
	_, _ = fmt.Fprintln(w, strings.Join(row, "\t"))
	for i, k := range kinds {
		row = []string{k.Name}
		for _, o := range table[i] {
			row = append(row, string(o))
		}
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // a builder does not fail
	return b.String()
}
