// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mattn/go-runewidth"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
	"github.com/castai/privatelink-webhook/internal/testutil/pty"
)

// program returns a command that runs the program with some variables more.
func startable(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), append([]string{asProgram + "=1", "TERM=xterm", "NO_COLOR=", "PRIVATELINK_REGISTRY=" + ecr}, env...)...)
	return cmd
}

func TestTablesFitTheTerminal(t *testing.T) {
	for _, columns := range []uint16{60, 80, 132} {
		displayed, err := pty.Run(t, columns, startable(t, nil, "images", "--set", "umbrella"))
		if err != nil {
			t.Fatal(err, displayed)
		}
		_, rows, ok := strings.Cut(displayed, "\nSOURCE ")
		if !ok || !strings.Contains(rows, "…") {
			t.Fatalf("no table that is cut:\n%s", displayed)
		}
		for _, row := range strings.Split(rows, "\n")[1:] {
			if w := runewidth.StringWidth(row); w > int(columns) {
				t.Errorf("%d of %d columns: %s", w, columns, row)
			}
		}
	}
	// What is read by a program is whole, also if the program was started on a terminal.
	var out strings.Builder
	cmd := startable(t, nil, "images", "--set", "umbrella")
	cmd.Stdout = &out
	if displayed, err := pty.Run(t, 60, cmd); err != nil || strings.Contains(out.String(), "…") || !strings.Contains(out.String(), "us-docker.pkg.dev/castai-hub/library/workload-autoscaler:") {
		t.Errorf("%v, %s\n%s", err, displayed, &out)
	}
}

func TestColorsAreForTerminals(t *testing.T) {
	args := isolated(t, "--only", "identity")
	const style = "\x1b["
	for name, tc := range map[string]struct {
		env  []string
		want bool
	}{
		"a terminal":             {nil, true},
		"NO_COLOR":               {[]string{"NO_COLOR=1"}, false},
		"NO_COLOR without value": {[]string{"NO_COLOR="}, true},
		"a dumb terminal":        {[]string{"TERM=dumb"}, false},
		"no known terminal":      {[]string{"TERM="}, false},
	} {
		t.Run(name, func(t *testing.T) {
			displayed, _ := pty.Run(t, 80, startable(t, tc.env, args...))
			if !strings.Contains(displayed, "UNKNOWN") || strings.Contains(displayed, style) != tc.want {
				t.Errorf("%q", displayed)
			}
		})
	}
	var out strings.Builder
	cmd := startable(t, nil, args...)
	cmd.Stdout = &out
	if _, err := pty.Run(t, 80, cmd); err == nil || !strings.Contains(out.String(), "UNKNOWN") || strings.Contains(out.String(), "\x1b") {
		t.Errorf("a file has colors, or nothing: %q", &out)
	}
}

// A document never has the hint, even if both outputs go to one file.
func TestInstallTellsATerminalHowToWait(t *testing.T) {
	const hint = "privatelink doctor --only cluster --wait 5m"
	var document strings.Builder
	cmd := startable(t, nil, "install")
	cmd.Stdout = &document
	if displayed, err := pty.Run(t, 80, cmd); err != nil || !strings.Contains(displayed, hint) || strings.Contains(document.String(), hint) {
		t.Errorf("%v, %q", err, displayed)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "bundle.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd = startable(t, nil, "install")
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file.Name()); err != nil || string(text) != document.String() {
		t.Errorf("%v: the document differs", err)
	}
}

// Only the lines to copy may be longer: examples, and how to call a command.
func TestHelpFitsTheTerminal(t *testing.T) {
	for _, c := range append(commands(newRoot(os.Getenv)), newRoot(os.Getenv)) {
		if c.Hidden {
			continue
		}
		displayed, err := pty.Run(t, 80, startable(t, nil, append(strings.Fields(c.CommandPath())[1:], "--help")...))
		if err != nil {
			t.Fatal(err, displayed)
		}
		for _, example := range []string{c.Example, c.UseLine()} {
			displayed = strings.Replace(displayed, example, "", 1)
		}
		for line := range strings.Lines(displayed) {
			if w := runewidth.StringWidth(strings.TrimSpace(line)); w > 80 {
				t.Errorf("%s: %d columns: %s", c.CommandPath(), w, line)
			}
		}
	}
}

// The second round finds the cluster away, and in the third the user ends the watch.
func TestWatchReplacesTheScreen(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var rounds atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case !strings.HasSuffix(r.URL.Path, "/deployments/privatelink-webhook"):
			fmt.Fprint(w, `{"items":[]}`)
		case rounds.Add(1) == 2:
			http.Error(w, `{"kind":"Status","message":"starting"}`, http.StatusInternalServerError)
		default:
			if rounds.Load() == 3 {
				interrupt()
			}
			fmt.Fprint(w, `{"spec":{"replicas":1,"selector":{"matchLabels":{"app":"w"}}}}`)
		}
	}))
	defer server.Close()
	cmd := exec.CommandContext(ctx, os.Args[0], "status", "--watch", "--interval", "1s", "--no-registry", "--kubeconfig", write(t, "kubeconfig", `{"apiVersion":"v1","kind":"Config","current-context":"c",
		"contexts":[{"name":"c","context":{"cluster":"c"}}],"clusters":[{"name":"c","cluster":{"server":"`+server.URL+`"}}]}`))
	cmd.Env = startable(t, nil).Env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	displayed, _ := pty.Run(t, 80, cmd)
	screens := strings.Split(displayed, "\x1b[2J\x1b[H")
	if code := cmd.ProcessState.ExitCode(); code != 0 || len(screens) < 3 {
		t.Fatalf("exit code %d, want 0; %d screens:\n%q", code, len(screens), displayed)
	}
	if !strings.Contains(screens[1], "again every 1s until Ctrl-C") || !strings.Contains(screens[1], "0 of 1 replicas are ready") {
		t.Errorf("first screen:\n%s", screens[1])
	}
	if !strings.Contains(screens[2], "cannot read the cluster since ") || !strings.Contains(screens[2], "0 of 1 replicas are ready") || !strings.Contains(screens[2], "Next:") {
		t.Errorf("second screen:\n%s", screens[2])
	}
}

// The private registry accepts a manifest only after a pause.
func TestMirrorShowsWhatItWaitsFor(t *testing.T) {
	from, target := public(t), fakeregistry.Start(t)
	var isThrottled atomic.Bool
	target.SetFault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") && isThrottled.CompareAndSwap(false, true) {
			w.Header().Set("Retry-After", "2")
			http.Error(w, "", http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	})
	args := []string{"mirror", "--no-webhook-image", "-f", pods(t, from+"/castai/a:v1"), "--registry", target.Host + "/mirror", "--plain-http", from, "--lock", filepath.Join(t.TempDir(), "lock.yaml")}
	displayed, err := pty.Run(t, 100, startable(t, []string{"PRIVATELINK_REGISTRY="}, args...))
	if err != nil {
		t.Fatal(err, displayed)
	}
	for _, want := range []string{"privatelink mirror dev", "bytes ", " KiB/s ", "images ", "requests wait for PutImage until ", " UTC at " + target.Host, "1 images: 1 copied", "Next:", "nothing to do"} {
		if !strings.Contains(displayed, want) {
			t.Errorf("%q is not displayed:\n%q", want, displayed)
		}
	}
}
