// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/x509"
	"time"
)

// backDate is how long before its signing a certificate becomes valid. The clock
// of a verifier may be behind, and it verifies the dates of leaf and CA alike.
// kubeadm and the signer of kube-controller-manager allow for five minutes too.
const backDate = 5 * time.Minute

// notBefore is the NotBefore of a certificate that is signed at now. With a
// lifetime of minutes it is backdated less: the certificate is renewed at two
// thirds of the time between its dates, and would be due when it is signed.
func notBefore(now time.Time, lifetime time.Duration) time.Time {
	return now.Add(-min(backDate, max(0, lifetime)/12))
}

// needsBackdating reports whether the replica with this clock must replace a CA
// because it becomes valid too late: now, as cert-manager's authority creates it,
// or in the future, as a replica creates it whose clock is ahead. An API server
// would reject it, and every leaf under it, as not yet valid.
//
// Replicas whose clocks differ converge after at most one replacement by each. A
// replica writes a CA that is valid from backDate before its now, and accepts one
// that is valid from up to half of that later. So it replaces neither its own CA
// nor one of a slower clock, and every replacement is valid earlier than the CA
// before it. The CA of the slowest clock remains; it is valid for all others.
//
// A clock that is wrong by months does not converge. Its authority, which renews
// at two thirds of a lifetime, takes our CA for old and replaces it, we take the
// new one for not yet valid, and so on, with one more CA in caBundle each time. A
// CA that becomes valid later than a twelfth of a lifetime from now is therefore
// not replaced, and Ready reports why it is not valid. Even eight replicas, each a
// twelfth ahead of the next, do not get from two thirds ahead to now in such steps.
func needsBackdating(now time.Time, ca *x509.Certificate) bool {
	life := ca.NotAfter.Sub(ca.NotBefore)
	accepted := now.Add(-now.Sub(notBefore(now, life)) / 2)
	return ca.NotBefore.After(accepted) && ca.NotBefore.Before(now.Add(life/12))
}
