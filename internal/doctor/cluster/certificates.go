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
)

// served is what a replica shows to those who connect.
type served struct {
	pod   string
	chain []*x509.Certificate
}

// chains asks every ready replica for its certificate, over a port-forward:
// whoever may use kubectl gets there, from wherever that is.
func (k *cluster) chains(ctx context.Context) ([]served, error) {
	return k.served.Get(ctx, func(ctx context.Context) (all []served, err error) {
		d, err := k.theDeployment(ctx)
		if err != nil {
			return nil, err
		}
		pods, err := k.ownPods(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range pods {
			if !IsReady(p) {
				continue
			}
			chain, err := k.chain(ctx, p, servingPort(d))
			if err != nil {
				return nil, fmt.Errorf("connecting to pod %s by port-forward: %w", p.Name, err)
			}
			all = append(all, served{p.Name, chain})
		}
		if len(all) == 0 {
			return nil, errors.New("no replica is ready")
		}
		return all, nil
	})
}

// presented are the chains, and whether the webhook makes them itself.
func (k *cluster) presented(ctx context.Context) (all []served, self bool, err error) {
	if all, err = k.chains(ctx); err != nil {
		return nil, false, err
	}
	self, err = k.selfManaged(ctx)
	return all, self, err
}

func (k *cluster) chain(ctx context.Context, p corev1.Pod, port int32) ([]*x509.Certificate, error) {
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
	// Whether it is to be trusted is decided afterwards, against the caBundle.
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: k.serverName()}}
	c, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[0].Local)))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.(*tls.Conn).ConnectionState().PeerCertificates, nil
}

// serverName is the one that API servers verify.
func (k *cluster) serverName() string { return k.Names.Service + "." + k.Names.Namespace + ".svc" }

// restarts makes the webhook begin anew, and publish its CA again.
func (k *cluster) restarts() string {
	return fmt.Sprintf("kubectl -n %s rollout restart deployment/%s", k.Names.Namespace, k.Names.Deployment)
}

func (k *cluster) certificate(ctx context.Context) doctor.Finding {
	all, self, err := k.presented(ctx)
	if err != nil {
		return unseen("asking for the served certificate", err)
	}
	now, err := k.serverTime(ctx)
	if err != nil {
		return unseen("asking the API server for its time", err)
	}
	remedy := k.restarts() + "\nand see its log; it should have renewed it by now"
	if !self {
		remedy = "renew the certificate: with cert-manager, kubectl -n " + k.Names.Namespace + " describe certificates; else replace the files in its Secret"
	}
	var first time.Time
	for _, s := range all {
		for _, c := range s.chain {
			what := fmt.Sprintf("pod %s serves %q, valid from %s to %s", s.pod, c.Subject.CommonName, c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))
			left := c.NotAfter.Sub(now)
			switch {
			case now.Before(c.NotBefore):
				return doctor.Failf("set the clocks of the nodes and of the control plane right, then "+k.restarts(), "a certificate is not valid yet: the API server's clock says %s", now.UTC().Format(time.RFC3339)).With(what)
			case left <= 0:
				return doctor.Failf(remedy, "a certificate has expired").With(what)
			case left < margin(c):
				return doctor.Failf(remedy, "a certificate expires in %s", days(left)).With(what)
			}
			if first.IsZero() || c.NotAfter.Before(first) {
				first = c.NotAfter
			}
		}
	}
	return doctor.OKf("%d replicas; the first certificate expires in %s", len(all), days(first.Sub(now)))
}

// margin is how long before its end a certificate should have been replaced: a
// quarter of its life, 30 days at most. Ours are renewed at two thirds,
// cert-manager's as the overlay says.
func margin(c *x509.Certificate) time.Duration {
	return min(c.NotAfter.Sub(c.NotBefore)/4, 30*24*time.Hour)
}

func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

func (k *cluster) caBundle(ctx context.Context) doctor.Finding {
	live, err := k.theConfiguration(ctx)
	if err != nil {
		return unseen("reading the MutatingWebhookConfiguration", err)
	}
	all, self, err := k.presented(ctx)
	if err != nil {
		return unseen("asking for the served certificate", err)
	}
	remedy := k.restarts() + "\nThe webhook publishes its CA within two to three seconds; if that does not help, see its log and the check cluster/rbac."
	if !self {
		remedy = "publish the CA: cert-manager's cainjector does with the annotation cert-manager.io/inject-ca-from; with files of your own:\nkubectl patch mutatingwebhookconfiguration " + live.Name +
			` --type=json -p '[{"op":"replace","path":"/webhooks/0/clientConfig/caBundle","value":"'"$(base64 -w0 ca.crt)"'"},{"op":"replace","path":"/webhooks/1/clientConfig/caBundle","value":"'"$(base64 -w0 ca.crt)"'"}]'`
	}
	var wrong []string
	for _, w := range live.Webhooks {
		roots := x509.NewCertPool()
		if len(w.ClientConfig.CABundle) == 0 {
			wrong = append(wrong, w.Name+" has no caBundle")
			continue
		}
		if !roots.AppendCertsFromPEM(w.ClientConfig.CABundle) {
			wrong = append(wrong, w.Name+": its caBundle has no certificate")
			continue
		}
		for _, s := range all {
			if err := k.trusts(roots, s.chain); err != nil {
				wrong = append(wrong, fmt.Sprintf("%s does not trust pod %s: %v", w.Name, s.pod, err))
			}
		}
	}
	if len(wrong) > 0 {
		return doctor.Failf(remedy, "the API server does not trust the webhook").With(wrong...)
	}
	return doctor.OKf("%d entries trust %d replicas", len(live.Webhooks), len(all))
}

// trusts verifies as the API server does, at a time when the leaf is valid: its
// dates are another check's.
func (k *cluster) trusts(roots *x509.CertPool, chain []*x509.Certificate) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{DNSName: k.serverName(), Roots: roots, Intermediates: between, CurrentTime: chain[0].NotAfter.Add(-time.Second)})
	return err
}

func (k *cluster) caSecret(ctx context.Context) doctor.Finding {
	switch self, err := k.selfManaged(ctx); {
	case err != nil:
		return unseen("reading the Deployment", err)
	case !self:
		return doctor.OKf("not needed: the certificate comes from files")
	}
	// Only that it exists: there is a private key in it.
	err := k.Client.CoreV1().RESTClient().Get().Namespace(k.Names.Namespace).Resource("secrets").Name(k.Names.CASecret).
		SetHeader("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1").Do(ctx).Into(&metav1.PartialObjectMetadata{})
	where := named("Secret", k.Names.Namespace, k.Names.CASecret)
	switch {
	case apierrors.IsNotFound(err):
		return doctor.Failf(k.installs(), "there is no %s", where)
	case err != nil:
		return unseen("looking for the "+where, err)
	}
	return doctor.OKf("%s", k.Names.CASecret)
}

func (k *cluster) rbac(ctx context.Context) doctor.Finding {
	d, err := k.theDeployment(ctx)
	if err != nil {
		return unseen("reading the Deployment", err)
	}
	if self, err := k.selfManaged(ctx); err != nil {
		return unseen("reading the Deployment", err)
	} else if !self {
		return doctor.OKf("not needed: the certificate comes from files")
	}
	user := fmt.Sprintf("system:serviceaccount:%s:%s", d.Namespace, d.Spec.Template.Spec.ServiceAccountName)
	var refused []string
	for _, may := range []authorizationv1.ResourceAttributes{
		{Verb: "get", Resource: "secrets", Namespace: d.Namespace, Name: k.Names.CASecret},
		{Verb: "watch", Resource: "secrets", Namespace: d.Namespace, Name: k.Names.CASecret},
		{Verb: "update", Resource: "secrets", Namespace: d.Namespace, Name: k.Names.CASecret},
		{Verb: "get", Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations", Name: k.Expected.Name},
		{Verb: "patch", Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations", Name: k.Expected.Name},
	} {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &may,
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + d.Namespace, "system:authenticated"}}}
		answer, err := k.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return unseen("asking what the webhook may do", err)
		}
		if !answer.Status.Allowed {
			refused = append(refused, fmt.Sprintf("%s %s/%s", may.Verb, may.Resource, may.Name))
		}
	}
	if len(refused) > 0 {
		return doctor.Failf(k.installs(), "%s may not %s", user, doctor.List(refused, 5))
	}
	return doctor.OKf("%s may", user)
}
