// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// borrow makes use of released programs, for example those that setup-envtest
// downloads. They come without a controller manager, without which no
// Deployment becomes a pod: that one then comes from this repository.
func borrow(ctx context.Context, root, assets string, log io.Writer) (string, error) {
	assets, err := filepath.Abs(assets)
	if err != nil {
		return "", err
	}
	var missing []string
	for _, name := range programs() {
		if _, err := os.Stat(filepath.Join(assets, name)); err != nil {
			missing = append(missing, name)
		}
	}
	switch {
	case len(missing) == 0:
		return assets, nil
	case len(missing) > 1 || missing[0] != ControllerManager:
		return "", fmt.Errorf("KUBEBUILDER_ASSETS=%s lacks %v: name a folder with %s, %s and kubectl, or unset it and they are built from source",
			assets, missing, Etcd, APIServer)
	}
	fmt.Fprintf(log, "%s has no %s: using that of this repository, which may be newer than the API server\n", assets, ControllerManager)
	prepared, err := prepare(ctx, root, variant{}, log)
	if err != nil {
		return "", err
	}
	bin := filepath.Join(cacheDir(root), fmt.Sprintf("assets-%x", sha256.Sum256([]byte(assets+"\n"+prepared)))[:len("assets-")+12])
	if complete(bin) {
		return bin, nil
	}
	return bin, publish(bin, func(tmp string) error {
		var errs []error
		for _, name := range programs() {
			from := assets
			if name == ControllerManager {
				from = prepared
			}
			errs = append(errs, os.Symlink(filepath.Join(from, name), filepath.Join(tmp, name)))
		}
		return errors.Join(errs...)
	})
}

// complete reports whether every program is there; a symlink must lead to one.
func complete(bin string, more ...string) bool {
	for _, name := range append(programs(), more...) {
		if info, err := os.Stat(filepath.Join(bin, name)); err != nil || !info.Mode().IsRegular() {
			return false
		}
	}
	return true
}

// publish lets fill work in a temporary folder and then renames it: a build
// that was interrupted is never taken for one that is done.
func publish(dir string, fill func(tmp string) error) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "unfinished-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := errors.Join(os.Chmod(tmp, 0o755), fill(tmp)); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil { // an incomplete one; a folder cannot be renamed onto it
		return err
	}
	if err := os.Rename(tmp, dir); err != nil && !complete(dir) {
		return err // unless another process was faster
	}
	return nil
}
