// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"errors"
	"fmt"

	"helm.sh/helm/v4/pkg/chart/common"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
)

// installable fails if Helm would refuse to install the chart whatever its values.
func installable(c *v2.Chart, kube *common.KubeVersion) error {
	if c.Metadata.Type == "library" {
		return errors.New("it is a library and has nothing to install: name a chart that depends on it")
	}
	if want := c.Metadata.KubeVersion; want != "" && !chartutil.IsCompatibleRange(want, kube.String()) {
		return fmt.Errorf("it wants Kubernetes %s, not %s: give the version of your cluster with --kube-version", want, kube.Version)
	}
	return nil
}
