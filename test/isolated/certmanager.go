// SPDX-License-Identifier: Apache-2.0

//go:build linux

package isolated

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The two programs of cert-manager. They run next to the control plane, where
// their own images are not needed.
const (
	CertManager = "cert-manager"
	CAInjector  = "cainjector"
)

var certManagerModule = filepath.Join("test", "isolated", "certmanager")

func (p Programs) definition(kind string) string {
	return filepath.Join(p.certManager(), "cert-manager.io_"+kind+".yaml")
}

// definitions are the kinds that the controllers watch.
func definitions() []string {
	return []string{"issuers", "clusterissuers", "certificates", "certificaterequests"}
}

// copyDefinitions copies them from cert-manager's module, which cannot be
// embedded by another one.
func (p Programs) copyDefinitions(ctx context.Context) error {
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cert-manager/cert-manager")
	list.Dir = filepath.Join(p.Root, certManagerModule)
	list.Env = append(os.Environ(), "GOWORK=off")
	out, err := list.Output()
	if err != nil {
		return fmt.Errorf("looking for the module of cert-manager: %w", err)
	}
	files := map[string]string{}
	for _, kind := range definitions() {
		to := p.definition(kind)
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "deploy", "crds", filepath.Base(to)))
		if err != nil {
			return err
		}
		files[to] = string(text)
	}
	return write(files)
}

// StartCertManager installs cert-manager: its definitions and its controllers.
func (n *Node) StartCertManager(ctx context.Context) error {
	for _, kind := range definitions() {
		// Their size exceeds what client-side apply can record in an annotation.
		for _, args := range [][]string{
			{"apply", "--server-side", "-f", n.definition(kind)},
			{"wait", "--for=condition=Established", "crd/" + kind + ".cert-manager.io", "--timeout=30s"},
		} {
			if _, err := n.Kubectl(ctx, nil, args...); err != nil {
				return err
			}
		}
	}
	return errors.Join(n.runCertManager(CertManager, "controller"), n.runCertManager(CAInjector, "cainjector"))
}

func (n *Node) runCertManager(name string, args ...string) error {
	return n.run(name, 5*time.Second, filepath.Join(n.certManager(), "certmanager"), append(args, "--kubeconfig="+n.Kubeconfig)...)
}

// ReplaceCAInjector starts it again with other feature gates.
func (n *Node) ReplaceCAInjector(gates string) error {
	return errors.Join(n.remove(CAInjector), n.runCertManager(CAInjector, "cainjector", "--feature-gates="+gates))
}

// StopCertManager removes what StartCertManager installed.
func (n *Node) StopCertManager(ctx context.Context) error {
	err := n.remove(CertManager, CAInjector)
	for _, kind := range definitions() {
		_, left := n.Kubectl(ctx, nil, "delete", "--ignore-not-found", "--timeout=60s", "crd", kind+".cert-manager.io")
		err = errors.Join(err, left)
	}
	return err
}

// remove stops components for good.
func (n *Node) remove(names ...string) (err error) {
	n.components = slices.DeleteFunc(n.components, func(c *component) bool {
		if !slices.Contains(names, c.name) {
			return false
		}
		err = errors.Join(err, c.Stop())
		return true
	})
	return err
}
