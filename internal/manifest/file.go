// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"io"
	"os"
)

// ReadFile reads a file, or stdin if the file is "-". It also returns the name of
// the text in messages.
func ReadFile(file string, stdin io.Reader) (name string, text []byte, err error) {
	if file != "-" {
		text, err = os.ReadFile(file)
		return file, text, err
	}
	name = "standard input"
	if text, err = io.ReadAll(stdin); err != nil {
		return name, nil, fmt.Errorf("%s: %w", name, err)
	}
	return name, text, nil
}
