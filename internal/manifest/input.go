// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Input is the text of one manifest.
type Input struct {
	Name string // of the text, in messages
	Text []byte
}

// ErrStdinTwice reports that standard input is named more than once.
var ErrStdinTwice = errors.New("-f -: standard input can be read once")

// ReadFiles reads the files of the flag -f as kubectl does: "-" is stdin, and a folder
// stands for the .json, .yaml and .yml files in it, without subfolders. It never
// skips a file that is named.
func ReadFiles(names []string, stdin io.Reader) ([]Input, error) {
	if first := slices.Index(names, "-"); first >= 0 && slices.Contains(names[first+1:], "-") {
		return nil, ErrStdinTwice
	}
	var inputs []Input
	for _, name := range names {
		files, err := expand(name)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			input, err := readFile(file, stdin)
			if err != nil {
				return nil, err
			}
			inputs = append(inputs, input)
		}
	}
	return inputs, nil
}

// expand returns the files that a name stands for.
func expand(name string) ([]string, error) {
	if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") {
		return nil, fmt.Errorf("%s: URLs are not read: download the manifest with curl and use -f -", name)
	}
	if info, err := os.Stat(name); err != nil || !info.IsDir() {
		return []string{name}, nil
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && slices.Contains([]string{".json", ".yaml", ".yml"}, filepath.Ext(e.Name())) {
			files = append(files, filepath.Join(name, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no .json, .yaml or .yml file in this folder; subfolders are not read", name)
	}
	return files, nil
}

func readFile(file string, stdin io.Reader) (i Input, err error) {
	if file != "-" {
		text, err := os.ReadFile(file)
		return Input{file, text}, err
	}
	i.Name = "standard input"
	if i.Text, err = io.ReadAll(stdin); err != nil {
		return i, fmt.Errorf("%s: %w", i.Name, err)
	}
	return i, nil
}
