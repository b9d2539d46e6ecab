// SPDX-License-Identifier: Apache-2.0

// Command standin takes the place of every program of the vendor, whose images
// are not ours to run: what a test of a webhook needs of them is that they are
// pulled, start, answer their probes and stay, or end if they are jobs.
//
// How it behaves is for its name and for what the builder of the images put
// into their environment; a manifest can override neither by accident.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	fmt.Println("stand-in:", os.Args)
	switch filepath.Base(os.Args[0]) {
	case "sh", "kubectl":
		return // what there was to do is done
	}
	if os.Getenv("STAND_IN_ENDS") != "" {
		return
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	for port := range strings.FieldsSeq(os.Getenv("STAND_IN_PORTS")) {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			fmt.Println("stand-in:", err)
			continue // another container of the pod has it
		}
		go func() { fmt.Println("stand-in:", http.Serve(l, ok)) }()
	}
	<-ended
}
