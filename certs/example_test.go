// SPDX-License-Identifier: Apache-2.0

package certs_test

import (
	"crypto/tls"
	"fmt"

	"github.com/castai/privatelink-webhook/certs"
)

func ExampleNewFiles() {
	source, err := certs.NewFiles(certs.FilesConfig{CertFile: "absent/tls.crt", KeyFile: "absent/tls.key"})
	if err != nil {
		fmt.Println(err)
		return
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: source.GetCertificate}
	fmt.Println(config.GetCertificate != nil)
	fmt.Println(source.Ready())
	// Output:
	// true
	// no certificate: absent/tls.crt and absent/tls.key do not exist, or are not a valid pair; mount the Secret, or write both files
}
