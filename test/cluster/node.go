// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// The components of a node, which BuildNode adds to those of Build.
const (
	Scheduler = "kube-scheduler"
	Kubelet   = "kubelet"
	Proxy     = "kube-proxy"
)

// BuildNode returns a folder like that of Build, with the programs of a node
// in it as well. They share one executable, whose first build takes a minute
// longer than that of Build. Released programs are not used: there is no folder
// of them that has a kubelet.
func BuildNode(ctx context.Context, dir string, log io.Writer) (bin string, err error) {
	if log == nil {
		log = io.Discard
	}
	root, err := findRoot(dir)
	if err != nil {
		return "", err
	}
	version, sum, err := fingerprint(sourceDir(root))
	if err != nil {
		return "", err
	}
	bin = filepath.Join(cacheDir(root), version+"-"+sum+"-node")
	if err := os.MkdirAll(cacheDir(root), 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(cacheDir(root), "lock"), log)
	if err != nil {
		return "", fmt.Errorf("waiting for another build of Kubernetes: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(filepath.Join(bin, Proxy)); err == nil && complete(bin) {
		return bin, nil
	}
	begin := time.Now()
	fmt.Fprintf(log, "building Kubernetes %s with its node from source; the first time takes five to ten minutes\n", version)
	err = publish(bin, func(tmp string) error {
		if err := compile(ctx, sourceDir(root), filepath.Join(tmp, "kube"), version, log, "node"); err != nil {
			return fmt.Errorf("building Kubernetes %s in %s: %w", version, sourceDir(root), err)
		}
		var errs []error
		for _, name := range append(programs(), Scheduler, Kubelet, Proxy) {
			errs = append(errs, os.Symlink("kube", filepath.Join(tmp, name)))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return "", err
	}
	fmt.Fprintf(log, "built %s in %s\n", bin, time.Since(begin).Round(time.Second))
	return bin, nil
}
