// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"testing"

	"github.com/castai/privatelink-webhook/test/aws/emulator"
)

// awsAccount is the customer's AWS account in an emulator.
type awsAccount struct {
	url      string
	customer *emulator.Customer
}

// newAWSAccount creates the account. It ends with the test.
func newAWSAccount(t *testing.T) *awsAccount {
	t.Helper()
	url, stop, err := emulator.Start(testCtx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	a := &awsAccount{url: url}
	a.reset(t)
	return a
}

// reset restores a healthy account.
func (a *awsAccount) reset(t *testing.T) {
	t.Helper()
	var err error
	if a.customer, err = emulator.NewCustomer(testCtx, a.url, emulator.Options{Prefix: "customer", RegistryAccount: "210987654321"}); err != nil {
		t.Fatal(err)
	}
}

// environment points `privatelink doctor` at the account. ECR itself has another
// stand-in, from which images can be pulled.
func (a *awsAccount) environment() (env []string) {
	for name, value := range a.customer.Environment() {
		env = append(env, name+"="+value)
	}
	return env
}

// faults are one fault for each of a few checks of network and identity, to test the
// wiring of the command. All of them are in test/aws.
func (a *awsAccount) faults() (some []fault) {
	wanted := map[string]bool{"network/private-dns": true, "network/castai-endpoints": true, "network/control-plane-port": true, "identity/mirror-permissions": true, "registry/node-role": true}
	for _, f := range emulator.Faults() {
		if !wanted[f.Check] {
			continue
		}
		wanted[f.Check] = false
		some = append(some, fault{name: f.Name, check: f.Check, cause: func(t *testing.T) func() {
			if err := f.Inject(testCtx, a.customer); err != nil {
				t.Fatal(err)
			}
			return func() { a.reset(t) }
		}})
	}
	return some
}
