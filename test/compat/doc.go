// SPDX-License-Identifier: Apache-2.0

// Package compat has tests only, behind the tag registries.
package compat
