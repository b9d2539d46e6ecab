// SPDX-License-Identifier: Apache-2.0

//go:build e2e && helm

package docs

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/castai/privatelink-webhook/test/e2e/framework/helm"
	"github.com/castai/privatelink-webhook/test/integration/docs"
)

func runsOf(root string) (runs []pageRun, err error) {
	for _, major := range helm.Majors() {
		program, err := helm.Path(root, major)
		if err != nil {
			return nil, err
		}
		runs = append(runs, pageRun{docs.Helm, fmt.Sprintf(" with Helm %d", major), filepath.Dir(program) + string(os.PathListSeparator)})
	}
	return runs, nil
}
