// SPDX-License-Identifier: Apache-2.0

package certs_test

import (
	"context"
	"crypto/tls"
	"fmt"

	arv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/castai/privatelink-webhook/certs"
)

// The pair may be mounted late: until then, the source is not ready.
func ExampleNewFiles() {
	source, err := certs.NewFiles(certs.FilesConfig{CertFile: "absent/tls.crt", KeyFile: "absent/tls.key"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(source.Ready())
	// Output:
	// no certificate: absent/tls.crt and absent/tls.key do not exist, or are not a valid pair: mount the Secret, or write both files
}

// The replicas of a webhook share the CA in the Secret. Start reads or creates it, and
// returns when its context ends.
func ExampleNewSelfManaged() {
	source, err := certs.NewSelfManaged(certs.SelfManagedConfig{
		RESTConfig: &rest.Config{Host: "https://10.0.0.1"}, Namespace: "castai-privatelink", SecretName: "privatelink-webhook-ca",
		ConfigurationName: "zz-privatelink-webhook", ServiceName: "privatelink-webhook",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(source.Ready())

	_, err = certs.NewSelfManaged(certs.SelfManagedConfig{})
	fmt.Println(err)
	// Output:
	// no serving certificate for privatelink-webhook.castai-privatelink.svc yet: in progress
	// self-managed certificates: RESTConfig is required
	// self-managed certificates: Namespace is required
	// self-managed certificates: SecretName is required
	// self-managed certificates: ConfigurationName is required
	// self-managed certificates: ServiceName is required
}

// A server asks its source for the certificate at each handshake, and says when it is
// not ready.
func ExampleSource() {
	var source certs.Source
	source, err := certs.NewFiles(certs.FilesConfig{CertFile: "absent/tls.crt", KeyFile: "absent/tls.key"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- source.Start(ctx) }()
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: source.GetCertificate}
	_, err = config.GetCertificate(&tls.ClientHelloInfo{})
	fmt.Println("a certificate:", err == nil)
	leaf, ca := source.Expiry()
	fmt.Println("expiry known:", !leaf.IsZero(), !ca.IsZero())
	stop()
	fmt.Println("stopped:", <-ended)
	// Output:
	// a certificate: false
	// expiry known: false false
	// stopped: <nil>
}

// Now distrusts the old CA at once. Without it, Reset waits until the replicas have
// changed over.
func ExampleReset() {
	client := fake.NewClientset(
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "castai-privatelink", Name: "privatelink-webhook-ca"}},
		&arv1.MutatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: "zz-privatelink-webhook"},
			Webhooks:   []arv1.MutatingWebhook{{Name: "pods.privatelink.cast.ai", ClientConfig: arv1.WebhookClientConfig{CABundle: []byte("the CA that leaked")}}},
		},
	)
	err := certs.Reset(context.Background(), certs.ResetConfig{
		Client: client, Namespace: "castai-privatelink", SecretName: "privatelink-webhook-ca",
		ConfigurationName: "zz-privatelink-webhook", ServiceName: "privatelink-webhook",
		Now: true, Progress: func(step string) { fmt.Println(step) },
	})
	fmt.Println("error:", err)
	// Output:
	// Secret castai-privatelink/privatelink-webhook-ca has a new CA
	// MutatingWebhookConfiguration zz-privatelink-webhook trusts the new CA only
	// error: <nil>
}
