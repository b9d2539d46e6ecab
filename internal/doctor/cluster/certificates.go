// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
)

// replicaChain is the certificate chain that a replica serves.
type replicaChain struct {
	pod   string
	chain []*x509.Certificate
}

// chains connects to each ready replica through a port-forward, which needs no
// network route to the pods.
func (k *checker) chains(ctx context.Context) ([]replicaChain, error) {
	return k.chainsOnce.Get(ctx, func(ctx context.Context) (chains []replicaChain, err error) {
		d, err := k.getDeployment(ctx)
		if err != nil {
			return nil, err
		}
		pods, err := k.webhookPods(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range pods {
			if !IsReady(p) {
				continue
			}
			chain, err := k.chain(ctx, p, ServingPort(d))
			if err != nil {
				return nil, fmt.Errorf("connecting to pod %s by port-forward: %w", p.Name, err)
			}
			chains = append(chains, replicaChain{p.Name, chain})
		}
		if len(chains) == 0 {
			return nil, errors.New("no replica is ready")
		}
		return chains, nil
	})
}

func (k *checker) chain(ctx context.Context, p corev1.Pod, port int32) ([]*x509.Certificate, error) {
	transport, upgrader, err := spdy.RoundTripperFor(k.REST)
	if err != nil {
		return nil, err
	}
	url := k.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(p.Namespace).Name(p.Name).SubResource("portforward").URL()
	stop, ready := make(chan struct{}), make(chan struct{})
	defer close(stop)
	forwarder, err := portforward.NewOnAddresses(spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url),
		[]string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-ended:
		return nil, errors.Join(err, errors.New("the port-forward ended"))
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return nil, err
	}
	// The check ca-bundle verifies the chain.
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: k.serverName()}}
	c, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[0].Local)))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.(*tls.Conn).ConnectionState().PeerCertificates, nil
}

// portForwardFailed returns the finding for chains that cannot be read.
func (k *checker) portForwardFailed(err error) doctor.Finding {
	f := k.requestFailed("reading the served certificate", err)
	_, isAccess := errors.AsType[*kubeconfig.AccessError](kubeconfig.Explain(k.REST.Host, err))
	if !isAccess && !isUserForbidden(err) {
		f.Remedy = "let the API server reach the kubelet (port 10250 of the nodes), which kubectl port-forward and kubectl logs need; or exclude these checks with --skip cluster/certificate,cluster/ca-bundle"
	}
	return f
}

// serverName returns the name that API servers verify.
func (k *checker) serverName() string { return k.Names.Service + "." + k.Names.Namespace + ".svc" }

func (k *checker) certificate(ctx context.Context) doctor.Finding {
	chains, err := k.chains(ctx)
	if err != nil {
		return k.portForwardFailed(err)
	}
	isSelfManaged, err := k.isSelfManaged(ctx)
	if err != nil {
		return k.requestFailed("reading the Deployment", err)
	}
	now, err := k.serverTime(ctx)
	if err != nil {
		return k.requestFailed("reading the API server's clock", err)
	}
	remedy := k.restartCommand() + "\nand read its log: the webhook renews its certificate long before it expires"
	if !isSelfManaged {
		remedy = "renew the certificate: with cert-manager, kubectl -n " + k.Names.Namespace + " describe certificates; else replace the files in its Secret"
	}
	var earliest time.Time
	for _, s := range chains {
		for _, c := range s.chain {
			detail := fmt.Sprintf("pod %s serves %q, valid from %s to %s", s.pod, c.Subject.CommonName, c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))
			remaining := c.NotAfter.Sub(now)
			switch {
			case now.Before(c.NotBefore):
				return doctor.Failf("correct the clocks of the nodes and of the control plane, then "+k.restartCommand(), "a certificate is not valid yet: the API server's clock says %s", now.UTC().Format(time.RFC3339)).With(detail)
			case remaining <= 0:
				return doctor.Failf(remedy, "a certificate has expired").With(detail)
			case remaining < margin(c):
				return doctor.Failf(remedy, "a certificate expires in %s", days(remaining)).With(detail)
			}
			if earliest.IsZero() || c.NotAfter.Before(earliest) {
				earliest = c.NotAfter
			}
		}
	}
	return doctor.OKf("%d replicas; the first certificate expires in %s", len(chains), days(earliest.Sub(now)))
}

// margin returns the time before its expiry at which a certificate should have
// been renewed: a quarter of its lifetime, at most 30 days. The webhook renews at
// two thirds of the lifetime, and cert-manager as the overlay configures it.
func margin(c *x509.Certificate) time.Duration {
	return min(c.NotAfter.Sub(c.NotBefore)/4, 30*24*time.Hour)
}

func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

func (k *checker) caBundle(ctx context.Context) doctor.Finding {
	live, err := k.getConfiguration(ctx)
	if err != nil {
		return k.requestFailed("reading the MutatingWebhookConfiguration", err)
	}
	chains, err := k.chains(ctx)
	if err != nil {
		return k.portForwardFailed(err)
	}
	isSelfManaged, err := k.isSelfManaged(ctx)
	if err != nil {
		return k.requestFailed("reading the Deployment", err)
	}
	remedy := k.restartCommand() + "\nThe webhook publishes its CA within two to three seconds; if that does not help, see its log and the check cluster/rbac."
	if !isSelfManaged {
		remedy = "publish the CA: cert-manager's cainjector does so with the annotation cert-manager.io/inject-ca-from; with your own files:\nkubectl patch mutatingwebhookconfiguration " + live.Name +
			` --type=json -p '[{"op":"replace","path":"/webhooks/0/clientConfig/caBundle","value":"'"$(base64 -w0 ca.crt)"'"},{"op":"replace","path":"/webhooks/1/clientConfig/caBundle","value":"'"$(base64 -w0 ca.crt)"'"}]'`
	}
	var untrusted []string
	for _, w := range live.Webhooks {
		roots := x509.NewCertPool()
		if len(w.ClientConfig.CABundle) == 0 {
			untrusted = append(untrusted, w.Name+" has no caBundle")
			continue
		}
		if !roots.AppendCertsFromPEM(w.ClientConfig.CABundle) {
			untrusted = append(untrusted, w.Name+": its caBundle contains no certificate")
			continue
		}
		for _, s := range chains {
			if err := k.verify(roots, s.chain); err != nil {
				untrusted = append(untrusted, fmt.Sprintf("%s does not trust pod %s: %v", w.Name, s.pod, err))
			}
		}
	}
	if len(untrusted) > 0 {
		return doctor.Failf(remedy, "the API server does not trust the webhook").With(untrusted...)
	}
	return doctor.OKf("%d entries trust %d replicas", len(live.Webhooks), len(chains))
}

// verify verifies a chain as the API server does, but at a time when the leaf is
// valid, because the check certificate covers its dates.
func (k *checker) verify(roots *x509.CertPool, chain []*x509.Certificate) error {
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{DNSName: k.serverName(), Roots: roots, Intermediates: intermediates, CurrentTime: chain[0].NotAfter.Add(-time.Second)})
	return err
}

func (k *checker) caSecret(ctx context.Context) doctor.Finding {
	if d, done := k.selfManaged(ctx, "not needed: the certificate is read from files"); d == nil {
		return done
	}
	// Only metadata is requested, because the Secret contains a private key.
	err := k.Client.CoreV1().RESTClient().Get().Namespace(k.Names.Namespace).Resource("secrets").Name(k.Names.CASecret).
		SetHeader("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1").Do(ctx).Into(&metav1.PartialObjectMetadata{})
	where := objectName("Secret", k.Names.Namespace, k.Names.CASecret)
	switch {
	case apierrors.IsNotFound(err):
		return doctor.Failf(k.installCommand(), "there is no %s", where)
	case err != nil:
		return k.requestFailed("reading the "+where, err)
	}
	return doctor.OKf("%s", k.Names.CASecret)
}

func (k *checker) rbac(ctx context.Context) doctor.Finding {
	d, done := k.selfManaged(ctx, "not needed: the certificate is read from files")
	if d == nil {
		return done
	}
	user := fmt.Sprintf("system:serviceaccount:%s:%s", d.Namespace, d.Spec.Template.Spec.ServiceAccountName)
	var denied []string
	for _, attributes := range []authorizationv1.ResourceAttributes{
		{Verb: "get", Resource: "secrets", Namespace: d.Namespace, Name: k.Names.CASecret},
		{Verb: "watch", Resource: "secrets", Namespace: d.Namespace, Name: k.Names.CASecret},
		{Verb: "update", Resource: "secrets", Namespace: d.Namespace, Name: k.Names.CASecret},
		{Verb: "get", Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations", Name: k.Expected.Name},
		{Verb: "patch", Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations", Name: k.Expected.Name},
	} {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &attributes,
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + d.Namespace, "system:authenticated"}}}
		response, err := k.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return k.requestFailed("reviewing the webhook's permissions", err)
		}
		if !response.Status.Allowed {
			denied = append(denied, fmt.Sprintf("%s %s/%s", attributes.Verb, attributes.Resource, attributes.Name))
		}
	}
	if len(denied) > 0 {
		return doctor.Failf(k.installCommand(), "%s may not %s", user, doctor.List(denied, 5))
	}
	return doctor.OKf("%s has all permissions", user)
}
