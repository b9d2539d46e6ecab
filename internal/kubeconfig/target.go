// SPDX-License-Identifier: Apache-2.0

package kubeconfig

import (
	"net/url"
	"regexp"
	"strings"

	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/castai/privatelink-webhook/internal/target"
)

// eksHost is the host of an API server of EKS.
var eksHost = regexp.MustCompile(`^[0-9A-Za-z]+\.[0-9a-z-]+\.([a-z0-9-]+)\.eks\.amazonaws\.com(\.cn)?$`)

// Target returns what the kubeconfig tells about the cluster. `aws eks
// update-kubeconfig` writes the ARN as the name of the cluster, and the name into the
// arguments of the login command.
func (o Options) Target() target.Target {
	var t target.Target
	loader := o.loader()
	if config, err := loader.ClientConfig(); err == nil {
		t.Server = config.Host
	}
	raw, err := loader.RawConfig()
	if err != nil {
		return t
	}
	name := raw.CurrentContext
	if o.Context != "" {
		name = o.Context
	}
	kubeContext, ok := raw.Contexts[name]
	if !ok {
		return t
	}
	t.Context = name
	// arn:aws:eks:REGION:ACCOUNT:cluster/NAME
	if parts := strings.SplitN(kubeContext.Cluster, ":", 6); len(parts) == 6 && parts[0] == "arn" {
		t.Region, t.Account, t.Cluster = parts[3], parts[4], strings.TrimPrefix(parts[5], "cluster/")
	}
	if match := eksHost.FindStringSubmatch(EKSHost(t.Server)); match != nil && t.Region == "" {
		t.Region = match[1]
	}
	if user, ok := raw.AuthInfos[kubeContext.AuthInfo]; ok && user.Exec != nil {
		addLogin(&t, user.Exec)
	}
	return t
}

// EKSHost returns the host in the URL of an API server, in lower case, or "" if it is not
// one of EKS.
func EKSHost(server string) string {
	u, err := url.Parse(server)
	if err != nil || !eksHost.MatchString(u.Hostname()) {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// addLogin adds what the arguments of a login command tell.
func addLogin(t *target.Target, login *api.ExecConfig) {
	for i := 0; i+1 < len(login.Args); i++ {
		switch login.Args[i] {
		case "--cluster-name", "-i":
			t.Cluster = login.Args[i+1]
		case "--region":
			t.Region = login.Args[i+1]
		}
	}
}

// EKSCluster returns the name of the cluster in EKS, or "" if the kubeconfig does not
// contain it.
func (o Options) EKSCluster() string { return o.Target().Cluster }
