// SPDX-License-Identifier: Apache-2.0

//go:build linux && !story

package isolated

const withStory = false
