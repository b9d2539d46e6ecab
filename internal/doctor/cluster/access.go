// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
)

// requestFailed returns the finding for a failed request. If nothing in the cluster can
// be read, it is the same for all requests.
func (k *checker) requestFailed(operation string, err error) doctor.Finding {
	if access, ok := errors.AsType[*kubeconfig.AccessError](kubeconfig.Explain(k.REST.Host, err)); ok {
		return doctor.Unknownf(access.Remedy, "%s", access.Problem)
	}
	return doctor.Unknownf(doctor.RemedyFor(WithRemedy(err), "kubectl get --raw /readyz"), "%s: %v", operation, err)
}

// WithRemedy returns a doctor.Error if the user has no permission for a request, and err
// otherwise.
func WithRemedy(err error) error {
	if err == nil || !isUserForbidden(err) {
		return err
	}
	return doctor.NewError(err, "ask for the permission that the message names (kubectl auth can-i --list); all of them are in the ClusterRoles of: privatelink doctor --cluster-roles")
}

// isUserForbidden reports whether the user has no permission. Admission refuses
// objects with the same status, Forbidden.
func isUserForbidden(err error) bool {
	text := err.Error() // of a port-forward it is no Status
	return (apierrors.IsForbidden(err) || strings.Contains(text, "forbidden: User ")) && strings.Contains(text, " cannot ")
}
