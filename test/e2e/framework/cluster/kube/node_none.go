// SPDX-License-Identifier: Apache-2.0

//go:build !node

package main

// node is empty in a build without the tag "node".
func node() map[string]program { return nil }
