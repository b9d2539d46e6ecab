// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin || freebsd

package archive

import (
	"errors"
	"os"
	"syscall"
)

// freeSpace returns the bytes that the user can write to the disk of a directory;
// false if that is not known.
func freeSpace(dir string) (int64, bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}

// allocatedBytes returns the disk space of a file, which is less than its size if it
// has holes.
func allocatedBytes(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * 512
	}
	return 0
}

// lockFile locks a file against other processes until it is closed.
func lockFile(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	return nil // the file system does not support locks
}

// noFollow makes an open fail if the name is a symbolic link, and return at once if it
// is a named pipe.
const noFollow = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// hasOtherNames reports whether a file has hard links.
func hasOtherNames(info os.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && s.Nlink > 1
}

func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func isFileTooLarge(err error) bool { return errors.Is(err, syscall.EFBIG) }
