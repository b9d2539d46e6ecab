// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// asProgram makes of this test binary the program itself.
const asProgram = "PRIVATELINK_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" || slices.Contains(os.Args, renderChart) {
		main()
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		_ = os.Setenv(name, "0.0.0.0,127.0.0.1") // the registries of public are not behind the proxy of this machine
	}
	os.Exit(m.Run())
}

// A copy is killed again and again, at another request each time. Whatever has a
// tag is whole at every moment, and the next run goes on.
func TestAKilledMirrorGoesOn(t *testing.T) {
	from := public(t)
	var refs []string
	for _, name := range []string{"a", "b", "c", "d"} {
		refs = append(refs, from+"/castai/"+name+":v1")
	}
	images, file := pods(t, refs...), filepath.Join(t.TempDir(), "lock.yaml")
	var requests, limit atomic.Int64
	var kill atomic.Pointer[context.CancelFunc]
	target := fakeregistry.Start(t)
	target.SetFault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if n := requests.Add(1); limit.Load() > 0 && n == limit.Load() {
			(*kill.Load())()
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
	prefix := target.Host + "/mirror"

	mirror := func(after int64) error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		requests.Store(0)
		limit.Store(after)
		kill.Store(&cancel)
		cmd := exec.CommandContext(ctx, os.Args[0], "mirror", "--registry", prefix, "--no-webhook-image", "--plain-http", from, "-f", images, "--lock", file, "--parallel", "2")
		cmd.Env = append(os.Environ(), asProgram+"=1")
		said, err := cmd.CombinedOutput() // the context kills with SIGKILL
		if err != nil && ctx.Err() == nil {
			t.Fatalf("%v\n%s", err, said)
		}
		return err
	}
	tagged := func(n int) (whole int) {
		limit.Store(0)
		for i := range n {
			ref := reference(t, prefix+"/"+strings.Replace(from, ":", "_", 1)+"/castai/"+string(rune('a'+i))+":v1")
			if _, err := remote.Head(ref); err != nil {
				continue
			}
			index, err := remote.Index(ref)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate.Index(index); err != nil {
				t.Errorf("%s has a tag and is not whole: %v", ref, err)
			}
			whole++
		}
		return whole
	}
	killed := 0
	for after := int64(5); ; after += 9 {
		err := mirror(after)
		tagged(len(refs))
		if err == nil {
			break
		}
		if killed++; killed > 60 {
			t.Fatal("no run gets to its end")
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("a killed run wrote the lock file")
		}
	}
	l, err := lock.Read(file)
	if err != nil || len(l.Images) != len(refs) || killed < 3 || tagged(len(refs)) != len(refs) {
		t.Fatalf("%v %+v, killed %d times", err, l, killed)
	}
	for _, i := range l.Images {
		head, err := remote.Head(reference(t, i.Target))
		if err != nil || head.Digest.String() != i.Digest.String() {
			t.Errorf("%s: %v %v", i.Target, err, head)
		}
	}
}

// A read of standard input does not end by itself. The first interrupt asks the program
// to end, and the next ends it in any case.
func TestASecondInterruptEndsTheProgram(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "images", "--registry", ecr, "-f", "-")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	stdin, err := cmd.StdinPipe() // it stays open
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// More than a pipe holds: the program has read some of it, and handles signals.
	if _, err := stdin.Write(bytes.Repeat([]byte("#\n"), 1<<20)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended
		select {
		case err := <-ended:
			if ctx.Err() != nil {
				t.Errorf("the program did not end: %v", err)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}
