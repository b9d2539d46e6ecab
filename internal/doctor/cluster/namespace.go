// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// FindNamespace returns the namespace of the Service that the webhook configuration
// refers to, since overlays may install the webhook in any namespace. It returns
// fallback if the configuration does not exist or cannot be read: whatever reads
// the webhook's objects next reports the cause.
func FindNamespace(ctx context.Context, client kubernetes.Interface, configuration, fallback string) string {
	c, err := client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, configuration, metav1.GetOptions{})
	if err != nil {
		return fallback
	}
	for _, w := range c.Webhooks {
		if w.ClientConfig.Service != nil {
			return w.ClientConfig.Service.Namespace
		}
	}
	return fallback
}
