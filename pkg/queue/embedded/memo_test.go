package embedded

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
)

// TestExpiredMemosLeaveNothing: a memo that was replaced lives as long as the last one, then it is gone with
// all that pointed to it.
func TestExpiredMemosLeaveNothing(t *testing.T) {
	t.Parallel()
	e := &engine{dir: t.TempDir()}
	q := e.Open(t).(*Queue)
	defer q.Close()
	ctx := context.Background()
	leave := func(key string, expires time.Time) {
		t.Helper()
		event := &bellhop.Event{ID: queuetest.NewID(), Time: time.Now(), Kind: bellhop.KindOther}
		if _, err := q.Put(ctx, &bellhop.Post{Items: []bellhop.Item{{Event: event, To: []bellhop.Target{{Provider: "p"}}}}}); err != nil {
			t.Fatal(err)
		}
		lease, err := q.Take(ctx, "p")
		if err != nil {
			t.Fatal(err)
		}
		if err := lease.Settle(ctx, nil, bellhop.Outcome{Memo: &bellhop.Memo{Key: key, Event: event.ID, Expires: expires}}); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	for i := range 20 {
		leave(strconv.Itoa(i), now.Add(time.Hour))
	}
	leave("0", now.Add(3*time.Hour))
	for _, step := range []struct {
		after time.Duration
		memos int
	}{{0, 20}, {2 * time.Hour, 1}, {4 * time.Hour, 0}} {
		e.offset.Store(int64(step.after))
		if err := q.sweep(); err != nil {
			t.Fatal(err)
		}
		if n := keysIn(t, q, spaceMemo); n != step.memos {
			t.Errorf("after %v there are %d memos, want %d", step.after, n, step.memos)
		}
		if n := keysIn(t, q, spaceMemoExpiry); step.memos == 0 && n != 0 {
			t.Errorf("after %v %d expiries are left", step.after, n)
		}
	}
}

func keysIn(t *testing.T, q *Queue, space byte) (n int) {
	t.Helper()
	it, err := q.space(space)
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}
