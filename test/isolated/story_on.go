// SPDX-License-Identifier: Apache-2.0

//go:build linux && story

package isolated

// withStory makes Build build what TestStory needs as well: a release, and Helm.
const withStory = true
