// SPDX-License-Identifier: Apache-2.0

//go:build linux

package isolated

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster"
	"github.com/castai/privatelink-webhook/test/e2e/framework/harness"
	"github.com/castai/privatelink-webhook/test/isolated/machine"
)

// kubeletConfig wants: cgroup, pod logs, resolver, volume plugins.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
# Only the tests reach this node.
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: %[1]s
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
podLogsDir: %[2]s
resolvConf: %[3]s
volumePluginDir: %[4]s
clusterDomain: cluster.local
clusterDNS: [10.96.0.10]
# Nothing is cleaned up or evicted behind the back of a test.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "0%%", nodefs.available: "0%%", nodefs.inodesFree: "0%%", imagefs.available: "0%%"}
# A test waits for pulls and for nothing else.
serializeImagePulls: false
registryPullQPS: 0
eventRecordQPS: 0
nodeStatusUpdateFrequency: 2s
syncFrequency: 10s
`

// providerConfig wants: file with the password. The patterns are those of a
// node of EKS.
const providerConfig = `apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: ecr-credential-provider
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: ["*.dkr.ecr.*.amazonaws.com", "*.dkr-ecr.*.on.aws", "*.dkr.ecr-fips.*.amazonaws.com"]
  defaultCacheDuration: 12h
  args: [%[1]q]
`

// startKubernetes starts what makes a node of a container runtime.
func (n *Node) startKubernetes(ctx context.Context) error {
	config, provider := filepath.Join(n.dir, "kubelet.yaml"), filepath.Join(n.dir, "credential-provider.yaml")
	if err := write(map[string]string{
		config:   fmt.Sprintf(kubeletConfig, machine.Cgroup(), filepath.Join(n.dir, "pod-logs"), machine.Resolver, filepath.Join(n.dir, "volume-plugins")),
		provider: fmt.Sprintf(providerConfig, n.passwordFile()),
	}); err != nil {
		return err
	}
	return errors.Join(
		n.run(cluster.Scheduler, 5*time.Second, filepath.Join(n.Kubernetes, cluster.Scheduler),
			"--kubeconfig="+n.Kubeconfig, "--leader-elect=false", "--secure-port=0", "--kube-api-qps=500", "--kube-api-burst=1000"),
		n.run(cluster.Proxy, 5*time.Second, filepath.Join(n.Kubernetes, cluster.Proxy),
			"--kubeconfig="+n.Kubeconfig, "--proxy-mode=nftables", "--hostname-override="+Name, "--cluster-cidr="+podCIDR,
			// Limits of the host, which the node must not change.
			"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s"),
		n.run(cluster.Kubelet, 10*time.Second, filepath.Join(n.Kubernetes, cluster.Kubelet),
			"--kubeconfig="+n.Kubeconfig, "--config="+config, "--hostname-override="+Name, "--node-ip="+address,
			"--root-dir="+filepath.Join(n.dir, cluster.Kubelet), "--cert-dir="+filepath.Join(n.dir, "kubelet-pki"),
			"--image-credential-provider-config="+provider, "--image-credential-provider-bin-dir="+n.providers(),
			// The second makes it a spot instance, which one of the workloads waits for.
			"--node-labels=topology.kubernetes.io/zone=us-east-1a,scheduling.cast.ai/spot=true"),
	)
}

// awaitReady returns when pods may be scheduled.
func (n *Node) awaitReady(ctx context.Context) error {
	err := harness.Eventually(ctx, 60*time.Second, func(ctx context.Context) error {
		if err := n.Err(); err != nil {
			return err
		}
		node, err := n.Client.CoreV1().Nodes().Get(ctx, Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, t := range node.Spec.Taints {
			err = errors.Join(err, fmt.Errorf("it has the taint %s", t.Key))
		}
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
				err = errors.Join(err, errors.New(c.Message))
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("the node is not ready: %w; %s", err, n.Tail(cluster.Kubelet, 20))
	}
	return nil
}
