// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// A server is one program to be measured.
type server struct {
	name  string
	path  string
	args  func(addr string) ([]string, error)
	check check
}

// The names under which the report knows the servers.
const (
	ours  = "privatelink"
	stock = "kubewebhook"
)

// session is everything that the rounds share.
type session struct {
	certificate certificate
	config      string
	servers     []server // ours is the last
}

// prepare writes the files that the servers need, and builds the servers.
func prepare(ctx context.Context, o options, dir string, log io.Writer) (session, error) {
	c, err := newCertificate(dir)
	if err != nil {
		return session{}, fmt.Errorf("certificate: %w", err)
	}
	s := session{certificate: c, config: filepath.Join(dir, "privatelink.yaml")}
	config := "apiVersion: privatelink.cast.ai/v1alpha1\nkind: Config\nregistry: " + registry + "\n"
	if err := os.WriteFile(s.config, []byte(config), 0o644); err != nil {
		return session{}, err
	}

	self, err := os.Executable()
	if err != nil {
		return session{}, err
	}
	s.servers = append(s.servers, server{echoName, self, s.peerArgs(echoName), checkEcho})

	if o.peers == "stock" {
		path := filepath.Join(dir, stock)
		if err := build(ctx, log, filepath.Join("test", "bench", "peers", stock), ".", path); err != nil {
			return session{}, err
		}
		s.servers = append(s.servers, server{stock, path, s.peerArgs(), checkPeer})
	}

	path := filepath.Join(dir, "privatelink-webhook")
	if o.server != "" {
		path, err = filepath.Abs(o.server)
	} else {
		err = build(ctx, log, "", "./cmd/privatelink-webhook", path)
	}
	if err != nil {
		return session{}, err
	}
	s.servers = append(s.servers, server{ours, path, s.ourArgs, checkOurs})
	return s, nil
}

// peerArgs are what every peer takes: address, certificate file, key file.
func (s session) peerArgs(before ...string) func(string) ([]string, error) {
	return func(addr string) ([]string, error) {
		return append(before[:len(before):len(before)], addr, s.certificate.certFile, s.certificate.keyFile), nil
	}
}

func (s session) ourArgs(addr string) ([]string, error) {
	metrics, err := freeAddr()
	if err != nil {
		return nil, err
	}
	return s.ourArgsWith(addr, metrics), nil
}

func (s session) ourArgsWith(addr, metrics string) []string {
	return []string{
		"--config", s.config, "--listen", addr, "--metrics-listen", metrics,
		"--tls-cert-file", s.certificate.certFile, "--tls-private-key-file", s.certificate.keyFile,
		"--log-level", "error",
	}
}

// build compiles a package as a release does: static, stripped, without the
// paths of the machine. The folder is relative to our module.
func build(ctx context.Context, log io.Writer, dir, pkg, to string) error {
	root, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env GOMOD: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", to, pkg)
	cmd.Dir = filepath.Join(filepath.Dir(string(bytes.TrimSpace(root))), dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	cmd.Stdout, cmd.Stderr = log, log
	fmt.Fprintln(log, "building", filepath.Base(to))
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w", filepath.Base(to), err)
	}
	return nil
}
