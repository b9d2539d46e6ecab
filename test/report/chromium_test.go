// SPDX-License-Identifier: Apache-2.0

//go:build report

package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// browser is a Chromium without a window, driven over a pipe with the DevTools protocol.
// https://chromedevtools.github.io/devtools-protocol/
type browser struct {
	to      *os.File
	from    *bufio.Reader
	session string
	id      int
	events  []message // since the last page was opened
}

type message struct {
	ID        int             `json:"id,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    any             `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     json.RawMessage `json:"error,omitempty"`
}

// startBrowser installs Chromium from Debian if it is missing, and starts it with one page.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	program := installed()
	if program == "" {
		for _, args := range [][]string{{"update"}, {"install", "--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"}} {
			cmd := exec.CommandContext(t.Context(), "apt-get", args...)
			cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("this test needs the package chromium of Debian: apt-get %s: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
		if program = installed(); program == "" {
			t.Fatal("the package chromium has no program chromium")
		}
	}
	input, to, err1 := os.Pipe()
	from, output, err2 := os.Pipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	// The sandbox needs a user other than root; the pages are files of this test.
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{input, output} // the descriptors 3 and 4
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	input.Close()
	output.Close()
	b := &browser{to: to, from: bufio.NewReader(from)}
	if err := from.SetReadDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		to.Close() // ends the browser
		group := -cmd.Process.Pid
		kill := func() { _ = syscall.Kill(group, syscall.SIGKILL) } // an error is that it has ended
		late := time.AfterFunc(10*time.Second, kill)
		_ = cmd.Wait()
		late.Stop()
		from.Close()
		// Its other processes write to its folder until they have ended.
		for range 100 {
			if kill(); errors.Is(syscall.Kill(group, 0), syscall.ESRCH) {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Error("processes of the browser do not end")
	})
	var target struct{ TargetID string }
	b.call(t, "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call(t, "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network", "Accessibility"} {
		b.call(t, domain+".enable", nil, nil)
	}
	return b
}

// installed returns the program of a browser on this machine, or "".
func installed() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if program, err := exec.LookPath(name); err == nil {
			return program
		}
	}
	return ""
}

// call calls a method, and keeps the events that precede its result.
func (b *browser) call(t *testing.T, method string, params, result any) {
	t.Helper()
	b.id++
	if params == nil {
		params = struct{}{}
	}
	text, err := json.Marshal(message{ID: b.id, SessionID: b.session, Method: method, Params: params})
	if err == nil {
		_, err = b.to.Write(append(text, 0))
	}
	if err != nil {
		t.Fatal(err)
	}
	for {
		m := b.receive(t)
		switch {
		case m.ID != b.id:
			b.events = append(b.events, m)
		case m.Error != nil:
			t.Fatalf("%s: %s", method, m.Error)
		case result == nil:
			return
		default:
			if err := json.Unmarshal(m.Result, result); err != nil {
				t.Fatalf("%s: %v", method, err)
			}
			return
		}
	}
}

func (b *browser) receive(t *testing.T) (m message) {
	t.Helper()
	text, err := b.from.ReadBytes(0)
	if err == nil {
		err = json.Unmarshal(text[:len(text)-1], &m)
	}
	if err != nil {
		t.Fatal("Chromium: ", err)
	}
	return m
}

// open opens a file, and waits until it is loaded.
func (b *browser) open(t *testing.T, path string) {
	t.Helper()
	b.events = nil
	b.call(t, "Page.navigate", map[string]any{"url": "file://" + path}, nil)
	for !b.hasEvent("Page.loadEventFired") {
		b.events = append(b.events, b.receive(t))
	}
}

func (b *browser) hasEvent(method string) bool {
	for _, e := range b.events {
		if e.Method == method {
			return true
		}
	}
	return false
}

// complaints returns errors, console messages, dialogs, and requests for anything but the
// file itself.
func (b *browser) complaints(path string) (all []string) {
	for _, e := range b.events {
		params, _ := e.Params.(map[string]any)
		switch e.Method {
		case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening", "Network.webSocketCreated":
			all = append(all, fmt.Sprintf("%s %v", e.Method, params))
		case "Network.requestWillBeSent":
			request, _ := params["request"].(map[string]any)
			url := fmt.Sprint(request["url"])
			if url != "file://"+path && url != "data:," {
				all = append(all, "a request for "+url)
			}
		}
	}
	return all
}

// evaluate runs an expression of the test in the page.
func (b *browser) evaluate(t *testing.T, expression string, value any) {
	t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call(t, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &r)
	if r.ExceptionDetails != nil {
		t.Fatalf("%s", r.ExceptionDetails)
	}
	if err := json.Unmarshal(r.Result.Value, value); err != nil {
		t.Fatalf("%s: %v", r.Result.Value, err)
	}
}

// links returns the accessible names of all links, as a screen reader gets them.
func (b *browser) links(t *testing.T) (names []string) {
	t.Helper()
	var tree struct {
		Nodes []struct {
			Ignored    bool
			Role, Name struct{ Value any }
		}
	}
	b.call(t, "Accessibility.getFullAXTree", nil, &tree)
	for _, n := range tree.Nodes {
		if !n.Ignored && n.Role.Value == "link" {
			names = append(names, fmt.Sprint(n.Name.Value))
		}
	}
	return names
}

// emulate sets the medium and the color scheme.
func (b *browser) emulate(t *testing.T, medium, scheme string) {
	t.Helper()
	b.call(t, "Emulation.setEmulatedMedia", map[string]any{"media": medium, "features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}
