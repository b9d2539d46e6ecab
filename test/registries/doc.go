// SPDX-License-Identifier: Apache-2.0

// Package registries has tests only, behind the tag registries.
package registries
