// SPDX-License-Identifier: Apache-2.0

package chartrepo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/s3bucket"
)

// index is index.yaml. Entries keep all that Chart.yaml says.
type index struct {
	APIVersion string                      `json:"apiVersion"`
	Entries    map[string][]map[string]any `json:"entries"`
	// Generated is the time of the newest version, so that the same versions make the same
	// file.
	Generated string `json:"generated,omitempty"`

	read []byte // the file
}

// readIndex reads the index of a place, which may have none.
func readIndex(ctx context.Context, p place) (*index, error) {
	i := &index{APIVersion: "v1", Entries: map[string][]map[string]any{}}
	content, err := p.readIndex(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return i, nil
	}
	if err != nil {
		return nil, err
	}
	if err = yaml.Unmarshal(content, i); err == nil && (i.APIVersion != "v1" || len(i.Entries) == 0) {
		err = errors.New("it is no index of charts")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: name another place, or remove the file", p.at(indexFile), err)
	}
	i.read = content
	return i, nil
}

func (i *index) count() (n int) {
	for _, versions := range i.Entries {
		n += len(versions)
	}
	return n
}

// text returns a field of an entry, "" if it is none or no text.
func text(fields map[string]any, field string) string {
	s, _ := fields[field].(string)
	return s
}

// entry is a version for the index.
type entry struct {
	of     chart.Version
	digest string
	fields map[string]any
}

// addArchive fetches a version, writes its archive, and returns its entry. The archive of a
// version that the index has must be the same.
func addArchive(ctx context.Context, o Options, p place, i *index, v chart.Version) (entry, error) {
	archive, err := o.Cache.Fetch(ctx, v)
	if err != nil {
		return entry{}, fmt.Errorf("chart %s %s: %w", v.Chart, v.Version, err)
	}
	metadata, err := archive.ReadMetadata()
	if err != nil {
		return entry{}, err
	}
	e := entry{v, archive.Digest, map[string]any{}}
	if err := json.Unmarshal(metadata.JSON, &e.fields); err != nil {
		return entry{}, err
	}
	if _, err := i.has(e, p); err != nil {
		return entry{}, err
	}
	file := v.Chart + "-" + v.Version + ".tgz" // neither has a slash, or the metadata would be invalid
	e.fields["digest"] = e.digest
	e.fields["urls"] = []any{strings.ReplaceAll(file, "+", "%2B")} // S3 takes a plus for a space
	if v.Created != "" {
		e.fields["created"] = v.Created
	}
	return e, p.addArchive(ctx, file, archive.Data)
}

// has reports whether the index has a version. It is an error if that is another archive.
func (i *index) has(e entry, p place) (bool, error) {
	known := i.Entries[e.of.Chart]
	at := slices.IndexFunc(known, func(fields map[string]any) bool { return text(fields, "version") == e.of.Version })
	if at < 0 {
		return false, nil
	}
	if has := text(known[at], "digest"); has != e.digest {
		return true, fmt.Errorf("chart %s %s: the repository has replaced the archive of this version: it was %s and is %s: ask its publisher, and to take the new one, remove the version from %s",
			e.of.Chart, e.of.Version, has, e.digest, p.at(indexFile))
	}
	return true, nil
}

// commit adds versions to the index and replaces it. If another run has replaced it
// meanwhile, the index gets what both have added. It returns how many versions are new, and
// errors about those that were refused.
func (i *index) commit(ctx context.Context, p place, repository string, entries []entry) (added int, refused []error, err error) {
	for range maxAttempts {
		added, refused = i.add(entries, p)
		i.locate(repository)
		if err := i.write(ctx, p); !errors.Is(err, s3bucket.ErrChanged) {
			return added, refused, err
		}
		theirs, err := readIndex(ctx, p)
		if err != nil {
			return 0, refused, err
		}
		*i = *theirs
	}
	return 0, nil, fmt.Errorf("%s: other runs replaced it %d times: see which schedules write it", p.at(indexFile), maxAttempts)
}

// add adds versions that the index does not have, and returns their number.
func (i *index) add(entries []entry, p place) (added int, refused []error) {
	for _, e := range entries {
		known, err := i.has(e, p)
		if err != nil {
			refused = append(refused, err)
		}
		if !known {
			i.Entries[e.of.Chart] = append(i.Entries[e.of.Chart], e.fields)
			added++
		}
	}
	return added, refused
}

// locate makes the addresses of the archives absolute or, without an address of the
// repository, relative to the index.
func (i *index) locate(repository string) {
	if repository != "" {
		repository = strings.TrimSuffix(repository, "/") + "/"
	}
	for _, versions := range i.Entries {
		for _, fields := range versions {
			if urls, ok := fields["urls"].([]any); ok && len(urls) > 0 {
				fields["urls"] = []any{repository + path.Base(fmt.Sprint(urls[0]))}
			}
		}
	}
}

// write replaces the index, unless it stays the same. Versions come in their order, newest
// first.
func (i *index) write(ctx context.Context, p place) error {
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
	if err != nil || bytes.Equal(content, i.read) {
		return err
	}
	return p.replaceIndex(ctx, content)
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
