// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

const prefix = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"

func sample() *Lock {
	return &Lock{APIVersion: APIVersion, Kind: Kind, Registry: prefix, Images: []Entry{
		{Source: "ghcr.io/castai/images/agent:v1", Target: prefix + "/agent:v1", Digest: digest.FromString("a"), MediaType: "application/vnd.oci.image.index.v1+json", Size: 7, Platforms: []string{"linux/amd64"}, Why: []string{"set phase1"}},
		{Source: "docker.io/library/busybox:1", Target: prefix + "/docker.io/library/busybox:1", Digest: digest.FromString("b"), SourceDigest: digest.FromString("c"), MediaType: "m", Referrers: []digest.Digest{digest.FromString("d")}},
	}, NotCopied: []NotCopied{{Source: "X Y", Why: []string{"pod.yaml:3"}}}}
}

func TestWriteAndRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), DefaultFile)
	l := sample()
	for range 2 { // the second replaces the first
		if err := l.Write(file); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	l.Images[0], l.Images[1] = l.Images[1], l.Images[0] // by source
	if !reflect.DeepEqual(got, l) {
		t.Errorf("got  %+v\nwant %+v", got, l)
	}
	rewritten, err := got.Marshal()
	text, _ := os.ReadFile(file)
	if err != nil || string(rewritten) != string(text) {
		t.Errorf("%v\n%s\n%s", err, rewritten, text)
	}
	files, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(files) != 1 {
		t.Errorf("%v %v: temporary files remain", err, files)
	}
	if i, ok := got.Lookup("us-docker.pkg.dev/castai-hub/library/agent:v1", prefix+"/agent:v1"); !ok || i.Size != 7 {
		t.Errorf("%v %+v", ok, i)
	}
	if got := (&Lock{Images: got.Images[:1]}).RemovedSince(got); len(got) != 1 || got[0] != "ghcr.io/castai/images/agent:v1" {
		t.Errorf("removed: %v", got)
	}
	var none *Lock
	if _, ok := none.Lookup("x", "y"); ok || l.RemovedSince(none) != nil {
		t.Error("a nil lock has entries")
	}
}

func TestAWriteThatFailsLeavesTheOldFile(t *testing.T) {
	dir := t.TempDir()
	if err := sample().Write(filepath.Join(dir, "no", "folder")); err == nil {
		t.Error("no error without a folder")
	}
	// A folder cannot be replaced by a file.
	if err := os.MkdirAll(filepath.Join(dir, "taken", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := sample().Write(filepath.Join(dir, "taken")); err == nil {
		t.Error("no error")
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%v: temporary files remain", files)
	}
}

func TestAnEmptyLockDoesNotReplaceAFilledOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), DefaultFile)
	if err := sample().Write(file); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(file)
	empty := &Lock{Registry: prefix, NotCopied: []NotCopied{{Source: "ghcr.io/castai/images/agent:v1"}}}
	if err := empty.Write(file); err == nil || !strings.Contains(err.Error(), "lists no image") || !strings.Contains(err.Error(), "the file was not written") {
		t.Errorf("error %v", err)
	}
	if after, _ := os.ReadFile(file); string(after) != string(before) {
		t.Errorf("the file is now:\n%s", after)
	}
}

func TestASymbolicLinkIsReplacedAndNotFollowed(t *testing.T) {
	dir := t.TempDir()
	file, other := filepath.Join(dir, DefaultFile), filepath.Join(dir, "other")
	if err := errors.Join(os.WriteFile(other, []byte("x"), 0o600), os.Symlink(other, file)); err != nil {
		t.Skip(err)
	}
	if err := sample().Write(file); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(other); err != nil || string(text) != "x" {
		t.Errorf("the file that the link named is %q, %v", text, err)
	}
	if info, err := os.Lstat(file); err != nil || !info.Mode().IsRegular() {
		t.Errorf("%v, %v", info, err)
	}
}

func TestCheckWritable(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "lock.yaml")
	for range 2 { // without and with the file
		if err := CheckWritable(file); err != nil {
			t.Error(err)
		}
		if err := sample().Write(file); err != nil {
			t.Fatal(err)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%v, %v: temporary files remain", files, err)
	}
	for name, tc := range map[string]struct{ file, want string }{
		"a folder that does not exist": {filepath.Join(dir, "none", "lock.yaml"), "the folder " + filepath.Join(dir, "none") + " does not exist: create it"},
		"a folder":                     {dir, "is not a regular file"},
		"a file as a folder":           {filepath.Join(file, "lock.yaml"), file},
	} {
		if err := CheckWritable(tc.file); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
}

func TestReadErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("error %v", err)
	}
}

func TestInvalidFiles(t *testing.T) {
	text, err := sample().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	good := string(text)
	const header = "apiVersion: " + APIVersion + "\nkind: Lock\nregistry: " + prefix + "\n"
	for name, tc := range map[string]struct{ old, new, want string }{
		"no YAML":                 {good, "a: [", "l.yaml: "},
		"two branches":            {good, "<<<<<<< HEAD\n" + good + "=======\n" + good + ">>>>>>> mirror\n", "l.yaml has conflict markers of git: keep the images of both sides"},
		"a version that is none":  {"images:", "tracked: {castai: newest}\nimages:", `tracked.castai "newest"`},
		"an unknown key":          {"size: 7", "sice: 7", "field sice not found"},
		"another kind":            {"kind: Lock", "kind: Config", "not privatelink.cast.ai/v1alpha1 Lock"},
		"no registry":             {"registry: " + prefix, "registry: \"\"", "registry is missing"},
		"no target":               {"target: " + prefix + "/agent:v1", "target: \"\"", "images[1]: source and target are required"},
		"an invalid digest":       {digest.FromString("a").String(), "sha256:12", `images[1].digest "sha256:12"`},
		"another registry":        {"target: " + prefix + "/agent:v1", "target: quay.io/agent:v1", "not below the registry"},
		"one target, two digests": {"target: " + prefix + "/agent:v1", "target: " + prefix + "/docker.io/library/busybox:1", "has another digest in images[0]"},
		"nothing":                 {good, "", "the file is empty"},
		"only a comment":          {good, "# nothing\n", "the file is empty"},
		"a second document":       {good, good + "---\n" + good, "a second document follows"},
		"an empty second one":     {good, good + "---\n", "a second document follows"},
		"no images":               {good, header + "images: []\n", "lists no image"},
		"no list of images":       {good, header, "lists no image"},
		"only failures":           {good, header + "notCopied: [{source: a}]\n", "lists no image"},
		"null as an image":        {good, header + "images: [null]\n", "images[0] is null"},
		"null in a list":          {"images:\n", "images:\n  -\n", "images[0] is null"},
		"null in an image":        {digest.FromString("d").String(), "~", "images[0].referrers[0] is null"},
		"an empty image":          {good, header + "images: [{}]\n", "images[0]: source and target are required"},
		"null alone":              {good, "null", "the document is null"},
		"a separator alone":       {good, "---\n", "the document is null"},
		"a string as an image":    {good, header + "images: [a]\n", "line 4: cannot unmarshal"},
		"a map of images":         {good, header + "images: {a: b}\n", "line 4: cannot unmarshal"},
		"a list":                  {good, "[" + header + "]", "l.yaml: "},
		"a key that is repeated":  {good, good + "kind: Lock\n", "already defined"},
		"a source of two lines":   {"source: ghcr.io/castai/images/agent:v1", `source: "ghcr.io/castai/images/agent:v1\nx"`, `images[1].source "ghcr.io/castai/images/agent:v1\nx": invalid reference format`},
		"a target that climbs":    {"target: " + prefix + "/agent:v1", "target: " + prefix + "/../agent:v1", "images[1].target"},
		"a target of a digest":    {"target: " + prefix + "/agent:v1", "target: " + prefix + "/agent@" + digest.FromString("x").String(), "its digest differs"},
		"a source digest":         {digest.FromString("c").String(), "c", `images[0].sourceDigest "c"`},
		"a negative size":         {"size: 7", "size: -7", "images[1].size -7 is negative"},
		"a referrer":              {digest.FromString("d").String(), "d", `images[0].referrers[0] "d"`},
		"a failure without name":  {"source: X Y", "target: " + prefix + "/x", "notCopied[0].source is missing"},
		"a failure elsewhere":     {"source: X Y", "source: X Y\n    target: quay.io/x", "notCopied[0].target"},
		"a chart without a URL":   {"size: 7", "size: 7\n    chart: {digest: \"" + digest.FromString("a").String() + "\"}", `images[1].chart.url "": is no http or https URL`},
		"a chart in a file":       {"size: 7", chartAt("file:///etc/passwd"), `images[1].chart.url "file:///etc/passwd": is no http or https URL`},
		"a chart with a password": {"size: 7", chartAt("https://user:secret@charts.example.com/a.tgz"), `images[1].chart.url "https://user:xxxxx@charts.example.com/a.tgz": has a user name or password`},
		"a chart without digest":  {"size: 7", "size: 7\n    chart: {url: \"https://charts.example.com/a.tgz\"}", `images[1].chart.digest ""`},
		"a chart of another hash": {"size: 7", strings.Replace(chartAt("https://charts.example.com/a.tgz"), "sha256:", "sha1:", 1), `images[1].chart.digest "sha1:`},
		"a chart that is a list":  {"size: 7", "size: 7\n    chart: [a]", "line "},
		"a failed chart":          {"source: X Y", "source: X Y\n    chart: {url: 'oci://a/b', digest: ''}", `notCopied[0].chart.url "oci://a/b": is no http or https URL`},
		"tracked as a list":       {"images:", "tracked: [castai]\nimages:", "line "},
		"a tracked chart of null": {"images:", "tracked: {castai: ~}\nimages:", "tracked.castai is null"},
		"a file of gigabytes":     {good, good + strings.Repeat("#", maxSize), "larger than 4 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("l.yaml", []byte(strings.Replace(good, tc.old, tc.new, 1)))
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "l.yaml") {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// chartAt is the size of an image, and a chart.
func chartAt(url string) string {
	return "size: 7\n    chart: {url: '" + url + "', digest: \"" + digest.FromString("a").String() + "\"}"
}

func FuzzParse(f *testing.F) {
	text, err := sample().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(append(append(text, "---\n"...), text...))
	f.Add([]byte("apiVersion: " + APIVersion + "\nkind: Lock\nregistry: r.example.com\nimages: [null, &a {source: a, target: r.example.com/a}, *a]\n"))
	f.Add([]byte("{apiVersion: " + APIVersion + ", kind: Lock, registry: r.example.com, images: {<<: [a]}, notCopied: [{source: \"\\0\"}]}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := Parse("f", text)
		if err != nil {
			return
		}
		rewritten, err := l.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse("f", rewritten); err != nil {
			t.Errorf("the written file cannot be read: %v\n%s", err, rewritten)
		}
	})
}

func TestAdd(t *testing.T) {
	entry := func(source, target string) Entry { return Entry{Source: source, Target: target} }
	l := &Lock{Images: []Entry{entry("a", "T/a")}, NotCopied: []NotCopied{{Source: "b"}}}
	l.Add(nil)
	l.Add(&Lock{Images: []Entry{entry("a", "T/a"), entry("other name of a", "T/a"), entry("c", "T/c")}, NotCopied: []NotCopied{{Source: "b"}, {Source: "a", Target: "T/a"}, {Source: "d"}}})
	var got []string
	for _, e := range l.Images {
		got = append(got, e.Source)
	}
	for _, n := range l.NotCopied {
		got = append(got, n.Source)
	}
	if text := strings.Join(got, " "); text != "a c b d" {
		t.Error(text)
	}
}

// Of two runs, one copied what the other could not: the order of their locks is irrelevant.
func TestAddedImagesAreCopied(t *testing.T) {
	locks := func() (failed, copied *Lock) {
		failed = &Lock{NotCopied: []NotCopied{{Source: "a", Target: "T/a"}, {Source: "b", Target: "T/b"}, {Source: "unmapped"}, {Source: "c", Target: "T/new"}}}
		return failed, &Lock{Images: []Entry{{Source: "a", Target: "T/a"}, {Source: "other name of b", Target: "T/b"}}}
	}
	failed, copied := locks()
	failed.Add(copied)
	first, second := locks()
	second.Add(first)
	for _, l := range []*Lock{failed, second} {
		if want := []NotCopied{{Source: "unmapped"}, {Source: "c", Target: "T/new"}}; !reflect.DeepEqual(l.NotCopied, want) || len(l.Images) != 2 {
			t.Errorf("%+v, want %+v", l, want)
		}
	}
	failed.Add(&Lock{Images: []Entry{{Source: "c", Target: "T/old"}}})
	if len(failed.NotCopied) != 2 {
		t.Errorf("%+v: the image is copied to another target only", failed.NotCopied)
	}
	moved := &Lock{Images: []Entry{{Source: "a", Target: "T/new"}}, NotCopied: []NotCopied{{Source: "b", Target: "T/old"}}}
	moved.Add(&Lock{Images: []Entry{{Source: "a", Target: "T/old"}}})
	if _, ok := moved.Lookup("b", "T/old"); !ok && len(moved.NotCopied) != 1 {
		t.Errorf("%+v has b neither as copied nor as not copied", moved)
	}
}

// Of two runs that have tracked charts, the newer versions count.
func TestTheVersionsOfTwoLocksAreTheNewer(t *testing.T) {
	l := &Lock{Tracked: map[string]string{"agent": "0.9.0", "castai": "1.1.0"}}
	l.Add(&Lock{Tracked: map[string]string{"agent": "0.19.0", "castai": "1.0.0", "evictor": "1.0.0"}})
	if want := map[string]string{"agent": "0.19.0", "castai": "1.1.0", "evictor": "1.0.0"}; !maps.Equal(l.Tracked, want) {
		t.Errorf("%v, want %v", l.Tracked, want)
	}
	var empty Lock
	if empty.Add(l); !maps.Equal(empty.Tracked, l.Tracked) {
		t.Errorf("%v", empty.Tracked)
	}
}
