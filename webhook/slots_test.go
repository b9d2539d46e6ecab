// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheNewestRequestGetsTheNextSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		if !s.acquire(t.Context(), time.Second) {
			t.Fatal("no slot of one that is free")
		}
		order := make(chan int, 3)
		for i := range 3 {
			go func() {
				if s.acquire(t.Context(), time.Minute) {
					order <- i
				}
			}()
			synctest.Wait()
		}
		for want := 2; want >= 0; want-- {
			s.release()
			if got := <-order; got != want {
				t.Errorf("request %d is served, want %d", got, want)
			}
		}
		s.release()
		if !s.acquire(t.Context(), 0) {
			t.Error("the slot is lost")
		}
	})
}

func TestWaitingForASlotEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		s.acquire(t.Context(), 0)
		start := time.Now()
		if s.acquire(t.Context(), 2*time.Second) || time.Since(start) != 2*time.Second {
			t.Errorf("a slot of none, after %v", time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start = time.Now()
		if s.acquire(ctx, time.Minute) || time.Since(start) != time.Second {
			t.Errorf("a slot of none, %v after the request ended", time.Since(start))
		}
		s.release()
		if !s.acquire(t.Context(), 0) || len(s.waiting) > 0 {
			t.Errorf("the slot is lost, or %d requests that gave up still wait", len(s.waiting))
		}
	})
}
