// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// shells runs the script with each POSIX shell of the machine: sh is dash on Debian,
// bash on macOS.
func shells(t *testing.T) []string {
	t.Helper()
	for _, tool := range []string{"sh", "curl", "tar", "uname", "mktemp"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("install.sh needs %s: install it", tool)
		}
	}
	return []string{"sh", "bash --posix"}
}

// packed returns an archive of a release with a program that prints its version.
func packed(t *testing.T, program string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, text := range map[string]string{"LICENSE": "text", "privatelink": program} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const program = "#!/bin/sh\necho privatelink v0.1.0\n"

// release is what a server of releases has, by path.
type release map[string][]byte

const (
	list   = "/v0.1.0/checksums.txt"
	latest = "/latest/checksums.txt"
)

// names formats the name of each platform.
func names(format string) (all []string) {
	for _, platform := range []string{"linux_amd64", "linux_arm64", "darwin_amd64", "darwin_arm64"} {
		all = append(all, fmt.Sprintf(format, platform))
	}
	return all
}

func newRelease(t *testing.T) release {
	r := release{}
	var sums strings.Builder
	for _, name := range names("privatelink_0.1.0_%s.tar.gz") {
		data := packed(t, program)
		r["/v0.1.0/"+name], r["/latest/"+name] = data, data
		fmt.Fprintf(&sums, "%x  %s\n%x  %s.spdx.json\n", sha256.Sum256(data), name, sha256.Sum256(nil), name)
	}
	r[list], r[latest] = []byte(sums.String()), []byte(sums.String())
	return r
}

// each applies a change to every archive.
func (r release) each(change func(path string, data []byte) []byte) {
	for path, data := range r {
		if strings.HasSuffix(path, ".tar.gz") {
			r[path] = change(path, data)
		}
	}
}

// ServeHTTP serves the release. A file of nil is refused, and one that begins with
// "cut" ends after half of its announced length.
func (r release) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	data, ok := r[req.URL.Path]
	switch {
	case !ok:
		http.NotFound(w, req)
	case data == nil:
		http.Error(w, "this page is not the file that you wanted", http.StatusForbidden)
	case bytes.HasPrefix(data, []byte("cut")):
		w.Header().Set("Content-Length", fmt.Sprint(2*len(data)))
		_, _ = w.Write(data)
		panic(http.ErrAbortHandler)
	default:
		_, _ = w.Write(data)
	}
}

// install runs the script and returns its exit code, its output, and what is in the
// folder for programs afterwards, which had an older program.
func install(t *testing.T, shell string, server http.Handler, env ...string) (code int, output, installed string) {
	t.Helper()
	s := httptest.NewServer(server)
	defer s.Close()
	to := t.TempDir()
	file := filepath.Join(to, "privatelink")
	if err := os.WriteFile(file, []byte("older"), 0o755); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("install.sh")
	if err != nil {
		t.Fatal(err)
	}
	args := append(strings.Fields(shell), script)
	c := exec.Command(args[0], args[1:]...)
	c.Dir = t.TempDir()
	tmp := t.TempDir()
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + tmp, "INSTALL_DIR=" + to, "INSTALL_URL=" + s.URL, "INSTALL_VERSION=v0.1.0"}, env...)
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{to, tmp, c.Dir} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "privatelink" {
				t.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
			}
		}
	}
	return c.ProcessState.ExitCode(), string(out), string(text)
}

func TestInstall(t *testing.T) {
	for _, shell := range shells(t) {
		for name, env := range map[string]string{"a release": "INSTALL_VERSION=v0.1.0", "the newest": "INSTALL_VERSION="} {
			t.Run(shell+", "+name, func(t *testing.T) {
				code, output, installed := install(t, shell, newRelease(t), env)
				if code != 0 || installed != program || !strings.Contains(output, "installed privatelink v0.1.0 in ") {
					t.Errorf("exit code %d, installed %q\n%s", code, installed, output)
				}
			})
		}
	}
}

// Hardened machines mount /tmp so that no program in it can run.
func TestInstallWithATemporaryFolderOfNoPrograms(t *testing.T) {
	tmp := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", tmp).CombinedOutput(); err != nil {
		t.Skipf("no tmpfs can be mounted: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", tmp).CombinedOutput(); err != nil {
			t.Errorf("%s", out)
		}
	})
	for _, shell := range shells(t) {
		code, output, installed := install(t, shell, newRelease(t), "TMPDIR="+tmp)
		if code != 0 || installed != program || !strings.Contains(output, "installed privatelink v0.1.0 in ") {
			t.Errorf("%s: exit code %d, installed %q\n%s", shell, code, installed, output)
		}
	}
}

// A variable that begins so is a flag of the program: PRIVATELINK_VERSION, if it is
// exported, is the version of a chart.
func TestVariablesOfTheScriptAreNotFlags(t *testing.T) {
	script, err := os.ReadFile("install.sh")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(script), "PRIVATELINK_") || !strings.Contains(string(script), "INSTALL_VERSION") {
		t.Error("name the variables of install.sh INSTALL_...")
	}
}

func TestInstallIsRefused(t *testing.T) {
	// tools is a folder with programs that replace those of the machine, or hide them.
	tools := func(t *testing.T, scripts map[string]string, links ...string) string {
		dir := t.TempDir()
		for name, text := range scripts {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range links {
			file, err := exec.LookPath(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(file, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	common := []string{"curl", "uname", "mktemp", "rm", "tar", "gzip", "cp", "chmod", "mv", "cat"}
	uname := func(system, machine string) map[string]string {
		return map[string]string{"uname": `case $1 in -s) echo ` + system + ` ;; *) echo ` + machine + ` ;; esac`}
	}
	first := func(dir string) string { return "PATH=" + dir + ":" + os.Getenv("PATH") }
	for name, tc := range map[string]struct {
		change func(release)
		env    func(t *testing.T) string
		want   string
	}{
		"an archive that was changed":    {change: func(r release) { r.each(func(_ string, b []byte) []byte { return append(b, 0) }) }, want: "do not use it"},
		"an archive of another program":  {change: func(r release) { r.each(func(string, []byte) []byte { return packed(t, "#!/bin/sh\necho evil\n") }) }, want: "do not use it"},
		"an archive that is refused":     {change: func(r release) { r.each(func(string, []byte) []byte { return nil }) }, want: "could not download http://"},
		"an archive that is cut":         {change: func(r release) { r.each(func(string, []byte) []byte { return []byte("cut and more") }) }, want: "could not download http://"},
		"an archive that is missing":     {change: func(r release) { r.each(func(p string, _ []byte) []byte { delete(r, p); return nil }) }, want: "could not download http://"},
		"an archive that is empty":       {change: func(r release) { r.each(func(string, []byte) []byte { return []byte{} }) }, want: ".tar.gz is empty"},
		"an archive without the program": {change: func(r release) { r.repack(t, packedWithout(t)) }, want: "cannot extract privatelink"},
		"a program that does not run":    {change: func(r release) { r.repack(t, packed(t, "#!/bin/sh\nexit 3\n")) }, want: "does not run on this machine"},
		"a list that is refused":         {change: func(r release) { r[list] = nil }, want: "could not download http://"},
		"a list that is missing":         {change: func(r release) { delete(r, list) }, want: "could not download http://"},
		"a list that is cut":             {change: func(r release) { r[list] = append([]byte("cut  x\n"), r[list]...) }, want: "could not download http://"},
		"a list that is empty":           {change: func(r release) { r[list] = []byte{} }, want: "checksums.txt is empty"},
		"a list without this machine":    {change: func(r release) { r[list] = []byte("0  privatelink_0.1.0_plan9_amd64.tar.gz\n") }, want: "has no archive privatelink_*_"},
		"a list with two archives": {change: func(r release) {
			r[list] = append(r[list], bytes.ReplaceAll(r[list], []byte("0.1.0"), []byte("0.2.0"))...)
		}, want: "two archives"},
		"a list without a checksum":        {change: func(r release) { r[list] = []byte(strings.Join(names("-  privatelink_0.1.0_%s.tar.gz\n"), "")) }, want: "has no SHA-256 for privatelink_0.1.0_"},
		"a page in place of the list":      {change: func(r release) { r[list] = []byte("<html>sign in</html>\n") }, want: "has no archive"},
		"a release that does not exist":    {env: func(*testing.T) string { return "INSTALL_VERSION=v9.9.9" }, want: "/v9.9.9/checksums.txt"},
		"a version that is none":           {env: func(*testing.T) string { return "INSTALL_VERSION=../evil" }, want: "give a release such as v0.2.0"},
		"an address without a scheme":      {env: func(*testing.T) string { return "INSTALL_URL=mirror.example.com" }, want: "https:// or http://"},
		"a folder that does not exist":     {env: func(*testing.T) string { return "INSTALL_DIR=/does/not/exist" }, want: "set INSTALL_DIR"},
		"another system":                   {env: func(t *testing.T) string { return first(tools(t, uname("FreeBSD", "amd64"))) }, want: "no archive for FreeBSD"},
		"another machine":                  {env: func(t *testing.T) string { return first(tools(t, uname("Linux", "riscv64"))) }, want: "no archive for linux on riscv64"},
		"Windows":                          {env: func(t *testing.T) string { return first(tools(t, uname("MINGW64_NT-10.0", "x86_64"))) }, want: "no archive for MINGW64"},
		"uname fails":                      {env: func(t *testing.T) string { return first(tools(t, map[string]string{"uname": "exit 1"})) }, want: "uname failed"},
		"a tool that fails":                {env: func(t *testing.T) string { return first(tools(t, map[string]string{"sha256sum": "exit 1"})) }, want: "sha256sum failed"},
		"no curl":                          {env: func(t *testing.T) string { return "PATH=" + tools(t, nil, common[1:]...) }, want: "install curl first"},
		"nothing that computes a checksum": {env: func(t *testing.T) string { return "PATH=" + tools(t, nil, common...) }, want: "install sha256sum or shasum"},
		"a checksum that another tool made": {env: func(t *testing.T) string {
			return "PATH=" + tools(t, map[string]string{"shasum": "echo 0  x"}, common...)
		}, want: "do not use it"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, shell := range shells(t) {
				r := newRelease(t)
				if tc.change != nil {
					tc.change(r)
				}
				var env []string
				if tc.env != nil {
					env = append(env, tc.env(t))
				}
				file, err := exec.LookPath(strings.Fields(shell)[0])
				if err != nil {
					t.Fatal(err)
				}
				code, output, installed := install(t, strings.Replace(shell, strings.Fields(shell)[0], file, 1), r, env...)
				if code == 0 || installed != "older" || !strings.Contains(output, tc.want) {
					t.Errorf("%s: exit code %d, installed %q; the output must contain %q\n%s", shell, code, installed, tc.want, output)
				}
			}
		})
	}
}

// repack replaces the archives, and their checksums.
func (r release) repack(t *testing.T, data []byte) {
	t.Helper()
	var sums strings.Builder
	r.each(func(path string, _ []byte) []byte {
		if dir, name := filepath.Split(path); dir == "/v0.1.0/" {
			fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(data), name)
		}
		return data
	})
	r[list] = []byte(sums.String())
}

func packedWithout(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "README.md", Typeflag: tar.TypeReg}), w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A script that was cut while it was downloaded, as by curl | sh, installs nothing.
func TestInstallScriptThatIsCut(t *testing.T) {
	text, err := os.ReadFile("install.sh")
	if err != nil {
		t.Fatal(err)
	}
	whole := bytes.TrimSpace(text)
	for _, end := range []int{len(whole) - 1, len(whole) - len("ain"), bytes.LastIndex(whole, []byte("\nmain")), bytes.LastIndex(whole, []byte("}")), bytes.LastIndex(whole, []byte("mv -f")), bytes.Index(whole, []byte("main()"))} {
		c := exec.Command("sh")
		c.Stdin, c.Dir = bytes.NewReader(whole[:end]), t.TempDir()
		to := t.TempDir()
		c.Env = []string{"PATH=" + os.Getenv("PATH"), "INSTALL_DIR=" + to, "INSTALL_URL=http://127.0.0.1:9"}
		out, _ := c.CombinedOutput() // a script without its last lines may end with 0
		if strings.Contains(string(out), "download") {
			t.Errorf("%d of %d bytes were run:\n%s", end, len(whole), out)
		}
	}
}

// An older program that cannot be replaced stays, and the new one is not left there.
func TestInstallInAFolderThatIsReadOnly(t *testing.T) {
	if os.Geteuid() == 0 {
		// Root writes everywhere: a file in place of the folder is refused as well.
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if code, output, _ := install(t, "sh", newRelease(t), "INSTALL_DIR="+file); code == 0 || !strings.Contains(output, "cannot write to") {
			t.Errorf("exit code %d\n%s", code, output)
		}
		return
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	code, output, _ := install(t, "sh", newRelease(t), "INSTALL_DIR="+dir)
	if _, err := os.Stat(filepath.Join(dir, "privatelink")); code == 0 || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(output, "cannot write to") {
		t.Errorf("exit code %d, %v\n%s", code, err, output)
	}
}
