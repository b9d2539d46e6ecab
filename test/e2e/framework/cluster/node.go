// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"io"
)

// The components of a node, which BuildNode adds to those of Build.
const (
	Scheduler = "kube-scheduler"
	Kubelet   = "kubelet"
	Proxy     = "kube-proxy"
)

// BuildNode returns a folder like that of Build, with the programs of a node
// in it as well, released or compiled. The variable KUBEBUILDER_ASSETS is not
// used: its folder has no kubelet.
func BuildNode(ctx context.Context, dir string, log io.Writer) (bin string, err error) {
	if log == nil {
		log = io.Discard
	}
	root, err := findRoot(dir)
	if err != nil {
		return "", err
	}
	return prepare(ctx, root, variant{suffix: "-node", tags: []string{"node"}, programs: []string{Scheduler, Kubelet, Proxy}}, log)
}
