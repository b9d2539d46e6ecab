// SPDX-License-Identifier: Apache-2.0

//go:build linux

package isolated

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/castai/privatelink-webhook/test/e2e/framework/harness"
)

// Containerd is the container runtime, one more name that LogFile and Tail take.
const Containerd = "containerd"

// pause is the image of pod sandboxes. As on nodes of EKS it is there before
// the first pod: the runtime pulls it without the kubelet's credentials.
const pause = "localhost/kubernetes/pause:latest"

// containerdConfig wants: root, folder of registries, pause, plugins, networks.
const containerdConfig = `version = 3
root = %[1]q
disabled_plugins = ["io.containerd.nri.v1.nri"]

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".registry]
config_path = %[2]q
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = %[3]q

[plugins."io.containerd.cri.v1.runtime"]
# For machines without CAP_SYS_RESOURCE, such as containers.
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = [%[4]q]
conf_dir = %[5]q
`

// hostConfig wants: host, authority. It is all that makes a stand-in of a host.
const hostConfig = `server = "https://%[1]s"
[host."https://%[1]s"]
capabilities = ["pull", "resolve"]
ca = %[2]q
`

// networkConfig wants: bridge, pods, first pod, gateway.
const networkConfig = `{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [{
    "type": "bridge", "bridge": %[1]q, "isGateway": true, "hairpinMode": true,
    "ipam": {
      "type": "host-local",
      "ranges": [[{"subnet": %[2]q, "rangeStart": %[3]q, "gateway": %[4]q}]],
      "routes": [{"dst": "0.0.0.0/0"}]
    }
  }]
}
`

// startContainerd writes the runtime's files, starts it and gives it pause.
func (n *Node) startContainerd(ctx context.Context) error {
	registries, networks := filepath.Join(n.dir, "certs.d"), filepath.Join(n.dir, "cni")
	files := map[string]string{
		filepath.Join(n.dir, "containerd.toml"):     fmt.Sprintf(containerdConfig, filepath.Join(n.dir, "containerd"), registries, pause, networkPlugins, networks),
		filepath.Join(networks, "10-pods.conflist"): fmt.Sprintf(networkConfig, bridge, podCIDR, "10.200.0.10", address),
	}
	for _, host := range []string{Host, AddOnHost, n.Strict.Host()} {
		files[filepath.Join(registries, host, "hosts.toml")] = fmt.Sprintf(hostConfig, host, n.caFile())
	}
	if err := write(files); err != nil {
		return err
	}
	if err := n.run(Containerd, 5*time.Second, filepath.Join(n.containerd(), Containerd), "--config", filepath.Join(n.dir, "containerd.toml")); err != nil {
		return err
	}
	if err := harness.Eventually(ctx, 30*time.Second, func(ctx context.Context) error { return n.ctr(ctx, "version") }); err != nil {
		return fmt.Errorf("containerd is not ready: %w; %s", err, n.Tail(Containerd, 20))
	}
	return n.importPause(ctx)
}

func (n *Node) importPause(ctx context.Context) error {
	index, err := n.standIn(behavior{})
	if err != nil {
		return err
	}
	image, err := ofThisMachine(index)
	if err != nil {
		return err
	}
	tag, err := name.NewTag(pause)
	if err != nil {
		return err
	}
	file := filepath.Join(n.dir, "pause.tar")
	return errors.Join(tarball.WriteToFile(file, tag, image), n.ctr(ctx, "images", "import", file), os.Remove(file))
}

// ctr runs ctr, in the namespace that the kubelet uses.
func (n *Node) ctr(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(n.containerd(), "ctr"), append([]string{"--namespace", "k8s.io"}, args...)...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ctr %v: %w: %s", args, err, said)
	}
	return nil
}

// write writes files, and the folders that they are in.
func write(files map[string]string) error {
	var errs []error
	for path, text := range files {
		errs = append(errs, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600))
	}
	return errors.Join(errs...)
}
