// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

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

// certManager stands in for cert-manager: it issues the certificate that the
// overlay asks for, and adds its CA to the bundles, as cainjector does since 1.19.
func certManager(t *testing.T) {
	t.Helper()
	key, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	pkcs8, err2 := x509.MarshalPKCS8PrivateKey(key)
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stand-in"}, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
		DNSNames: []string{kubectl(t, nil, "get", "certificate", deploy.Name, "--namespace="+deploy.Namespace, "-o", "jsonpath={.spec.dnsNames[0]}")},
		IsCA:     true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err3 := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	name := kubectl(t, nil, "get", "certificate", deploy.Name, "--namespace="+deploy.Namespace, "-o", "jsonpath={.spec.secretName}")
	_, err := h.Client.CoreV1().Secrets(deploy.Namespace).Create(testCtx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"ca.crt": ca, "tls.crt": ca, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var patch []map[string]any
	for webhook, bundle := range caBundles(t) {
		patch = append(patch, map[string]any{"name": webhook, "clientConfig": map[string]any{"caBundle": []byte(bundle + string(ca))}})
	}
	body, err := json.Marshal(map[string]any{"webhooks": patch})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(testCtx, deploy.ConfigurationName, types.StrategicMergePatchType, body, metav1.PatchOptions{FieldManager: "cainjector"}); err != nil {
		t.Fatal(err)
	}
}
