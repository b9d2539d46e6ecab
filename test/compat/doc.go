// SPDX-License-Identifier: Apache-2.0

// Package compat has only tests, with the build tag compat.
package compat
