// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
)

const account = "system:serviceaccount:" + deploy.Namespace + ":" + deploy.Name

func TestTheWebhookMayDoWhatItMustAndNothingElse(t *testing.T) {
	shipped(t)
	t.Parallel()
	const admission = "admissionregistration.k8s.io"
	type access = authorizationv1.ResourceAttributes
	for name, tc := range map[string]struct {
		access
		want bool
	}{
		"it reads its CA":                            {access{Verb: "get", Resource: "secrets", Namespace: deploy.Namespace, Name: deploy.CASecret}, true},
		"it watches its CA":                          {access{Verb: "watch", Resource: "secrets", Namespace: deploy.Namespace, Name: deploy.CASecret}, true},
		"it writes its CA":                           {access{Verb: "update", Resource: "secrets", Namespace: deploy.Namespace, Name: deploy.CASecret}, true},
		"it reads its configuration":                 {access{Verb: "get", Group: admission, Resource: "mutatingwebhookconfigurations", Name: deploy.ConfigurationName}, true},
		"it publishes in its configuration":          {access{Verb: "patch", Group: admission, Resource: "mutatingwebhookconfigurations", Name: deploy.ConfigurationName}, true},
		"it creates no secret":                       {access{Verb: "create", Resource: "secrets", Namespace: deploy.Namespace}, false},
		"it deletes not even its CA":                 {access{Verb: "delete", Resource: "secrets", Namespace: deploy.Namespace, Name: deploy.CASecret}, false},
		"it lists no secrets of its namespace":       {access{Verb: "list", Resource: "secrets", Namespace: deploy.Namespace}, false},
		"it reads no other secret there":             {access{Verb: "get", Resource: "secrets", Namespace: deploy.Namespace, Name: "other"}, false},
		"it reads no secret elsewhere":               {access{Verb: "get", Resource: "secrets", Namespace: Namespace, Name: deploy.CASecret}, false},
		"it lists no secrets of the cluster":         {access{Verb: "list", Resource: "secrets"}, false},
		"it reads no pods":                           {access{Verb: "get", Resource: "pods", Namespace: Namespace}, false},
		"it lists no pods":                           {access{Verb: "list", Resource: "pods"}, false},
		"it reads no ConfigMaps":                     {access{Verb: "get", Resource: "configmaps", Namespace: deploy.Namespace, Name: deploy.Name}, false},
		"it touches no other configuration":          {access{Verb: "patch", Group: admission, Resource: "mutatingwebhookconfigurations", Name: "other"}, false},
		"it creates no configuration":                {access{Verb: "create", Group: admission, Resource: "mutatingwebhookconfigurations"}, false},
		"it touches no validating configuration":     {access{Verb: "patch", Group: admission, Resource: "validatingwebhookconfigurations", Name: deploy.ConfigurationName}, false},
		"it grants itself nothing":                   {access{Verb: "update", Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Name: deploy.Name}, false},
		"it makes no tokens":                         {access{Verb: "create", Resource: "serviceaccounts", Subresource: "token", Namespace: deploy.Namespace, Name: deploy.Name}, false},
		"it does not scale or change its Deployment": {access{Verb: "patch", Group: "apps", Resource: "deployments", Namespace: deploy.Namespace, Name: deploy.Name}, false},
	} {
		t.Run(name, func(t *testing.T) {
			review, err := h.Client.AuthorizationV1().SubjectAccessReviews().Create(testCtx, &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{
					User:               account,
					Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + deploy.Namespace, "system:authenticated"},
					ResourceAttributes: &tc.access,
				},
			}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := review.Status.Allowed; got != tc.want {
				t.Errorf("allowed %t (%s), want %t", got, review.Status.Reason, tc.want)
			}
		})
	}
}

// An unexpected grant would be in the list.
func TestTheWebhookHasNoGrantsBeyondTheKnown(t *testing.T) {
	shipped(t)
	t.Parallel()
	grants := func(account string) []string {
		lines := strings.Split(kubectl(t, nil, "auth", "can-i", "--list", "--no-headers", "--namespace="+deploy.Namespace,
			"--as="+account, "--as-group=system:serviceaccounts", "--as-group=system:authenticated"), "\n")
		for i, l := range lines {
			lines[i] = strings.Join(strings.Fields(l), " ") // columns are as wide as they need to be
		}
		return lines
	}
	defaultGrants, webhookGrants := grants("system:serviceaccount:default:default"), 0
	for _, g := range grants(account) {
		switch resource, _, _ := strings.Cut(g, " "); {
		case slices.Contains(defaultGrants, g):
		case resource == "secrets" || resource == "mutatingwebhookconfigurations.admissionregistration.k8s.io":
			webhookGrants++
		default:
			t.Errorf("unexpected grant: %s", g)
		}
	}
	if webhookGrants != 2 {
		t.Errorf("%d grants of the webhook, want 2", webhookGrants)
	}
}
