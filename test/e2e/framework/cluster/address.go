// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// HostAddress is an address of this machine that may stand in an EndpointSlice:
// the first IPv4 address, else the first IPv6 address, that is neither loopback
// nor link-local. A webhook under test listens there and its Service points
// there; what is sent to it still never leaves the machine.
func HostAddress() (string, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("listing the network interfaces: %w", err)
	}
	var all []net.Addr
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			return "", fmt.Errorf("listing the addresses of %s: %w", i.Name, err)
		}
		all = append(all, addresses...)
	}
	return endpointAddress(all)
}

func endpointAddress(all []net.Addr) (string, error) {
	var v6 string
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok || !n.IP.IsGlobalUnicast() {
			continue
		}
		if n.IP.To4() != nil {
			return n.IP.String(), nil
		}
		if v6 == "" {
			v6 = n.IP.String()
		}
	}
	if v6 == "" {
		return "", errors.New("this machine has only loopback and link-local addresses, and an EndpointSlice refuses both: " +
			"add one that need not lead anywhere, for example `ip address add 192.0.2.1/32 dev lo`")
	}
	return v6, nil
}

// freePorts finds n free ports of 127.0.0.1, below the range of ephemeral ports:
// one of those could be taken by an outgoing connection while a server restarts.
func freePorts(n int) ([]int, error) {
	const first, last, tries = 15000, 29999, 200
	var ports []int
	for range tries {
		port := first + rand.IntN(last-first+1)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer l.Close() // at the end: each port is then found once
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("no %d free ports on 127.0.0.1 between %d and %d: is the loopback interface up?", n, first, last)
}
