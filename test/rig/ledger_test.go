package rig

import (
	"testing"
	"testing/synctest"
	"time"
)

func cloudEvent(n int64) []byte {
	return []byte(`{"id":"x","deliveryId":"` + DeliveryID(n) + `"}`)
}

// TestLedger: each number counts once, whatever came first.
func TestLedger(t *testing.T) {
	t.Parallel()
	l := NewLedger()
	acknowledge := func(n int64) { l.Acknowledge(n, time.Time{}, time.Time{}) }
	l.Deliver(cloudEvent(1)) // delivered before it is acknowledged
	acknowledge(1)
	acknowledge(1)
	acknowledge(2)           // lost
	l.Deliver(cloudEvent(3)) // the answer was lost
	l.Deliver(cloudEvent(1)) // a duplicate
	l.Deliver([]byte(`{}`))
	got := l.Tally()
	got.AcceptStall, got.DeliverStall = 0, 0
	if want := (Tally{Acknowledged: 2, Delivered: 1, Duplicates: 1, Unanswered: 1, Lost: 1, Strangers: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestLedgerStalls: only time in which something is owed counts against the delivering side.
func TestLedgerStalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := NewLedger()
		for _, step := range []struct {
			after       time.Duration
			acknowledge int64
			deliver     int64
		}{
			{after: time.Hour, acknowledge: 1}, // what was before the first one is no stall
			{after: 2 * time.Second, deliver: 1},
			{after: time.Minute, acknowledge: 2}, // nothing was owed in this minute
			{after: time.Second, acknowledge: 3},
			{after: 2 * time.Second, deliver: 3},
			{after: time.Second, deliver: 3}, // a duplicate is no progress
			{after: 3 * time.Second, deliver: 2},
		} {
			time.Sleep(step.after)
			if step.acknowledge > 0 {
				l.Acknowledge(step.acknowledge, time.Time{}, time.Time{})
			} else {
				l.Deliver(cloudEvent(step.deliver))
			}
		}
		if got := l.Tally(); got.AcceptStall != 62*time.Second || got.DeliverStall != 4*time.Second {
			t.Errorf("accepting stalled for %v, want 1m2s; delivering for %v, want 4s", got.AcceptStall, got.DeliverStall)
		}
	})
}

func TestLedgerAwait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := NewLedger()
		acknowledged := func(tally Tally) bool { return tally.Acknowledged == 2 }
		if err := l.Await(t.Context(), time.Minute, acknowledged); err == nil {
			t.Error("nothing happened, and that went unnoticed")
		}
		go func() {
			for n := range int64(2) {
				time.Sleep(50 * time.Second) // news begin a new minute
				l.Acknowledge(n, time.Time{}, time.Time{})
			}
		}()
		if err := l.Await(t.Context(), time.Minute, acknowledged); err != nil {
			t.Error(err)
		}
	})
}
