// SPDX-License-Identifier: Apache-2.0

// Command ecr-credential-provider is the kubelet's plugin for the ECR stand-in.
// It answers as that of a node of EKS does, with the user AWS and a password
// that holds for one registry, but has the password from a file.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// The types of the plugin's API, as far as they are needed.
// https://kubernetes.io/docs/reference/config-api/kubelet-credentialprovider.v1/
const apiVersion = "credentialprovider.kubelet.k8s.io/v1"

type request struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Image      string `json:"image"`
}

type response struct {
	APIVersion    string            `json:"apiVersion"`
	Kind          string            `json:"kind"`
	CacheKeyType  string            `json:"cacheKeyType"`
	CacheDuration string            `json:"cacheDuration"`
	Auth          map[string]secret `json:"auth"`
}

type secret struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ecr-credential-provider:", err)
		os.Exit(1)
	}
}

func run(args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 1 {
		return errors.New("give the file with the password as the only argument")
	}
	var in request
	if err := json.NewDecoder(stdin).Decode(&in); err != nil {
		return err
	}
	if in.APIVersion != apiVersion || in.Kind != "CredentialProviderRequest" {
		return fmt.Errorf("unknown request %s %s", in.APIVersion, in.Kind)
	}
	host := rewrite.RegistryHost(in.Image)
	if !rewrite.IsECRHost(host) {
		return fmt.Errorf("%s is no private ECR", host)
	}
	password, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(response{
		APIVersion: apiVersion, Kind: "CredentialProviderResponse",
		CacheKeyType: "Registry", CacheDuration: "6h",
		Auth: map[string]secret{host: {Username: "AWS", Password: string(password)}},
	})
}
