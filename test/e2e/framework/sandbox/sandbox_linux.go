// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"
)

// start starts cmd in a new network namespace. Only root may make one, and
// every user is root in a new user namespace.
func start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET,
		// A Ctrl-C of the terminal is for the process outside, which passes it on.
		Setpgid: true,
		// The child dies with the thread that started it, which is therefore held.
		Pdeathsig: syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	runtime.LockOSThread()
	return cmd.Start()
}

// setUp brings the loopback interface up and gives it an address in addition to
// 127.0.0.1. Of a loopback interface every address in the address's network is
// local, here 192.0.2.0/24.
func setUp() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("a socket to set up the network: %w", err)
	}
	defer syscall.Close(fd)
	up := ifreqFlags{flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	copy(up.name[:], "lo")
	if err := ioctl(fd, syscall.SIOCSIFFLAGS, unsafe.Pointer(&up)); err != nil {
		return fmt.Errorf("bringing the loopback interface up: %w", err)
	}
	address := ifreqAddress{address: syscall.RawSockaddrInet4{Family: syscall.AF_INET, Addr: [4]byte{192, 0, 2, 1}}}
	copy(address.name[:], "lo:1")
	if err := ioctl(fd, syscall.SIOCSIFADDR, unsafe.Pointer(&address)); err != nil {
		return fmt.Errorf("adding an address to the loopback interface: %w", err)
	}
	return nil
}

// The two forms of struct ifreq that are needed, see netdevice(7).
type (
	ifreqFlags struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	ifreqAddress struct {
		name    [syscall.IFNAMSIZ]byte
		address syscall.RawSockaddrInet4
		_       [8]byte
	}
)

func ioctl(fd int, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}
