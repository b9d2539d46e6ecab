// SPDX-License-Identifier: Apache-2.0

// Package docs reads the fenced commands of the documentation and runs them.
// The info string of a shell fence says where its commands can run, for
// instance "console e2e". See [Marks].
package docs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The marks of fences that tests run.
const (
	Local   = "local"   // without a cluster and without a network
	E2E     = "e2e"     // on the control plane of the end-to-end tests
	Helm    = "helm"    // on the same, once with each major version of Helm
	Guide   = "guide"   // in order, from an empty AWS account to running pods
	Release = "release" // in a folder with the files of a release, by the release workflow
	Story   = "story"   // the page is the transcript of the commands, by make story
)

// Marks are all marks of a shell fence, with what its commands need.
var Marks = map[string]string{
	Local:     "a checkout after make build",
	E2E:       "a Kubernetes control plane",
	Helm:      "a Kubernetes control plane and Helm",
	Guide:     "an AWS account, and a cluster with a node",
	Release:   "a folder with the files of a release, cosign, and the internet",
	Story:     "a release, an AWS account, and a cluster with a node",
	"node":    "nodes with a container runtime, or more than the end-to-end cluster has",
	"aws":     "an AWS account or a private registry",
	"castai":  "a CAST AI account, or the public registries and charts",
	"example": "not run: it shows a form, or builds and starts more than a test should",
}

// Fence is a fenced block of shell commands.
type Fence struct {
	Page  string // path below the root of the repository
	Line  int    // of the opening line
	Lang  string // "sh" or "console"
	Mark  string
	Exit  int // expected exit code of the last command, from "exit=N"
	Since int // minor version of Kubernetes that the commands need, from "since=1.N"
	Lines []string
}

func (f Fence) String() string { return fmt.Sprintf("%s:%d", f.Page, f.Line) }

// Pages lists the Markdown files below root, as slash-separated relative paths.
func Pages(root string) (pages []string, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		switch {
		case d.IsDir() && (name == "bin" || name == "dist" || strings.HasPrefix(name, ".") && name != "." && name != ".github"):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(name, ".md"):
			pages = append(pages, name)
		}
		return nil
	})
	return pages, err
}

// Fences returns the shell fences of a page, in order. A comment that begins
// with "<!-- sh MARK" is a fence that readers do not see: it prepares what the
// text of the page takes for granted.
func Fences(root, page string) ([]Fence, error) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(page)))
	if err != nil {
		return nil, err
	}
	return parse(page, text)
}

func parse(page string, text []byte) (fences []Fence, err error) {
	lines := strings.Split(string(bytes.TrimSuffix(text, []byte("\n"))), "\n")
	for i := 0; i < len(lines); i++ {
		info, end, ok := opening(lines[i])
		if !ok {
			continue
		}
		indent := len(lines[i]) - len(strings.TrimLeft(lines[i], " "))
		f := Fence{Page: page, Line: i + 1}
		for i++; ; i++ {
			if i == len(lines) {
				return nil, fmt.Errorf("%s: the fence has no end", f)
			}
			if strings.TrimSpace(lines[i]) == end {
				break
			}
			line := lines[i]
			f.Lines = append(f.Lines, line[min(indent, len(line)-len(strings.TrimLeft(line, " "))):])
		}
		fields := strings.Fields(info)
		if len(fields) == 0 || !slices.Contains([]string{"sh", "console", "bash", "shell"}, fields[0]) {
			continue
		}
		if err := f.setInfo(fields); err != nil {
			return nil, err
		}
		fences = append(fences, f)
	}
	return fences, nil
}

// opening splits the first line of a fence into its info string and the text
// that closes the fence.
func opening(line string) (info, end string, ok bool) {
	line = strings.TrimSpace(line)
	if info, ok = strings.CutPrefix(line, "```"); ok {
		return info, "```", true
	}
	if info, ok = strings.CutPrefix(line, "<!-- sh "); ok && !strings.Contains(info, "-->") {
		return "sh " + info, "-->", true
	}
	return "", "", false
}

func (f *Fence) setInfo(fields []string) error {
	f.Lang = fields[0]
	if f.Lang != "sh" && f.Lang != "console" {
		return fmt.Errorf("%s: language %q: use sh, or console for commands with their output", f, f.Lang)
	}
	if len(fields) > 1 {
		f.Mark = fields[1]
	}
	if _, known := Marks[f.Mark]; !known {
		return fmt.Errorf("%s: mark %q: use one of local, e2e, helm, guide, release, story, node, aws, castai, example", f, f.Mark)
	}
	for _, option := range fields[min(2, len(fields)):] {
		name, value, _ := strings.Cut(option, "=")
		minor, isVersion := strings.CutPrefix(value, "1.")
		var err error
		switch {
		case name == "exit" && f.Lang == "console":
			f.Exit, err = strconv.Atoi(value)
		case name == "since" && (f.Mark == E2E || f.Mark == Helm) && isVersion:
			f.Since, err = strconv.Atoi(minor)
		default:
			err = errors.New("use exit=N in a console fence, or since=1.N in an e2e fence")
		}
		if err != nil {
			return fmt.Errorf("%s: option %q: %w", f, option, err)
		}
	}
	if f.Lang == "console" && (len(f.Lines) == 0 || !strings.HasPrefix(f.Lines[0], "$ ")) {
		return fmt.Errorf("%s: a console fence begins with a line \"$ command\"", f)
	}
	return nil
}

// step is one command, or all commands of a sh fence.
type step struct {
	command string
	output  []string // expected; none if the page shows none
	exit    int
}

func (f Fence) steps() []step {
	if f.Lang == "sh" {
		return []step{{command: strings.Join(f.Lines, "\n")}}
	}
	var steps []step
	for i := 0; i < len(f.Lines); i++ {
		command, ok := strings.CutPrefix(f.Lines[i], "$ ")
		if !ok {
			last := &steps[len(steps)-1]
			last.output = append(last.output, f.Lines[i])
			continue
		}
		for strings.HasSuffix(command, "\\") && i+1 < len(f.Lines) {
			i++
			command += "\n" + f.Lines[i]
		}
		steps = append(steps, step{command: command})
	}
	steps[len(steps)-1].exit = f.Exit
	return steps
}
