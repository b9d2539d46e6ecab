// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/x509"
	"time"
)

// backDate is how long before its signing a certificate begins. Whoever verifies
// it has a clock of its own, which may be behind, and verifies the dates of leaf and
// CA alike. Five minutes are what kubeadm and the signer of
// kube-controller-manager allow for.
const backDate = 5 * time.Minute

// begin is the NotBefore of a certificate that is signed at now. One that lives
// only for minutes begins later: it is renewed at two thirds of the time between
// its dates, and would be due at birth.
func begin(now time.Time, lifetime time.Duration) time.Time {
	return now.Add(-min(backDate, max(0, lifetime)/12))
}

// late reports whether the replica with this clock is to replace a CA because it
// begins too late: just now, as cert-manager's authority makes it, or in the
// future, as a replica makes it whose clock is ahead. An API server would refuse
// it as not yet valid, and every leaf under it.
//
// Replicas whose clocks differ come to an end, after one replacement by each at
// most. What a replica writes begins backDate before its now, and it leaves alone
// what begins up to half of that later. So it replaces neither its own CA nor one
// of a clock behind its own, and every replacement begins earlier than the CA
// before it. The slowest clock has the last word; its CA is valid for all others.
//
// A clock that is wrong by months is beyond that. Its authority, which renews at
// two thirds of a life, takes ours for old and replaces it, we take its CA for
// not begun, and so on for ever with one more CA in caBundle each time. What
// begins later than a twelfth of a life from now is therefore left to a person;
// Ready says why it is not valid. Even eight replicas, each a twelfth ahead of the
// next, do not get from two thirds ahead to now in such steps.
func late(now time.Time, ca *x509.Certificate) bool {
	life := ca.NotAfter.Sub(ca.NotBefore)
	accepted := now.Add(-now.Sub(begin(now, life)) / 2)
	return ca.NotBefore.After(accepted) && ca.NotBefore.Before(now.Add(life/12))
}
