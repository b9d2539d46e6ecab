// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// versionVariable asks for a minor version of Kubernetes, such as 1.36.
const versionVariable = "K8S"

// release is a Kubernetes that can be built: a module file and the version that
// it requires. Each has a module file of its own, since the dependencies of one
// are not those of another; the source is the same for all.
type release struct {
	modfile string // below test/e2e/framework/cluster/kube: go.mod, or versions/1.36.mod
	version string // v1.36.3
	etcd    string // v3.6.8
}

// sumfile is the go.sum of a module file.
func (r release) sumfile() string { return strings.TrimSuffix(r.modfile, ".mod") + ".sum" }

// choose finds the release for a minor version. The default is what go.mod
// requires, by its number or for the empty string.
func choose(source, minor string) (release, error) {
	standard, err := readRelease(source, "go.mod")
	if err != nil || minor == "" || minor == minorOf(standard.version) {
		return standard, err
	}
	older, err := versions(source)
	if err != nil {
		return release{}, err
	}
	if !slices.Contains(older, minor) {
		known := append(older, minorOf(standard.version)+" (the default)")
		return release{}, fmt.Errorf("%s=%s: unknown version of Kubernetes; known are %s, from the module files in %s",
			versionVariable, minor, strings.Join(known, ", "), filepath.Join(source, "versions"))
	}
	r, err := readRelease(source, filepath.Join("versions", minor+".mod"))
	if err == nil && minorOf(r.version) != minor {
		// Else tests would pass in the name of a version that they never met.
		err = fmt.Errorf("%s requires Kubernetes %s: rename it, or require a v%s", filepath.Join(source, r.modfile), r.version, minor)
	}
	return r, err
}

// versions lists the minor versions other than the default, oldest first.
func versions(source string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(source, "versions", "*.mod"))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range files {
		out = append(out, strings.TrimSuffix(filepath.Base(f), ".mod"))
	}
	slices.SortFunc(out, func(a, b string) int { return number(a) - number(b) })
	return out, nil
}

// number is the 36 of 1.36, so that 1.9 would come before 1.10. A file with any
// other name comes first; the list of the known shows it.
func number(minor string) int {
	_, digits, _ := strings.Cut(minor, ".")
	n, _ := strconv.Atoi(digits)
	return n
}

// readRelease reads a module file, and checks that its sums exist: go itself
// would report each of hundreds of modules.
func readRelease(source, modfile string) (release, error) {
	path := filepath.Join(source, modfile)
	text, err := os.ReadFile(path)
	if err != nil {
		return release{}, err
	}
	r := release{modfile: modfile, version: requiredVersion(string(text), "k8s.io/kubernetes"), etcd: requiredVersion(string(text), "go.etcd.io/etcd/server/v3")}
	if r.version == "" {
		return r, fmt.Errorf("%s does not require k8s.io/kubernetes: run `go get -modfile=%s k8s.io/kubernetes@VERSION` in %s", path, modfile, source)
	}
	if _, err := os.Stat(filepath.Join(source, r.sumfile())); errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("%s lacks %s next to it: run `go mod tidy -modfile=%s` in %s", path, filepath.Base(r.sumfile()), modfile, source)
	}
	return r, nil
}

// requiredVersion finds the version of a required module in a module file.
func requiredVersion(text, module string) string {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == module {
			return f[1]
		}
	}
	return ""
}

// minorOf is the 1.36 of v1.36.3.
func minorOf(version string) string {
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	return major + "." + minor
}
