// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
)

// The program that runs again is this test.
func TestMain(m *testing.M) {
	if Enter() {
		os.Exit(tryNetwork())
	}
	os.Exit(m.Run())
}

const arrived = 42

func tryNetwork() int {
	for _, address := range append(Addresses(), "127.0.0.1") {
		l, err := net.Listen("tcp", net.JoinHostPort(address, "9443"))
		if err != nil {
			fmt.Println(err)
			return 1
		}
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			fmt.Println(err)
			return 1
		}
		_, _ = c.Close(), l.Close()
	}
	if c, err := net.Dial("udp", "198.51.100.1:53"); err == nil {
		fmt.Println("there is a route to the outside:", c.LocalAddr())
		return 1
	}
	if os.Getenv("PRIVATELINK_TEST_GIVEN") != "given" {
		fmt.Println("the variable is missing")
		return 1
	}
	return arrived
}

func TestAProgramRunsAgainInANetworkOfItsOwn(t *testing.T) {
	code, err := Run("PRIVATELINK_TEST_GIVEN=given")
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if code != arrived || err != nil {
		t.Errorf("exit code %d (%v), want %d", code, err, arrived)
	}
}

func TestTheHostsNetworkCanBeAskedFor(t *testing.T) {
	t.Setenv(Variable, off)
	if _, err := Run(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v, want %v", err, ErrUnavailable)
	}
}
