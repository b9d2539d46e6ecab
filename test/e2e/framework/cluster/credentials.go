// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// tokens are the secrets of the two users of the token file.
type tokens struct {
	admin   string // system:masters: may do everything
	manager string // the controller manager: as little as in any cluster
}

// writeCredentials makes the authority, the API server's certificate, the key
// that signs service account tokens, and the token file. The API server could
// create its own certificate; this one exists before it starts and names
// names it may be called.
func writeCredentials(l layout, names []string) (tokens, error) {
	t := tokens{admin: rand.Text(), manager: rand.Text()}
	users := t.admin + `,admin,admin,"system:masters"` + "\n" +
		t.manager + ",system:kube-controller-manager,system:kube-controller-manager\n"
	if err := os.WriteFile(l.tokenFile(), []byte(users), 0o600); err != nil {
		return tokens{}, err
	}
	// RSA, as on every managed cluster: clients that verify tokens get RS256.
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return tokens{}, fmt.Errorf("service account key: %w", err)
	}
	if err := writeKey(l.serviceAccountKey(), signer); err != nil {
		return tokens{}, err
	}
	if err := writeServingCertificate(l, names); err != nil {
		return tokens{}, fmt.Errorf("serving certificate: %w", err)
	}
	return t, nil
}

func writeServingCertificate(l layout, names []string) error {
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "privatelink test cluster"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(1, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "kube-apiserver"},
		NotBefore:    authority.NotBefore,
		NotAfter:     authority.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), serviceAddress()},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	caKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	ca, err := x509.CreateCertificate(rand.Reader, authority, authority, caKey.Public(), caKey)
	if err != nil {
		return err
	}
	cert, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), caKey)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(l.caFile(), "CERTIFICATE", ca),
		writePEM(l.servingCertificate(), "CERTIFICATE", cert),
		writeKey(l.servingKey(), key),
	)
}

func writeKey(path string, key crypto.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
