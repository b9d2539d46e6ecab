// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// mount writes the volumes, and again each second: a real kubelet follows
// changes too, but takes a minute.
func (p *pod) mount(ctx context.Context, object *corev1.Pod) error {
	if time.Since(p.mounted) < time.Second {
		return nil
	}
	if err := os.MkdirAll(p.dir(), 0o700); err != nil {
		return err
	}
	for _, v := range object.Spec.Volumes {
		if err := p.mountOne(ctx, object.Namespace, v); err != nil {
			return fmt.Errorf("volume %s: %w", v.Name, err)
		}
	}
	p.mounted = time.Now()
	return nil
}

func (p *pod) mountOne(ctx context.Context, namespace string, v corev1.Volume) error {
	files := map[string][]byte{}
	switch {
	case v.ConfigMap != nil && len(v.ConfigMap.Items) == 0:
		object, err := p.cfg.Client.CoreV1().ConfigMaps(namespace).Get(ctx, v.ConfigMap.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for name, text := range object.Data {
			files[name] = []byte(text)
		}
	case v.Secret != nil && len(v.Secret.Items) == 0:
		object, err := p.cfg.Client.CoreV1().Secrets(namespace).Get(ctx, v.Secret.SecretName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		files = object.Data
	case v.Projected != nil && strings.HasPrefix(v.Name, "kube-api-access-"):
		return nil // the token, see environment
	default:
		return errors.New("only a whole ConfigMap or Secret can be mounted")
	}
	return writeAtomically(p.dir(v.Name), files)
}

// writeAtomically writes files the way a kubelet does: into a new folder, to
// which then one symlink is turned, so that a reader sees the old files or the
// new ones and never some of each.
func writeAtomically(dir string, files map[string][]byte) error {
	current := filepath.Join(dir, "..data")
	if same(current, files) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(dir, "..new-")
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(fresh, name), text, 0o600); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	stale, _ := os.Readlink(current) // none, the first time
	if err := os.Symlink(filepath.Base(fresh), current+"-next"); err != nil {
		return err
	}
	if err := os.Rename(current+"-next", current); err != nil {
		return err
	}
	if stale != "" {
		return os.RemoveAll(filepath.Join(dir, stale))
	}
	return nil
}

func same(dir string, files map[string][]byte) bool {
	have, err := os.ReadDir(dir)
	if err != nil || len(have) != len(files) {
		return false
	}
	for name, text := range files {
		if old, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(old) != string(text) {
			return false
		}
	}
	return true
}

// paths replaces what lies below a mount of the container by where it is.
func (p *pod) paths(container corev1.Container) *strings.Replacer {
	var pairs []string
	for _, m := range container.VolumeMounts {
		pairs = append(pairs, m.MountPath+"/", p.dir(m.Name)+"/")
	}
	return strings.NewReplacer(pairs...)
}
