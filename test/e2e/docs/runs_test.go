// SPDX-License-Identifier: Apache-2.0

//go:build e2e && !helm

package docs

import "github.com/castai/privatelink-webhook/test/integration/docs"

func runsOf(string) ([]pageRun, error) { return []pageRun{{mark: docs.E2E}}, nil }
