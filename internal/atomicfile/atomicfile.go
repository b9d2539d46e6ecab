// SPDX-License-Identifier: Apache-2.0

// Package atomicfile replaces files as a whole, so that a reader never sees half of one.
package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
)

// Write replaces a file, which all may read. If it fails, the file is as it was. A
// symbolic link is replaced, and not followed.
func Write(file string, data []byte) error {
	tmp, err := Create(file)
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// Create creates a file with a new name in the folder of a file.
func Create(file string) (*os.File, error) {
	return os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-")
}
