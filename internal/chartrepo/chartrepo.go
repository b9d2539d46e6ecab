// SPDX-License-Identifier: Apache-2.0

// Package chartrepo writes a classic repository of Helm charts, which is index.yaml and
// archives, for what fetches charts by HTTP and not from a registry.
package chartrepo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/gofrs/flock"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/internal/atomicfile"
	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/catalog/track"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// The names of files in the folder.
const (
	indexFile = "index.yaml"
	lockFile  = ".lock" // held while a run changes the folder
)

// Options are those of Run. Rules, Folder and Out are required.
type Options struct {
	Rules *rewrite.Rules
	// Sets are those whose charts are written if the configuration names none.
	Sets []string
	// Charts has the command that parses indexes. Its other fields are not used.
	Charts chart.Options
	Cache  chart.Cache
	Folder string
	Out    io.Writer
	Warnf  func(format string, args ...any)
}

// Run adds the newest versions of the tracked charts to the folder. What the folder has
// stays, also if the repository has it no longer. A version that cannot be added does not
// stop the others, and is part of the error.
func Run(ctx context.Context, o Options) (err error) {
	for _, set := range o.Sets {
		if err := catalog.CheckSet(set); err != nil {
			return exitcode.Usagef("--set: %w", err)
		}
	}
	if err := os.MkdirAll(o.Folder, 0o755); err != nil {
		return exitcode.AsUsage(err)
	}
	t := track.Tracker{Rules: o.Rules, Charts: catalog.Charts(o.Sets), Options: o.Charts, Cache: o.Cache, Warnf: o.Warnf}
	versions, err := t.Versions(ctx)
	if err != nil {
		return err
	}
	lock := flock.New(filepath.Join(o.Folder, lockFile))
	if _, err := lock.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return fmt.Errorf("%s: %w", o.Folder, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	return update(ctx, o, versions)
}

// update adds versions to a folder that no other run changes meanwhile.
func update(ctx context.Context, o Options, versions []chart.Version) error {
	i, err := readIndex(o.Folder)
	if err != nil {
		return err
	}
	added := 0
	var failures []error
	for _, v := range versions {
		isNew, err := i.add(ctx, o, v)
		if err != nil {
			failures = append(failures, err)
		}
		if isNew {
			added++
		}
		if ctx.Err() != nil {
			return ctx.Err() // the index is as it was
		}
	}
	if err := i.write(o.Folder); err != nil {
		return errors.Join(append(failures, err)...)
	}
	if _, err := fmt.Fprintf(o.Out, "%s: %d versions of charts, %d of them new\n", o.Folder, i.count(), added); err != nil {
		return err
	}
	return errors.Join(failures...)
}

// index is index.yaml. Entries keep all that Chart.yaml says.
type index struct {
	APIVersion string                      `json:"apiVersion"`
	Entries    map[string][]map[string]any `json:"entries"`
	// Generated is the time of the newest version, so that the same versions make the same
	// file.
	Generated string `json:"generated,omitempty"`
}

// readIndex reads the index of a folder, which may have none.
func readIndex(folder string) (*index, error) {
	i := &index{APIVersion: "v1", Entries: map[string][]map[string]any{}}
	name := filepath.Join(folder, indexFile)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return i, nil
	}
	if err == nil {
		err = yaml.Unmarshal(text, i)
	}
	if err == nil && (i.APIVersion != "v1" || len(i.Entries) == 0) {
		err = errors.New("it is no index of charts")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: name another folder, or remove the file", name, err)
	}
	return i, nil
}

func (i *index) count() (n int) {
	for _, versions := range i.Entries {
		n += len(versions)
	}
	return n
}

// text returns a field of an entry, "" if it is none or no text.
func text(entry map[string]any, field string) string {
	s, _ := entry[field].(string)
	return s
}

// add fetches a version, writes its archive, and adds it to the index. It reports whether
// the index changes.
func (i *index) add(ctx context.Context, o Options, v chart.Version) (bool, error) {
	archive, err := o.Cache.Fetch(ctx, v)
	if err != nil {
		return false, fmt.Errorf("chart %s %s: %w", v.Chart, v.Version, err)
	}
	metadata, err := archive.ReadMetadata()
	if err != nil {
		return false, err
	}
	known := slices.IndexFunc(i.Entries[v.Chart], func(e map[string]any) bool { return text(e, "version") == v.Version })
	if known >= 0 {
		if has := text(i.Entries[v.Chart][known], "digest"); has != archive.Digest {
			return false, fmt.Errorf("chart %s %s: the repository has replaced the archive of this version: it was %s and is %s; ask its publisher, and to take the new one, remove the version from %s",
				v.Chart, v.Version, has, archive.Digest, filepath.Join(o.Folder, indexFile))
		}
	}
	file := v.Chart + "-" + v.Version + ".tgz" // neither has a slash, or the metadata would be invalid
	if err := writeFile(o.Folder, file, archive.Data); err != nil || known >= 0 {
		return false, err
	}
	entry := map[string]any{}
	if err := json.Unmarshal(metadata.JSON, &entry); err != nil {
		return false, err
	}
	entry["digest"] = archive.Digest
	entry["urls"] = []string{strings.ReplaceAll(file, "+", "%2B")} // S3 takes a plus for a space
	if v.Created != "" {
		entry["created"] = v.Created
	}
	i.Entries[v.Chart] = append(i.Entries[v.Chart], entry)
	return true, nil
}

// write replaces the index, unless it stays the same. Versions come in their order, newest
// first.
func (i *index) write(folder string) error {
	if i.count() == 0 {
		return nil // its failures are reported
	}
	i.Generated = ""
	for _, versions := range i.Entries {
		slices.SortStableFunc(versions, func(a, b map[string]any) int { return compare(text(b, "version"), text(a, "version")) })
		for _, e := range versions {
			if created := text(e, "created"); isLater(created, i.Generated) {
				i.Generated = created
			}
		}
	}
	content, err := yaml.Marshal(i)
	if err != nil {
		return err
	}
	return writeFile(folder, indexFile, content)
}

// compare compares by precedence, and those of the same precedence as text.
func compare(a, b string) int {
	va, errA := semver.NewVersion(a)
	vb, errB := semver.NewVersion(b)
	if errA != nil || errB != nil {
		return cmp.Compare(a, b)
	}
	return cmp.Or(va.Compare(vb), cmp.Compare(a, b))
}

// isLater compares times as an index has them.
func isLater(a, b string) bool {
	ta, err := time.Parse(time.RFC3339Nano, a)
	if err != nil {
		return false
	}
	tb, err := time.Parse(time.RFC3339Nano, b)
	return err != nil || ta.After(tb)
}

// writeFile replaces a file. The same content is not written again.
func writeFile(folder, name string, data []byte) error {
	name = filepath.Join(folder, name)
	if has, err := os.ReadFile(name); err == nil && bytes.Equal(has, data) {
		return nil
	}
	return atomicfile.Write(name, data)
}
