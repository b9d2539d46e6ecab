// SPDX-License-Identifier: Apache-2.0

//go:build !(linux || darwin || freebsd)

package archive

import "os"

func freeSpace(string) (int64, bool) { return 0, false }

func allocatedBytes(*os.File) int64 { return 0 }

func lockFile(*os.File) error { return nil }

// noFollow has no equivalent here: openOwn checks the name before it opens the file.
const noFollow = 0

func hasOtherNames(os.FileInfo) bool { return false }

func isDiskFull(error) bool { return false }

func isFileTooLarge(error) bool { return false }
