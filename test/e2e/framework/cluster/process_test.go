// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestStop(t *testing.T) {
	for name, tc := range map[string]struct {
		script string
		wait   bool   // for the child to end before it is stopped
		want   string // part of the error; empty: none
	}{
		"a child that obeys is no error":                     {"echo ready; exec sleep 60", false, ""},
		"a child that does not obey is killed":               {"trap '' TERM; echo ready; while :; do :; done", false, ""},
		"one that ended by itself is reported with its log":  {"echo first; echo boom >&2; exit 3", true, "x ended by itself (exit status 3); the end of its log:\nfirst\nboom"},
		"one that ended well by itself is reported as well":  {"exit 0", true, "x ended by itself (exit status 0)"},
		"the environment does not reach the child (no HOME)": {`echo "home=$HOME."; exit 1`, true, "home=."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HOME", "/somewhere")
			p := shell(t, tc.script)
			if tc.wait {
				<-p.done
			} else {
				untilReady(t, p)
			}
			err := p.stop()
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("stop: %v, want %q", err, tc.want)
			}
			select {
			case <-p.done:
			default:
				t.Error("the child still runs")
			}
		})
	}
}

func TestAnErrorCarriesOnlyTheEndOfALongLog(t *testing.T) {
	p := shell(t, "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done; exit 1")
	<-p.done
	err := p.stop()
	if err == nil || strings.Contains(err.Error(), "line 2980\n") || !strings.Contains(err.Error(), "line 2981\n") || !strings.HasSuffix(err.Error(), "line 3000") {
		t.Errorf("error %v, want the last 20 lines", err)
	}
}

func shell(t *testing.T, script string) *process {
	t.Helper()
	dir, s := t.TempDir(), newSpawner()
	t.Cleanup(s.close)
	p := &process{
		name: "x", path: "/bin/sh", args: []string{"-c", script},
		dir: dir, logFile: filepath.Join(dir, "x.log"), spawn: s, grace: 100 * time.Millisecond,
	}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// untilReady waits for the script to have set its traps.
func untilReady(t *testing.T, p *process) {
	t.Helper()
	for range 1000 {
		if log, _ := os.ReadFile(p.logFile); strings.Contains(string(log), "ready") {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the script never got ready")
}
