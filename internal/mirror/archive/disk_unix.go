// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin || freebsd

package archive

import (
	"errors"
	"os"
	"syscall"
)

// free returns how many bytes a folder's disk has left for this user.
func free(folder string) (int64, bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}

// allocated returns how much of a disk a file takes; less than its size where it
// has holes.
func allocated(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * 512
	}
	return 0
}

// own keeps other processes out of a file until it is closed.
func own(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errOwned
	}
	return nil // a file system without locks
}

func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

func tooLarge(err error) bool { return errors.Is(err, syscall.EFBIG) }
