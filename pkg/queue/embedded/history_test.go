package embedded

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
)

// clock is put forward by hand, while the queue's own loops read it.
type clock struct {
	start time.Time
	ahead atomic.Int64
}

func newClock() *clock { return &clock{start: time.Now()} }

func (c *clock) now() time.Time          { return c.start.Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

func openMem(t *testing.T, fs vfs.FS, c *clock, bytes bellhop.Size) *Queue {
	t.Helper()
	q, err := Open(t.Context(), "queue", Options{FS: fs, RetentionBytes: bytes, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func putOne(t *testing.T, q *Queue, size int, providers ...string) string {
	t.Helper()
	e := queuetest.NewEvent(queuetest.Noise(size))
	var to []bellhop.Target
	for _, p := range providers {
		to = append(to, bellhop.Target{Provider: p})
	}
	if _, err := q.Put(t.Context(), &bellhop.Post{Key: e.ID, Window: time.Hour, Items: []bellhop.Item{{Event: e, To: to}}}); err != nil {
		t.Fatal(err)
	}
	return e.ID
}

func settleOne(t *testing.T, q *Queue, provider string, outcome error) string {
	t.Helper()
	l, err := q.Take(t.Context(), provider)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Settle(t.Context(), outcome, bellhop.Outcome{}); err != nil {
		t.Fatal(err)
	}
	return l.Delivery().Event
}

func has(t *testing.T, q *Queue, id string) bool {
	t.Helper()
	_, err := q.Event(context.Background(), id)
	if err != nil && !errors.Is(err, bellhop.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

// keys counts what is stored in a space.
func keys(t *testing.T, q *Queue, space byte) int {
	t.Helper()
	it, err := q.db.NewIter(&pebble.IterOptions{LowerBound: []byte{space}, UpperBound: []byte{space + 1}})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	if err := closing(it, it.Error()); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRetentionByAge(t *testing.T) {
	t.Parallel()
	c := newClock()
	q := openMem(t, vfs.NewMem(), c, -1)
	old := putOne(t, q, 10, "p")
	settleOne(t, q, "p", nil)
	c.forward(DefaultRetentionAge / 2)
	young := putOne(t, q, 10, "p")
	settleOne(t, q, "p", nil)
	for _, step := range []struct {
		after      time.Duration
		old, young bool
	}{
		{0, true, true}, {DefaultRetentionAge/2 + time.Minute, false, true}, {DefaultRetentionAge/2 + time.Minute, false, false},
	} {
		c.forward(step.after)
		if err := q.sweep(); err != nil {
			t.Fatal(err)
		}
		if has(t, q, old) != step.old || has(t, q, young) != step.young {
			t.Errorf("after %v more: old %t, young %t", step.after, has(t, q, old), has(t, q, young))
		}
	}
	for _, space := range []byte{spaceEvent, spaceBody, spaceDone, spaceSegment, spaceKey, spaceExpiry} {
		if n := keys(t, q, space); n != 0 {
			t.Errorf("%d keys are left in space %c", n, space)
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRetentionByBytes(t *testing.T) {
	t.Parallel()
	for _, reopened := range []bool{false, true} {
		t.Run(fmt.Sprintf("reopened=%t", reopened), func(t *testing.T) {
			t.Parallel()
			testRetentionByBytes(t, reopened)
		})
	}
}

// testRetentionByBytes sweeps in the session that stored the history, or in one after it.
func testRetentionByBytes(t *testing.T, reopened bool) {
	const limit, size = 4 << 20, 50 << 10 // half a body more than is stored inline
	c := newClock()
	fs := vfs.NewMem()
	q := openMem(t, fs, c, limit)
	reopen := func() {
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		q = openMem(t, fs, c, limit)
	}
	var ids []string
	unfinished := make(map[string]bool)
	for i := range 300 {
		if i%2 == 0 { // what waits stands among the history, and does not count as such
			id := putOne(t, q, size, "w")
			ids, unfinished[id] = append(ids, id), true
			continue
		}
		id := putOne(t, q, size, "p")
		ids = append(ids, id)
		if i%50 == 7 { // the same goes for what is dead
			unfinished[settleOne(t, q, "p", bellhop.Permanent(errors.New("gone")))] = true
		} else {
			settleOne(t, q, "p", nil)
		}
	}
	if reopened {
		reopen()
	}
	for round := range 2 {
		if err := q.sweep(); err != nil {
			t.Fatal(err)
		}
		var kept, bytes int
		for i, id := range ids {
			switch {
			case has(t, q, id) && unfinished[id]:
			case unfinished[id]:
				t.Errorf("round %d: unfinished event %d was dropped", round, i)
			case has(t, q, id):
				kept++
				bytes += size
			case kept > 0:
				t.Errorf("round %d: event %d was dropped before older ones", round, i)
			}
		}
		if bytes > limit || bytes < limit*8/10 {
			t.Errorf("round %d: %d bytes of history are kept, want not much less than %d", round, bytes, limit)
		}
		reopen()
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRecordsStay finds nothing to drop in a segment, which stays recorded: if not, the next opening had to read it.
func TestRecordsStay(t *testing.T) {
	t.Parallel()
	c := newClock()
	fs := vfs.NewMem()
	q := openMem(t, fs, c, -1)
	for range 2 { // a segment each, of which the last is never recorded
		putOne(t, q, 10, "p")
		c.forward(2 * DefaultRetentionAge)
	}
	if err := q.recordSegments(); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = openMem(t, fs, c, -1)
	if err := q.sweep(); err != nil {
		t.Fatal(err)
	}
	if n := keys(t, q, spaceSegment); n != 1 {
		t.Errorf("%d segments are recorded, want 1", n)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSegmentsAreRestored compares what is known of the history after opening with what was known before.
func TestSegmentsAreRestored(t *testing.T) {
	t.Parallel()
	c := newClock()
	fs := vfs.NewMem()
	q := openMem(t, fs, c, 8<<20)
	for i := range 300 {
		putOne(t, q, rand.IntN(20<<10), "p", "q")
		if i%3 == 0 {
			settleOne(t, q, "p", nil)
		}
		if i == 150 {
			if err := q.recordSegments(); err != nil {
				t.Fatal(err)
			}
		}
	}
	sum := func(q *Queue) string {
		var bytes, unfinished int64
		for _, s := range q.history.segments {
			bytes += s.bytes
			unfinished += s.unfinished
		}
		return fmt.Sprint(bytes, unfinished)
	}
	before, n := sum(q), len(q.history.segments)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = openMem(t, fs, c, 8<<20)
	if after := sum(q); after != before || n < 10 || len(q.history.segments) < n {
		t.Errorf("%d segments with %s became %d with %s", n, before, len(q.history.segments), after)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestKeysAreForgotten(t *testing.T) {
	t.Parallel()
	c := newClock()
	q := openMem(t, vfs.NewMem(), c, 0)
	put := func(key string, window time.Duration) bool {
		receipt, err := q.Put(t.Context(), &bellhop.Post{Key: key, Window: window, Items: []bellhop.Item{{Event: queuetest.NewEvent("")}}})
		if err != nil {
			t.Fatal(err)
		}
		return receipt.Duplicate
	}
	put("short", time.Minute)
	put("long", time.Hour)
	put("again", time.Minute)
	c.forward(2 * time.Minute)
	if put("again", time.Hour) {
		t.Error("known beyond its window")
	}
	if err := q.sweep(); err != nil {
		t.Fatal(err)
	}
	if n := keys(t, q, spaceKey); n != 2 {
		t.Errorf("%d keys are kept, want 2", n)
	}
	if n := keys(t, q, spaceExpiry); n != 2 {
		t.Errorf("%d expiries are kept, want 2", n)
	}
	if !put("again", time.Hour) || !put("long", time.Hour) {
		t.Error("forgotten within its window")
	}
	c.forward(2 * time.Hour)
	if err := q.sweep(); err != nil {
		t.Fatal(err)
	}
	if n := keys(t, q, spaceKey) + keys(t, q, spaceExpiry); n != 0 {
		t.Errorf("%d keys are left", n)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestReplayAgainstRetention replays while history is dropped: what Replay took is delivered.
func TestReplayAgainstRetention(t *testing.T) {
	t.Parallel()
	c := newClock()
	q := openMem(t, vfs.NewMem(), c, -1)
	for range 20 {
		id := putOne(t, q, 10, "p")
		settleOne(t, q, "p", nil)
		c.forward(2 * DefaultRetentionAge)
		done := make(chan error)
		go func() { done <- q.sweep() }()
		_, err := q.Replay(t.Context(), id, []bellhop.Target{{Provider: "p"}})
		if serr := <-done; serr != nil {
			t.Fatal(serr)
		}
		if errors.Is(err, bellhop.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		l, err := q.Take(t.Context(), "p")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Event(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := l.Settle(t.Context(), nil, bellhop.Outcome{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}
