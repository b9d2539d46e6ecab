// SPDX-License-Identifier: Apache-2.0

//go:build linux

package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// hierarchies are the roots of the cgroup trees: one of version 2, or one for
// each controller of version 1, or both.
func hierarchies() ([]string, error) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	var roots []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && (f[2] == "cgroup" || f[2] == "cgroup2") {
			roots = append(roots, f[1])
		}
	}
	if len(roots) == 0 {
		return nil, errors.New("no cgroups are mounted on this machine")
	}
	return roots, nil
}

// makeCgroup makes a cgroup of the name at the top of each hierarchy.
func makeCgroup(name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		dir := filepath.Join(root, name)
		// Of version 2, a controller has to be handed down; some may not be there.
		if all, err := os.ReadFile(filepath.Join(root, "cgroup.controllers")); err == nil {
			for c := range strings.FieldsSeq(string(all)) {
				_ = os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+c), 0o644)
			}
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("making a cgroup: %w", err)
		}
		// Of version 1, a cpuset begins with no processor at all.
		for _, file := range []string{"cpuset.mems", "cpuset.cpus"} {
			if parent, err := os.ReadFile(filepath.Join(root, file)); err == nil && len(strings.TrimSpace(string(parent))) > 0 {
				if err := os.WriteFile(filepath.Join(dir, file), parent, 0o644); err != nil {
					return fmt.Errorf("setting up a cgroup: %w", err)
				}
			}
		}
	}
	return nil
}

// removeCgroup removes the cgroups of the name and all below. The processes in
// them were killed, and may need a moment to be gone.
func removeCgroup(name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range roots {
		var dirs []string
		_ = filepath.WalkDir(filepath.Join(root, name), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil // what is gone already need not be removed
		})
		for _, dir := range slices.Backward(dirs) {
			errs = append(errs, removeOne(dir))
		}
	}
	return errors.Join(errs...)
}

// RemoveBelow removes the named cgroup below Cgroup. The processes in it have
// to have been killed.
func RemoveBelow(name string) error { return removeCgroup(filepath.Join(cgroup, name)) }

func removeOne(dir string) (err error) {
	for range 100 {
		if err = syscall.Rmdir(dir); err == nil || errors.Is(err, syscall.ENOENT) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("removing the cgroup %s: %w", dir, err)
}

// sweep removes what machines left whose outer process was killed. Everything
// else ended with them.
func sweep() error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range roots {
		dirs, _ := filepath.Glob(filepath.Join(root, prefix+"*")) // the pattern is well-formed
		for _, dir := range dirs {
			name := filepath.Base(dir)
			pid, err := strconv.Atoi(strings.TrimPrefix(name, prefix))
			if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				errs = append(errs, removeCgroup(name))
			}
		}
	}
	return errors.Join(errs...)
}
