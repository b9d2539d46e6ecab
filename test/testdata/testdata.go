// SPDX-License-Identifier: Apache-2.0

// Package testdata embeds the inputs that all levels of test share.
// Package internal/testutil/corpus reads them.
package testdata

import "embed"

// References is the table of image references and their expected targets.
//
//go:embed references.tsv
var References string

// Pods holds one JSON pod per file, below the folder pods.
//
//go:embed pods/*.json
var Pods embed.FS
