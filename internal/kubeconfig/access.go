// SPDX-License-Identifier: Apache-2.0

package kubeconfig

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// AccessError says why nothing in a cluster can be read: the login is refused, or the
// API server is not reached. Objects that do not exist, or that the user may not read,
// are other errors.
type AccessError struct {
	// Problem and Remedy are sentences without a period.
	Problem, Remedy string
	Err             error
}

func (e *AccessError) Error() string { return e.Problem + ": " + e.Remedy }

// Unwrap returns the error of the request.
func (e *AccessError) Unwrap() error { return e.Err }

// renew writes the access to an EKS cluster into the kubeconfig.
const renew = "aws eks update-kubeconfig --name CLUSTER"

// Explain returns an AccessError if err is one because of which nothing in the cluster
// can be read, and err itself otherwise.
func (o Options) Explain(err error) error {
	if err == nil {
		return nil
	}
	return Explain(o.Target().Server, err)
}

// Explain is Options.Explain for the API server at a URL.
func Explain(server string, err error) error {
	if _, done := errors.AsType[*AccessError](err); done {
		return err
	}
	access := func(remedy, problem string, args ...any) error {
		return &AccessError{Problem: fmt.Sprintf(problem, args...), Remedy: remedy, Err: err}
	}
	cause := err
	if request, ok := errors.AsType[*url.Error](err); ok {
		cause = request.Err // without the path, which differs between requests
	}
	text := cause.Error()
	dns, isDNS := errors.AsType[*net.DNSError](err)
	_, isTLS := errors.AsType[*tls.CertificateVerificationError](err)
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case apierrors.IsUnauthorized(err):
		return access("log in again (aws sso login, or new access keys), then: "+renew+"; the IAM principal needs an access entry of the cluster", "%s refuses the credentials: %v", server, cause)
	case strings.Contains(text, "getting credentials: "):
		return access("log in to AWS (aws sso login, or AWS_PROFILE), and try the command: kubectl config view --minify", "the login command of the kubeconfig failed: %s", strings.TrimPrefix(text, "getting credentials: "))
	case isTLS:
		return access("renew its CA in the kubeconfig: "+renew+"; if a proxy inspects TLS, exclude the host with NO_PROXY", "the certificate of %s is not trusted: %v", server, cause)
	case strings.Contains(text, "proxyconnect"):
		return access("correct HTTPS_PROXY, or exclude the host with NO_PROXY", "the proxy to %s does not answer: %v", server, cause)
	case errors.Is(err, context.DeadlineExceeded), isNet && timeout.Timeout() && !isDNS:
		return access("packets to it are dropped: connect the VPN, or work on a bastion in the VPC; the cluster's security group must allow port 443 from there; check HTTPS_PROXY", "%s does not answer in time", server)
	case isDNS && dns.IsNotFound:
		return access("the cluster was deleted, or the VPC resolves the name alone: connect the VPN; or renew the kubeconfig: "+renew, "the name of %s does not resolve: %v", server, cause)
	case isNet, isDNS, errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		return access("connect the VPN or the tunnel, or select another cluster with --context; then: kubectl version", "%s is not reached: %v", server, cause)
	}
	return err
}
