// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"io"
	"strings"
)

// The ClusterRoles of the component doctor-rbac. Only the first is bound in the whole
// cluster; the others are for single namespaces.
const (
	// RoleRead reads everything but Secrets.
	RoleRead = "privatelink-doctor"
	// RoleDryRun sends pods as dry runs, which Kubernetes permits only with the right to
	// create them, and opens port-forwards, in the namespaces of the webhook and CAST AI.
	RoleDryRun = "privatelink-doctor-dry-run"
	// RoleSecrets reads the metadata of the CA's Secret and, without a lock file, the Helm
	// releases of CAST AI. Kubernetes permits that only with the right to read the Secrets.
	RoleSecrets = "privatelink-doctor-secrets"
	// RoleProbe runs the Job of --probe.
	RoleProbe = "privatelink-doctor-probe"
)

// Permission is what a check requests from the API server.
type Permission struct {
	Role     string
	Group    string // of the API; "" is the core group
	Resource string
	Verbs    []string
	// Names limit the permission to single objects. The namespaces and some names are a
	// choice of the user, so that only those that are fixed are limited.
	Names []string
	// For are the checks.
	For string
}

// Permissions lists what the checks of all groups, and what finds the installation
// before, request from the API server. A test holds the list sufficient and minimal.
func Permissions() []Permission {
	const (
		admission = "admissionregistration.k8s.io"
		apps      = "apps"
	)
	get, list, both, create := []string{"get"}, []string{"list"}, []string{"get", "list"}, []string{"create"}
	return []Permission{
		{RoleRead, "", "namespaces", both, nil, "namespaces, injectors, rewrite; list: a configuration with namespaceSelector"},
		{RoleRead, "", "configmaps", get, []string{"privatelink-webhook"}, "config, and doctor without --config"},
		{RoleRead, "", "services", get, nil, "service, admission, rewrite"},
		{RoleRead, "", "pods", list, nil, "replicas, rollout, certificate, pods, pulls, other-namespaces; registry/images without a lock file"},
		{RoleRead, "", "nodes", list, nil, "replicas; registry/platforms"},
		{RoleRead, "", "events", list, nil, "creation"},
		{RoleRead, "", "limitranges", list, nil, "admission, rewrite: the name of a LimitRange that refuses a pod"},
		{RoleRead, "discovery.k8s.io", "endpointslices", list, nil, "service, network-policy"},
		{RoleRead, "networking.k8s.io", "networkpolicies", list, nil, "network-policy"},
		{RoleRead, apps, "deployments", both, nil, "replicas and others of the webhook; list: chart-repository, registry/images without a lock file"},
		{RoleRead, apps, "replicasets", list, nil, "creation; registry/images without a lock file"},
		{RoleRead, apps, "daemonsets", list, nil, "creation; registry/images without a lock file"},
		{RoleRead, apps, "statefulsets", list, nil, "creation; registry/images without a lock file"},
		{RoleRead, "batch", "jobs", list, nil, "creation; registry/images without a lock file"},
		{RoleRead, "batch", "cronjobs", list, nil, "registry/images without a lock file"},
		{RoleRead, admission, "mutatingwebhookconfigurations", both, nil, "webhook-configuration, ca-bundle, injectors; admission, rewrite: the names of others"},
		{RoleRead, admission, "validatingwebhookconfigurations", list, nil, "admission, rewrite: the names of others"},
		{RoleRead, admission, "validatingadmissionpolicies", get, nil, "guard, account-policy"},
		{RoleRead, admission, "validatingadmissionpolicybindings", get, nil, "guard, account-policy"},
		{RoleRead, admission, "mutatingadmissionpolicies", both, nil, "policy; rewrite: the names of others"},
		{RoleRead, admission, "mutatingadmissionpolicybindings", both, nil, "policy, and doctor without --config; rewrite: the names of others"},
		{RoleRead, "castware.cast.ai", "clusters", list, nil, "chart-repository; inside/charts with --probe"},
		{RoleRead, "authorization.k8s.io", "subjectaccessreviews", create, nil, "rbac. A review changes nothing"},
		{RoleDryRun, "", "pods", create, nil, "pod-security, admission, rewrite"},
		{RoleDryRun, "", "pods/portforward", create, nil, "certificate, ca-bundle"},
		{RoleSecrets, "", "secrets", both, nil, "get: ca-secret; list: registry/images without a lock file"},
		{RoleProbe, "batch", "jobs", []string{"create", "delete"}, nil, "inside with --probe"},
		{RoleProbe, "", "pods", []string{"watch"}, nil, "inside with --probe"},
		{RoleProbe, "", "events", []string{"watch"}, nil, "inside with --probe"},
		{RoleProbe, "", "pods/log", get, nil, "inside with --probe"},
	}
}

// WriteRoles writes the ClusterRoles that grant all permissions, as YAML. They are bound
// by the user.
func WriteRoles(w io.Writer) error {
	about := map[string]string{
		RoleRead:    "Reads everything that the checks of privatelink doctor need, but Secrets. Bind it in\n# the whole cluster.",
		RoleDryRun:  "Sends pods as dry runs, and opens port-forwards. Kubernetes permits a dry run only\n# with the right to create pods. Bind it in the namespaces of the webhook and of CAST AI.",
		RoleSecrets: "Reads the metadata of the CA's Secret and, without a lock file, the Helm releases of\n# CAST AI. Kubernetes permits that only with the right to read the Secrets. Bind it in the\n# namespaces of the webhook and of CAST AI, or leave these checks UNKNOWN.",
		RoleProbe:   "Runs the Job of privatelink doctor --probe. Bind it in the namespace of the webhook.",
	}
	var out strings.Builder
	role := ""
	for _, p := range Permissions() {
		if p.Role != role {
			if role != "" {
				out.WriteString("---\n")
			}
			role = p.Role
			fmt.Fprintf(&out, "# %s\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: %s\n  labels:\n    app.kubernetes.io/name: %s\n    app.kubernetes.io/part-of: castai-privatelink\nrules:\n", about[role], role, RoleRead)
		}
		fmt.Fprintf(&out, "# %s\n- apiGroups: [%q]\n  resources: [%s]\n", p.For, p.Group, p.Resource)
		if len(p.Names) > 0 {
			fmt.Fprintf(&out, "  resourceNames: [%s]\n", strings.Join(p.Names, ", "))
		}
		fmt.Fprintf(&out, "  verbs: [%s]\n", strings.Join(p.Verbs, ", "))
	}
	_, err := io.WriteString(w, out.String())
	return err
}
