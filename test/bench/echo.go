// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// echoName is the argument that makes this binary the lower bound instead of the
// harness: the cost of TLS and net/http without decoding the review.
const echoName = "echo"

// echoAnswer is about as long as the answer with two images.
func echoAnswer() []byte { return bytes.Repeat([]byte("0123456789abcdef"), 64) }

// serveEcho serves until it is killed. Like each peer it is called with its
// address, certificate file and key file.
func serveEcho(args []string) error {
	if len(args) != 3 {
		return errors.New("want ADDRESS CERTIFICATE KEY")
	}
	answer := echoAnswer()
	size := strconv.Itoa(len(answer))
	s := http.Server{
		Addr:              args[0],
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}},
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", size)
			_, _ = w.Write(answer) // a caller that is gone sees no error anyway
		}),
	}
	return s.ListenAndServeTLS(args[1], args[2])
}
