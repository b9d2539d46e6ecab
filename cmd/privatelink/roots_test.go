// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/x509"
	"os"
	"os/exec"
	"testing"
)

// In an image FROM scratch there is no file with root certificates.
func TestRootCertificatesWithoutASystem(t *testing.T) {
	if os.Getenv("SSL_CERT_FILE") != os.DevNull {
		cmd := exec.Command(os.Args[0], "-test.run=^TestRootCertificatesWithoutASystem$")
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+os.DevNull, "SSL_CERT_DIR="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	pool, err := x509.SystemCertPool()
	if err != nil || pool.Equal(x509.NewCertPool()) {
		t.Errorf("no root certificates: %v", err)
	}
}
