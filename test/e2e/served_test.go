// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/deploy"
)

// served waits until every replica serves a certificate that the CA signed, for
// the name by which the API server calls.
func served(t *testing.T, ca string, within time.Duration) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(ca)) {
		t.Fatal("the Secret holds no CA")
	}
	name := deploy.Name + "." + deploy.Namespace + ".svc"
	eventually(t, within, func() error {
		pods := h.Kubelet.Pods()
		if len(pods) == 0 {
			return errors.New("no pod of the webhook runs")
		}
		for _, p := range pods {
			c, err := tls.Dial("tcp", net.JoinHostPort(p.Address, "9443"), &tls.Config{RootCAs: roots, ServerName: name})
			if err != nil {
				return err
			}
			_ = c.Close()
		}
		return nil
	})
}
