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
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
)

// backDate is how long before their signing certificates begin.
const backDate = 5 * time.Minute

// withClocks runs the webhook with clocks that are ahead, and a CA of theirs, and
// then as before. It makes haste where pods are refused meanwhile: each try of
// each costs a handshake, and a thousand that wait are a load of their own.
func withClocks(t *testing.T, ahead time.Duration, refused bool, meanwhile func(*testing.T)) {
	right := webhooks(t)
	setClock(t, ahead)
	if refused {
		for _, pid := range right { // they drain, and the test does not wait for that
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Fatal(err)
			}
		}
	}
	drained(t) // a replica with the right clock would not let the CA stay, even while it ends
	emptySecret(t)
	eventually(t, 30*time.Second, func(ctx context.Context) error { return signed(ctx, ahead) })
	meanwhile(t)
	kubectl(t, "", "rollout", "undo", "--namespace", deploy.Namespace, "deployment/"+deploy.Name)
	ready(t)
	eventually(t, 30*time.Second, func(ctx context.Context) error { return signed(ctx, 0) })
	drained(t)
}

func setClock(t *testing.T, ahead time.Duration) {
	kubectl(t, "", "patch", "deployment", "--namespace", deploy.Namespace, deploy.Name, "--patch", fmt.Sprintf(
		`{"spec": {"template": {"spec": {"containers": [{"name": "webhook", "image": %q, "env": [{"name": %q, "value": %q}]}]}}}}`,
		Registry+"/"+deploy.Image+":"+n.WrongClock(), ClockAhead, ahead))
	ready(t)
}

// signed returns nil when all replicas serve leaves that were signed now, by
// clocks that are so much ahead, and so was the CA that is published.
func signed(ctx context.Context, ahead time.Duration) error {
	bundle, err := authority(ctx)
	if err != nil {
		return err
	}
	pods, err := n.Client.CoreV1().Pods(deploy.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, p := range pods.Items {
		if p.DeletionTimestamp != nil {
			continue // it drains, with the clock of before
		}
		leaf, err := leafOf(ctx, net.JoinHostPort(p.Status.PodIP, "9443"))
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		ca := issuer(leaf, bundle)
		if ca == nil {
			return fmt.Errorf("%s serves a leaf of another CA than those published", p.Name)
		}
		for what, c := range map[string]*x509.Certificate{"leaf": leaf, "CA": ca} {
			// It took some time to get here, though less than the clocks differ by.
			if before := time.Since(c.NotBefore); before < backDate-ahead-time.Second || before > backDate-ahead+3*time.Minute {
				return fmt.Errorf("%s: its %s began %s ago; clocks should be %s ahead", p.Name, what, before, ahead)
			}
		}
	}
	return nil
}

// leafOf is the certificate that a server shows, good or not.
func leafOf(ctx context.Context, addr string) (*x509.Certificate, error) {
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // its dates are what is looked at
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	leaf := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
	return leaf, conn.Close()
}

// issuer picks the CA from the bundle that signed a leaf.
func issuer(leaf *x509.Certificate, bundle string) *x509.Certificate {
	for block, rest := pem.Decode([]byte(bundle)); block != nil; block, rest = pem.Decode(rest) {
		if ca, err := x509.ParseCertificate(block.Bytes); err == nil && leaf.CheckSignatureFrom(ca) == nil {
			return ca
		}
	}
	return nil
}

// clockSlightlyAhead is within the back-dating of certificates.
func clockSlightlyAhead(t *testing.T) {
	withClocks(t, 4*time.Minute, false, func(*testing.T) { time.Sleep(3 * time.Second) })
}

// clockHourAhead is not: pods are refused until the clocks are right again.
func clockHourAhead(t *testing.T) {
	withClocks(t, time.Hour, true, func(t *testing.T) {
		eventually(t, 10*time.Second, func(ctx context.Context) error {
			err := dryRunPod(ctx)
			if err == nil || !strings.Contains(err.Error(), "x509: certificate has expired or is not yet valid") {
				return fmt.Errorf("a pod is not refused for the dates of a certificate: %v", err)
			}
			return nil
		})
	})
	if err := dryRunPod(testCtx); err != nil {
		t.Errorf("with the right clocks: %v", err)
	}
}

// dryRunPod creates a pod as far as the webhook's answer.
func dryRunPod(ctx context.Context) error {
	_, err := n.Client.CoreV1().Pods(agentNamespace).Create(ctx, pod("dry-run", loadImages[0]), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}
