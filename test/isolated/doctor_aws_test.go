// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"testing"

	"github.com/castai/privatelink-webhook/test/aws/emulator"
)

// awsAccount is the customer's account at AWS, in an emulator.
type awsAccount struct {
	url      string
	customer *emulator.Customer
}

// atAWS makes the account. It ends with the test.
func atAWS(t *testing.T) *awsAccount {
	t.Helper()
	url, stop, err := emulator.Start(alive)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	a := &awsAccount{url: url}
	a.heal(t)
	return a
}

// heal makes the account anew.
func (a *awsAccount) heal(t *testing.T) {
	t.Helper()
	var err error
	if a.customer, err = emulator.NewCustomer(alive, a.url, emulator.Options{Prefix: "customer", RegistryAccount: "210987654321"}); err != nil {
		t.Fatal(err)
	}
}

// environment lets the doctor ask the account, but for ECR itself, which has a
// stand-in that images can be pulled from.
func (a *awsAccount) environment() (env []string) {
	for name, value := range a.customer.Environment() {
		env = append(env, name+"="+value)
	}
	return env
}

// faults are some of those of network and identity, to see that the command asks
// AWS as it should. All of them are in test/aws.
func (a *awsAccount) faults() (some []fault) {
	wanted := map[string]bool{"network/private-dns": true, "network/castai-endpoints": true, "network/control-plane-port": true, "identity/mirror-permissions": true, "registry/node-role": true}
	for _, f := range emulator.Faults() {
		if !wanted[f.Check] {
			continue
		}
		wanted[f.Check] = false
		some = append(some, fault{name: f.Name, check: f.Check, cause: func(t *testing.T) func() {
			if err := f.Inject(alive, a.customer); err != nil {
				t.Fatal(err)
			}
			return func() { a.heal(t) }
		}})
	}
	return some
}
