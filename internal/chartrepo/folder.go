// SPDX-License-Identifier: Apache-2.0

package chartrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/castai/privatelink-webhook/internal/atomicfile"
	"github.com/castai/privatelink-webhook/internal/exitcode"
)

// lockFile is held while a run changes the folder.
const lockFile = ".lock"

// folder is a repository in a folder.
type folder string

func (f folder) String() string { return string(f) }

func (f folder) at(name string) string { return filepath.Join(string(f), name) }

func (f folder) url() string { return "" }

func (f folder) check(context.Context) error {
	return exitcode.AsUsage(os.MkdirAll(string(f), 0o755))
}

// lock waits until no other run changes the folder.
func (f folder) lock(ctx context.Context, warnf func(string, ...any)) (unlock func() error, err error) {
	lock := flock.New(f.at(lockFile))
	isHeld, err := lock.TryLock()
	if err == nil && !isHeld {
		warnf("another run writes %s, and holds %s: this one waits until it ends", f, f.at(lockFile))
		_, err = lock.TryLockContext(ctx, 100*time.Millisecond)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", f, err), lock.Close())
	}
	return lock.Close, nil
}

func (f folder) readIndex(context.Context) ([]byte, error) { return os.ReadFile(f.at(indexFile)) }

// addArchive also replaces an archive that is damaged: the lock keeps others away.
func (f folder) addArchive(_ context.Context, name string, data []byte) error {
	if has, err := os.ReadFile(f.at(name)); err == nil && bytes.Equal(has, data) {
		return nil
	}
	return atomicfile.Write(f.at(name), data)
}

func (f folder) replaceIndex(_ context.Context, data []byte) error {
	return atomicfile.Write(f.at(indexFile), data)
}
