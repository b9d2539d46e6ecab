// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
)

// The Certificates of the variant and their Secrets.
const (
	leafCertificate, leafSecret           = "privatelink-webhook", "privatelink-webhook-tls"
	authorityCertificate, authoritySecret = "privatelink-webhook-ca", "privatelink-webhook-issuer"
)

// renew does what `cmctl renew` does, and waits for the end of it.
func renew(t *testing.T, certificate string) {
	t.Helper()
	status := func(ctx context.Context) (string, error) {
		out, err := n.Kubectl(ctx, nil, "get", "certificate", "--namespace", deploy.Namespace, certificate,
			`--output=jsonpath={.status.revision}{.status.conditions[?(@.type=="Issuing")].reason}`)
		return string(out), err
	}
	before, err := status(testCtx)
	if err != nil {
		t.Fatal(err)
	}
	revision, err := strconv.Atoi(before)
	if err != nil {
		t.Fatalf("the revision of %s: %v", certificate, err)
	}
	kubectl(t, "", "patch", "certificate", "--namespace", deploy.Namespace, certificate, "--subresource=status", "--type=json",
		`--patch=[{"op": "add", "path": "/status/conditions/-", "value": {"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "by a test"}}]`)
	eventually(t, 60*time.Second, func(ctx context.Context) error {
		now, err := status(ctx)
		if err == nil && now != strconv.Itoa(revision+1) {
			err = fmt.Errorf("%s was at revision %s and is at %s", certificate, before, now)
		}
		return err
	})
}

// served waits until every replica serves the leaf of the Secret, and the
// published caBundle verifies it.
func served(t *testing.T) {
	t.Helper()
	eventually(t, 180*time.Second, func(ctx context.Context) error {
		want, err := certificateOf(ctx, leafSecret)
		if err != nil {
			return err
		}
		text, err := authority(ctx)
		if err != nil {
			return err
		}
		trusted := x509.NewCertPool()
		trusted.AppendCertsFromPEM([]byte(text))
		pods, err := n.Client.CoreV1().Pods(deploy.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, p := range pods.Items {
			leaf, err := handshake(ctx, net.JoinHostPort(p.Status.PodIP, "9443"), trusted)
			if err == nil && !leaf.Equal(want) {
				err = errors.New("it serves another leaf than that of the Secret")
			}
			if err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
		}
		return nil
	})
}

// handshake connects as the API server does.
func handshake(ctx context.Context, address string, trusted *x509.CertPool) (*x509.Certificate, error) {
	d := tls.Dialer{Config: &tls.Config{RootCAs: trusted, ServerName: deploy.Name + "." + deploy.Namespace + ".svc"}}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

func pair(t *testing.T, secret string) *x509.Certificate {
	t.Helper()
	c, err := certificateOf(testCtx, secret)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func certificateOf(ctx context.Context, secret string) (*x509.Certificate, error) {
	s, err := n.Client.CoreV1().Secrets(deploy.Namespace).Get(ctx, secret, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	all, err := parse(s.Data[corev1.TLSCertKey])
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", secret, err)
	}
	return all[0], nil
}

// bundle is the CAs that are published.
func bundle(t *testing.T) []*x509.Certificate {
	t.Helper()
	text, err := authority(testCtx)
	if err != nil {
		t.Fatal(err)
	}
	all, err := parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// parse wants one certificate at least.
func parse(text []byte) (all []*x509.Certificate, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no certificate: %q", text)
	}
	return all, nil
}
