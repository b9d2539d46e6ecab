// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
)

// serviceRange is where Services get their addresses. Nothing routes to it.
const serviceRange = "10.96.0.0/16"

// serviceAddress is the address of the Service "kubernetes": the first of the range.
func serviceAddress() net.IP { return net.IPv4(10, 96, 0, 1) }

// layout is where everything of one cluster is: its folder and its ports. The
// command lines follow from it, and so stay the same over a restart.
type layout struct {
	dir                       string
	etcd, etcdPeer, apiServer int
}

func (l layout) etcdURL() string            { return fmt.Sprintf("http://127.0.0.1:%d", l.etcd) }
func (l layout) apiServerURL() string       { return fmt.Sprintf("https://127.0.0.1:%d", l.apiServer) }
func (l layout) caFile() string             { return filepath.Join(l.dir, "ca.crt") }
func (l layout) servingCertificate() string { return filepath.Join(l.dir, "apiserver.crt") }
func (l layout) servingKey() string         { return filepath.Join(l.dir, "apiserver.key") }
func (l layout) serviceAccountKey() string  { return filepath.Join(l.dir, "service-account.key") }
func (l layout) tokenFile() string          { return filepath.Join(l.dir, "tokens.csv") }
func (l layout) managerKubeconfig() string {
	return filepath.Join(l.dir, "controller-manager.kubeconfig")
}

func (l layout) etcdArgs() []string {
	peer := fmt.Sprintf("http://127.0.0.1:%d", l.etcdPeer)
	return []string{
		"--name=test",
		"--data-dir=" + filepath.Join(l.dir, "etcd"),
		"--listen-client-urls=" + l.etcdURL(),
		"--advertise-client-urls=" + l.etcdURL(),
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=test=" + peer,
		// The data need not survive the machine, only the process.
		"--unsafe-no-fsync",
		// The only member waits for no other.
		"--heartbeat-interval=10",
		"--election-timeout=100",
		"--log-level=warn",
	}
}

func (l layout) apiServerArgs(cfg Config) []string {
	args := []string{
		"--etcd-servers=" + l.etcdURL(),
		"--bind-address=127.0.0.1",
		// It is not advertised: a loopback address is not allowed in an
		// EndpointSlice, hence no reconciler. Without the flag the server
		// needs a default route, and an isolated machine has none.
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none",
		fmt.Sprintf("--secure-port=%d", l.apiServer),
		"--tls-cert-file=" + l.servingCertificate(),
		"--tls-private-key-file=" + l.servingKey(),
		"--token-auth-file=" + l.tokenFile(),
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + l.serviceAccountKey(),
		"--service-account-signing-key-file=" + l.serviceAccountKey(),
		"--service-cluster-ip-range=" + serviceRange,
		// Webhook Services are called by endpoint, so that none needs a kube-proxy.
		"--enable-aggregator-routing=true",
		"--allow-privileged=true",
		// Else it waits a minute for its watches to end before it ends itself.
		"--shutdown-watch-termination-grace-period=1s",
	}
	if len(cfg.FeatureGates) > 0 {
		args = append(args, "--feature-gates="+pairs(cfg.FeatureGates))
	}
	if len(cfg.RuntimeConfig) > 0 {
		args = append(args, "--runtime-config="+pairs(cfg.RuntimeConfig))
	}
	return append(args, cfg.APIServerArgs...)
}

func (l layout) controllerManagerArgs() []string {
	return []string{
		"--kubeconfig=" + l.managerKubeconfig(),
		"--root-ca-file=" + l.caFile(),
		"--service-account-private-key-file=" + l.serviceAccountKey(),
		// Each controller is its own user, as on a real cluster: a webhook sees
		// in the review who creates a pod.
		"--use-service-account-credentials=true",
		"--leader-elect=false",
		// Its health page and metrics are not used; one port less.
		"--secure-port=0",
		// The default of 20 requests a second is what a test would wait for.
		"--kube-api-qps=1000",
		"--kube-api-burst=2000",
	}
}

// pairs renders a map as flags take it, in a stable order.
func pairs[V any](m map[string]V) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%s=%v", k, m[k]))
	}
	return strings.Join(out, ",")
}
