// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// child is the first argument that makes of this test binary the rendering process.
const child = "render"

func TestMain(m *testing.M) {
	if len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	switch os.Args[1] {
	case child:
		if err := Serve(context.Background(), os.Stdin, os.Stdout, os.Exit); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "panic":
		panic("out of luck")
	case "babble":
		fmt.Println("no JSON")
	case "flood":
		for {
			if _, err := os.Stdout.Write(make([]byte, 1<<20)); err != nil {
				os.Exit(1)
			}
		}
	default:
		os.Exit(m.Run())
	}
	os.Exit(0)
}

func TestAProcessOfItsOwnRendersTheSame(t *testing.T) {
	for name, o := range map[string]Options{
		"a folder":                 {Chart: "testdata/agent", Set: []string{"gpu.enabled=true,gpu.image=nvcr.io/gpu:1"}},
		"an archive":               {Chart: packed(t, t.TempDir(), "1.5.0")[0], Release: "mine", Namespace: "omni", APIVersions: []string{"monitoring.coreos.com/v1"}},
		"values":                   {Chart: "testdata/agent", Values: []string{"testdata/values/first.yaml", "-"}},
		"levels":                   {Chart: folder(t, levels())},
		"a large number":           {Chart: folder(t, map[string]string{"Chart.yaml": metadata("n", "1.0.0"), "templates/pod.yaml": pod("quay.io/acme/x:{{ .Values.n }}")}), Set: []string{"n=1234567890"}},
		"a chart with a failure":   {Chart: "testdata/demanding", Set: []string{"fault=required"}},
		"a chart that is not done": {Chart: "testdata/undone"},
	} {
		t.Run(name, func(t *testing.T) {
			render := func(command ...string) (Rendered, string) {
				o.Command, o.Stdin = command, strings.NewReader("busybox: busybox:9\n")
				r, err := Render(t.Context(), o)
				return r, fmt.Sprint(err)
			}
			want, wantErr := render()
			got, err := render(os.Args[0], child)
			if d := cmp.Diff(want, got); d != "" || err != wantErr {
				t.Errorf("error %s, want %s; rendered (-want +got):\n%s", err, wantErr, d)
			}
		})
	}
}

// pack returns an archive with the files of a chart, and others.
func pack(t *testing.T, files map[string][]byte, others ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, text := range files {
		others = append(others, tar.Header{Name: "top/" + name, Mode: 0o600, Size: int64(len(text))})
	}
	for _, h := range others {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(files[strings.TrimPrefix(h.Name, "top/")]); err != nil && h.Size > 0 {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// with is a small chart with more files.
func with(more map[string]string) map[string][]byte {
	files := map[string][]byte{"Chart.yaml": []byte(metadata("top", "1.0.0")), "templates/pod.yaml": []byte(pod("quay.io/acme/x:1"))}
	for name, text := range more {
		files[name] = []byte(text)
	}
	return files
}

// aliases is a YAML document of a few hundred bytes that expands to a billion items.
func aliases() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 9 {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 10), ", "))
	}
	return b.String()
}

func TestHostileChartsAreBounded(t *testing.T) {
	zeros := string(make([]byte, 90<<20))
	nested := map[string]string{}
	inner := string(pack(t, with(map[string]string{"files/zeros": zeros})))
	for i := range 8 {
		nested[fmt.Sprintf("charts/top%d.tgz", i)] = inner
	}
	many := make([]tar.Header, 200_000)
	for i := range many {
		many[i] = tar.Header{Name: fmt.Sprintf("top/files/%d", i), Mode: 0o600}
	}
	pods := func(text string) []byte { return pack(t, with(map[string]string{"templates/x.yaml": text})) }
	const endless = 512 // MiB, which these charts do not reach before the time is up
	for name, tc := range map[string]struct {
		archive []byte
		memory  int64 // MiB
		want    string
	}{
		"a text repeated a billion times":     {pods(`{{ repeat 1000000000 "abcdefgh" }}`), 256, "takes more than 256 MiB of memory: if you trust it"},
		"a text that doubles":                 {pods(`{{ $x := "a" }}{{ range until 60 }}{{ $x = print $x $x }}{{ end }}`), 256, "MiB of memory"},
		"a list that is copied in itself":     {pods(`{{ $x := list "a" }}{{ range until 60 }}{{ $x = concat $x $x }}{{ end }}`), endless, "if you trust it"},
		"a loop without an end":               {pods(`{{ range until 60000 }}{{ range until 60000 }}{{ end }}{{ end }}`), endless, "takes longer than 1s: if you trust it"},
		"a helper that includes itself":       {pods(`{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}`), 1024, "nested reference"},
		"a template that invokes itself":      {pods(`{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}`), 1024, "maximum template depth"},
		"a text that includes itself by tpl":  {pods(`{{ define "a" }}{{ tpl "{{ include \"a\" . }}" . }}{{ end }}{{ include "a" . }}`), 1024, ""},
		"a manifest that is too large":        {pods(`# {{ repeat 9000000 "x" }}` + "\n" + pod("quay.io/acme/x:1")), 1024, "templates/x.yaml renders to more than 8 MiB"},
		"manifests that are too many":         {pods(`{{ range until 6 }}` + "\n---\n# {{ repeat 7000000 \"x\" }}\n" + pod("quay.io/acme/x:1") + `{{ end }}`), 1024, "renders to more than 32 MiB"},
		"a file that unpacks to 180 MB":       {pack(t, with(map[string]string{"a": zeros, "b": zeros})), 1024, "larger than the maximum size"},
		"archives in the archive":             {pack(t, with(nested)), 256, "MiB of memory"},
		"very many files":                     {pack(t, with(nil), many...), 48, "MiB of memory"},
		"aliases in the values":               {pack(t, with(map[string]string{"values.yaml": aliases()})), 256, "excessive aliasing"},
		"aliases in Chart.yaml":               {pack(t, with(map[string]string{"Chart.yaml": metadata("top", "1.0.0") + aliases()})), 256, "excessive aliasing"},
		"a path above the archive":            {pack(t, with(nil), tar.Header{Name: "top/../../etc/x", Mode: 0o600}), 256, "parent directory"},
		"an absolute path":                    {pack(t, with(nil), tar.Header{Name: "top//etc/passwd", Mode: 0o600}), 256, "absolute path"},
		"a link to a file that has no secret": {pack(t, with(map[string]string{"templates/x.yaml": pod("{{ .Files.Get \"link\" | default \"quay.io/acme/none\" }}")}), tar.Header{Name: "top/link", Typeflag: tar.TypeSymlink, Linkname: "/etc/hostname"}), 256, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			l := defaultLimits()
			l.Memory = tc.memory << 20
			if tc.memory == endless {
				l.Time = time.Second
			}
			j := job{Source: source{From: "top.tgz", Archive: tc.archive}, Limits: l}
			got, err := j.runIn(t.Context(), []string{os.Args[0], child})
			if tc.want == "none" { // it is as good as empty
				if all := strings.Join(images(got), " "); err != nil || !strings.Contains(all, "quay.io/acme/none") {
					t.Errorf("%s, %v", all, err)
				}
				return
			}
			wantError(t, err, tc.want)
		})
	}
}

func TestTheEndOfTheContextKillsTheProcess(t *testing.T) {
	l := defaultLimits()
	l.Time = time.Hour
	j := job{Source: source{From: "top.tgz", Archive: pack(t, with(map[string]string{"templates/x.yaml": `{{ range until 60000 }}{{ range until 60000 }}{{ end }}{{ end }}`}))}, Limits: l}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := j.runIn(ctx, []string{os.Args[0], child}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestProcessesThatFail(t *testing.T) {
	for name, tc := range map[string]struct {
		command []string
		want    string
	}{
		"a crash":                   {[]string{os.Args[0], "panic"}, "chart testdata/agent: rendering it crashed (exit status 2: panic: out of luck"},
		"no result":                 {[]string{os.Args[0], "babble"}, "wrote no result"},
		"a result without end":      {[]string{os.Args[0], "flood"}, "chart testdata/agent: "},
		"a program that is missing": {[]string{"testdata/none"}, "start the process for it: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Render(t.Context(), Options{Chart: "testdata/agent", Command: tc.command})
			wantError(t, err, tc.want)
		})
	}
}

func TestServe(t *testing.T) {
	serve := func(j job) (r response) {
		text, err := json.Marshal(request{Render: &j})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := Serve(t.Context(), bytes.NewReader(text), &out, func(int) { t.Error("it reached a limit") }); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	j := job{Source: source{From: "top.tgz", Archive: pack(t, with(nil))}, Limits: defaultLimits()}
	if r := serve(j); r.Error != "" || r.Rendered.Name != "top" || len(images(r.Rendered)) != 1 {
		t.Errorf("%+v", r)
	}
	for name, tc := range map[string]struct {
		change func(*job)
		want   string
	}{
		"an archive that is cut off": {func(j *job) { j.Source.Archive = j.Source.Archive[:60] }, "chart top.tgz: the archive is cut off"},
		"another version":            {func(j *job) { j.Source.Version = "2.0.0" }, "chart top.tgz is version 1.0.0, not 2.0.0"},
		"a manifest above its limit": {func(j *job) { j.Limits.Manifest = 10 }, "top/templates/pod.yaml renders to more than 0 MiB"},
		"manifests above the limit":  {func(j *job) { j.Limits.Output = 10 }, "it renders to more than 0 MiB"},
		"a setting without a value":  {func(j *job) { j.Set = []string{"password"} }, "--chart-set password: "},
	} {
		failing := j
		tc.change(&failing)
		if r := serve(failing); !strings.Contains(r.Error, tc.want) {
			t.Errorf("%s: error %q, want %q", name, r.Error, tc.want)
		}
	}
}

func TestServeRejectsWhatIsNoJob(t *testing.T) {
	err := Serve(t.Context(), strings.NewReader("{"), new(bytes.Buffer), func(int) {})
	wantError(t, err, "read the chart to render from standard input")
}

// A process that is called with limits that it exceeds at once ends itself, whatever
// it does.
func TestLimitsEndTheProcess(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tc := range map[string]struct {
		ctx    context.Context
		limits limits
		want   int
	}{
		"memory":   {t.Context(), limits{Memory: 1, Time: time.Hour}, exitMemory},
		"time":     {t.Context(), limits{Memory: 1 << 40}, exitTime},
		"a signal": {canceled, limits{Memory: 1 << 40, Time: time.Hour}, exitCanceled},
	} {
		t.Run(name, func(t *testing.T) {
			codes := make(chan int, 1)
			tc.limits.enforce(tc.ctx, nil, func(code int) { codes <- code })
			if got := <-codes; got != tc.want {
				t.Errorf("exit code %d, want %d", got, tc.want)
			}
		})
	}
}

func TestLinksOutOfAFolderAreRefused(t *testing.T) {
	outside := folder(t, map[string]string{"secret": "TOP-SECRET"})
	for name, tc := range map[string]struct {
		links map[string]string // name: target
		want  string
	}{
		"a file":               {map[string]string{"files": outside + "/secret"}, "leads out of the folder"},
		"a folder":             {map[string]string{"templates/more": outside}, "leads out of the folder"},
		"through another link": {map[string]string{"a": "b", "b": outside}, "leads out of the folder"},
		"to itself":            {map[string]string{"charts": "."}, "above itself"},
		"to nothing":           {map[string]string{"a": "gone"}, "no such file"},
		"within the folder":    {map[string]string{"a": "templates/pod.yaml"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			for name, text := range maps.All(with(nil)) {
				files[name] = string(text)
			}
			top := folder(t, files)
			for link, target := range tc.links {
				if err := os.Symlink(target, top+"/"+link); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Render(t.Context(), Options{Chart: top})
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, tc.want)
		})
	}
	link := t.TempDir() + "/chart"
	if err := os.Symlink(folder(t, map[string]string{"Chart.yaml": metadata("top", "1.0.0")}), link); err != nil {
		t.Fatal(err)
	}
	if _, err := Render(t.Context(), Options{Chart: link}); err != nil {
		t.Errorf("a link to a chart: %v", err)
	}
}

func TestParseName(t *testing.T) {
	for in, want := range map[string][2]string{
		"castai":                              {"castai", ""},
		"castai@0.43.1":                       {"castai", "0.43.1"},
		"castai@>=0.40 <1":                    {"castai", ">=0.40 <1"},
		"oci://r.example/charts/agent@1.2.0":  {"oci://r.example/charts/agent", "1.2.0"},
		"oci://r.example/c/agent@sha256:0123": {"oci://r.example/c/agent@sha256:0123", ""},
		"./agent@1.0":                         {"./agent@1.0", ""},
		"https://me:pw@h.example/agent.tgz":   {"https://me:pw@h.example/agent.tgz", ""},
		"":                                    {"", ""},
		"@1":                                  {"@1", ""},
	} {
		if name, version := ParseName(in); name != want[0] || version != want[1] {
			t.Errorf("%q: %q, %q", in, name, version)
		}
	}
}

// FuzzParseName: a name and its version are what is written, less the @ between them.
func FuzzParseName(f *testing.F) {
	for _, s := range []string{"castai@0.43.1", "oci://r.example/c/agent@sha256:0123", "https://me:pw@h.example/a.tgz", "@", "a@b@c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, version := ParseName(s)
		switch {
		case version == "" && name != s:
			t.Errorf("%q became %q", s, name)
		case version != "" && (name == "" || name+"@"+version != s):
			t.Errorf("%q became %q and %q", s, name, version)
		}
	})
}

// hugeIndex has n versions, and is filled up with descriptions to the size in bytes.
func hugeIndex(n, size int) []byte {
	var b bytes.Buffer
	b.WriteString("apiVersion: v1\nentries:\n  agent:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - version: 1.%d.0\n    urls: [agent-1.%d.0.tgz]\n    description: %s\n", i, i, strings.Repeat("x", max(0, size/n-70)))
	}
	return b.Bytes()
}

func TestALargeIndexIsParsedWithinTheLimits(t *testing.T) {
	j := indexJob{Repository: "https://charts.example.com", Limits: defaultLimits()}
	j.Text = hugeIndex(10_000, 0)
	i, err := parseIndex(t.Context(), j, []string{os.Args[0], child})
	if newest := i.Charts["agent"]; err != nil || len(newest) != 10_000 || newest[0].URL != "https://charts.example.com/agent-1.9999.0.tgz" {
		t.Fatal(len(newest), err)
	}
	j.Text = hugeIndex(10_000, 50<<20)
	if i, err = parseIndex(t.Context(), j, []string{os.Args[0], child}); err != nil || len(i.Charts["agent"]) != 10_000 {
		t.Errorf("50 MB: %d versions, %v", len(i.Charts["agent"]), err)
	}
	j.Limits.Memory = 64 << 20
	_, err = parseIndex(t.Context(), j, []string{os.Args[0], child})
	wantError(t, err, "index.yaml: parsing it takes more than 64 MiB of memory")
}
