package jetstream

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest/natstest"
)

// openOld opens a queue whose retention finds everything too old.
func openOld(t testing.TB, rawURL string) *Queue {
	t.Helper()
	return open(t, rawURL, Options{RetentionAge: time.Hour, now: func() time.Time { return time.Now().Add(3 * time.Hour) }})
}

func sweep(t testing.TB, q *Queue) {
	t.Helper()
	if err := q.sweep(within(t)); err != nil {
		t.Fatal(err)
	}
}

// storedSubjects are the subjects of all that the history holds, in its order, without the prefix.
func storedSubjects(t testing.TB, q *Queue) (subjects []string) {
	t.Helper()
	for next := uint64(1); ; {
		page, more, err := q.list(within(t), q.names.events(), directRequest{Seq: next, NextFor: ">", Batch: maxWindow})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page {
			subjects = append(subjects, strings.TrimPrefix(m.Subject, string(q.names)+"."))
			next = m.Seq + 1
		}
		if more == 0 {
			return subjects
		}
	}
}

// TestRecordsLast: what became of a delivery is known as long as its event is kept, since another delivery is dead or
// waits, and goes with it.
func TestRecordsLast(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		providers []string
		end       error
		drop      bool
	}{
		"post": {[]string{"done", "kept"}, nil, false}, "pointer": {[]string{"kept", "done"}, nil, false}, "dropped": {[]string{"done", "kept"}, errGone, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := openOld(t, natstest.Serve(t).ClientURL())
			id := put(t, q, c.providers...)
			settle(t, q, takeOf(t, q, "done", id), c.end, time.Time{})
			settle(t, q, takeOf(t, q, "kept", id), errGone, time.Time{})
			if c.drop {
				if err := q.Drop(t.Context(), bellhop.DeliveryID(id, "done")); err != nil {
					t.Fatal(err)
				}
			}
			q.settling.wait(within(t))
			records := func() []*stored {
				found, err := q.listAll(within(t), q.names.records(), []string{q.names.delivery(kindDone, "done", anyone)})
				if err != nil {
					t.Fatal(err)
				}
				return found
			}
			if ms := records(); len(ms) != 1 || !ms[0].ends() {
				t.Fatalf("records %v, want one that ends", ms)
			}
			sweep(t, q)
			kept := records()
			if len(kept) != 1 || kept[0].ends() {
				t.Fatalf("records %v, want one that does not end", kept)
			}
			sweep(t, q)
			if ms := records(); len(ms) != 1 || ms[0].Seq != kept[0].Seq {
				t.Errorf("records %v, want %v still", ms, kept)
			}
			if err := q.Drop(t.Context(), bellhop.DeliveryID(id, "kept")); err != nil {
				t.Fatal(err)
			}
			sweep(t, q)
			if got := storedSubjects(t, q); len(got) != 0 {
				t.Errorf("left: %v", got)
			}
			if ms := records(); len(ms) != 0 {
				t.Errorf("records %v of an event that is gone", ms)
			}
		})
	}
}

// TestSweepsTheOld: what is young stays, whatever became of it.
func TestSweepsTheOld(t *testing.T) {
	t.Parallel()
	q := open(t, natstest.Serve(t).ClientURL(), Options{RetentionAge: time.Hour})
	sweep(t, q)
	id := put(t, q, "p", "q")
	settle(t, q, takeOf(t, q, "p", id), nil, time.Time{})
	settle(t, q, takeOf(t, q, "q", id), nil, time.Time{})
	sweep(t, q)
	if _, err := q.Event(t.Context(), id); err != nil {
		t.Error(err)
	}
	if ds := page(t, q, bellhop.DeliveryFilter{Event: id}, 5); len(ds) != 2 || ds[0].State != bellhop.Delivered {
		t.Errorf("deliveries %v", ds)
	}
}

// TestSweepsTheCutOff: nobody tried again to send what was not acknowledged. The pointer that it lacks is not waited for.
func TestSweepsTheCutOff(t *testing.T) {
	t.Parallel()
	q := openOld(t, natstest.Serve(t).ClientURL())
	p := &bellhop.Post{Items: []bellhop.Item{to("p", "lacking")}}
	cutOff(t, q, p)
	id := p.Items[0].Event.ID
	settle(t, q, takeOf(t, q, "p", id), nil, time.Time{})
	if ds := page(t, q, bellhop.DeliveryFilter{Event: id}, 5); len(ds) != 1 || ds[0].Provider != "p" {
		t.Errorf("deliveries %v", ds)
	}
	sweep(t, q)
	if got := storedSubjects(t, q); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

// TestUntriedStays: what was never tried stays, however old it is.
func TestUntriedStays(t *testing.T) {
	t.Parallel()
	q := openOld(t, natstest.Serve(t).ClientURL())
	settle(t, q, takeOf(t, q, "p", put(t, q, "p")), nil, time.Time{}) // there is a consumer
	want := []string{put(t, q, "p"), put(t, q, "other", "p"), put(t, q, "never asked for")}
	for range 2 {
		sweep(t, q)
		got := page(t, q, bellhop.DeliveryFilter{State: bellhop.Waiting}, 1)
		if len(got) != 4 {
			t.Fatalf("%d deliveries wait, want 4", len(got))
		}
		for _, id := range want {
			if _, err := q.Event(t.Context(), id); err != nil {
				t.Errorf("event %s: %v", id, err)
			}
		}
	}
	counts(t, q, "p", 2, 0)
	for _, id := range want[:2] {
		settle(t, q, takeOf(t, q, "p", id), nil, time.Time{})
	}
	sweep(t, q)
	if got, want := storedSubjects(t, q), []string{"to.other.event." + want[1], "to.never=20asked=20for.event." + want[2]}; !slices.Equal(got, want) {
		t.Errorf("left: %v, want %v", got, want)
	}
}

// TestSweepsPointers: a pointer goes when its delivery is done, whatever becomes of its event.
func TestSweepsPointers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		due  time.Time
		do   func(q *Queue, id string) error
		kept bool
	}{
		"to be tried again": {err: errDown, due: time.Now().Add(time.Hour), kept: true},
		"handed back":       {err: bellhop.ErrStopping, kept: true},
		"retried by hand": {err: errGone, kept: true, do: func(q *Queue, id string) error {
			return q.Retry(within(t), bellhop.DeliveryID(id, "p"))
		}},
		"delivered": {},
		"dead":      {err: errGone},
		"dropped": {err: errGone, do: func(q *Queue, id string) error {
			return q.Drop(within(t), bellhop.DeliveryID(id, "p"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := openOld(t, natstest.Serve(t).ClientURL())
			id := put(t, q, "waits", "p")
			settle(t, q, takeOf(t, q, "p", id), c.err, c.due)
			if c.do != nil {
				if err := c.do(q, id); err != nil {
					t.Fatal(err)
				}
			}
			before, err := q.Stats(t.Context(), "p")
			if err != nil {
				t.Fatal(err)
			}
			sweep(t, q)
			counts(t, q, "p", before.Depth, before.Dead)
			got := storedSubjects(t, q)
			if want := "to.waits.event." + id; got[0] != want {
				t.Fatalf("left: %v, want %s", got, want)
			}
			if is := len(got) > 1; is != c.kept {
				t.Errorf("left: %v, want the pointer kept: %t", got, c.kept)
			}
		})
	}
}

// TestSweepsReplayed: the pointer of what was replayed is kept while it waits, with the event, and goes with it.
func TestSweepsReplayed(t *testing.T) {
	t.Parallel()
	q := openOld(t, natstest.Serve(t).ClientURL())
	id := put(t, q, "p")
	settle(t, q, takeOf(t, q, "p", id), nil, time.Time{})
	if _, err := q.Replay(t.Context(), id, []bellhop.Target{{Provider: "p"}}); err != nil {
		t.Fatal(err)
	}
	sweep(t, q)
	counts(t, q, "p", 1, 0)
	l := takeOf(t, q, "p", id)
	if _, err := l.Event(t.Context()); err != nil {
		t.Errorf("dropped while it waits: %v", err)
	}
	settle(t, q, l, nil, time.Time{})
	sweep(t, q)
	if got := storedSubjects(t, q); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

// TestSweepsAtOnce: what the stream begins with goes by one purge, up to the first that is kept or is more than a message.
func TestSweepsAtOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		put      func(t *testing.T, q *Queue)
		purges   int
		deletes  int
		firstSeq uint64
		left     int
	}{
		"all of it": {purges: 1, firstSeq: 11, put: func(t *testing.T, q *Queue) {
			deliver(t, q, "p", 10)
		}},
		"up to one that waits": {purges: 1, deletes: 4, firstSeq: 6, left: 1, put: func(t *testing.T, q *Queue) {
			deliver(t, q, "p", 5)
			put(t, q, "waits")
			deliver(t, q, "p", 4)
		}},
		"nothing, behind one that waits": {deletes: 4, firstSeq: 1, left: 1, put: func(t *testing.T, q *Queue) {
			put(t, q, "waits")
			deliver(t, q, "p", 4)
		}},
		"nothing, behind one that waits a page before": {deletes: maxWindow / 4, firstSeq: 1, left: 1, put: func(t *testing.T, q *Queue) {
			put(t, q, "waits")
			deliver(t, q, "p", maxWindow/4)
		}},
		"all of it, in two pages": {purges: 2, firstSeq: maxWindow/4 + 2, put: func(t *testing.T, q *Queue) {
			deliver(t, q, "p", maxWindow/4+1)
		}},
		"up to chunks of a later one that waits": {purges: 1, deletes: 3, firstSeq: 3, left: 3, put: func(t *testing.T, q *Queue) {
			deliver(t, q, "p", 2)
			large(t, q, "waits", func() { deliver(t, q, "p", 3) })
		}},
		"chunks of a later one that is done": {purges: 2, deletes: 4, firstSeq: 9, put: func(t *testing.T, q *Queue) {
			deliver(t, q, "p", 2)
			id := large(t, q, "p", func() { deliver(t, q, "p", 3) })
			settle(t, q, takeOf(t, q, "p", id), nil, time.Time{})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := openOld(t, natstest.Serve(t).ClientURL())
			c.put(t, q)
			var requests [2]*nats.Subscription
			for i, api := range []string{"PURGE.>", "MSG.DELETE.>"} {
				var err error
				if requests[i], err = q.nc.SubscribeSync("$JS.API.STREAM." + api); err != nil {
					t.Fatal(err)
				}
			}
			sweep(t, q)
			if err := q.nc.Flush(); err != nil { // behind our own requests
				t.Fatal(err)
			}
			for i, want := range []int{c.purges, c.deletes} {
				if n, _, err := requests[i].Pending(); n != want || err != nil {
					t.Errorf("%d requests %s, %v, want %d", n, requests[i].Subject, err, want)
				}
			}
			s, err := q.js.Stream(t.Context(), q.names.events())
			if err != nil {
				t.Fatal(err)
			}
			if state := s.CachedInfo().State; state.FirstSeq != c.firstSeq || state.Msgs != uint64(c.left) {
				t.Errorf("%d messages from %d, want %d from %d", state.Msgs, state.FirstSeq, c.left, c.firstSeq)
			}
			if c.left > 0 {
				l := take(t, q, "waits")
				if e, err := l.Event(t.Context()); err != nil || len(e.Raw) == 0 {
					t.Errorf("what waits: %d bytes, %v", len(e.Raw), err)
				}
			}
		})
	}
}

// large puts an event whose body has a message of its own; meanwhile is done before its post.
func large(t testing.TB, q *Queue, provider string, meanwhile func()) (id string) {
	t.Helper()
	p := &bellhop.Post{Items: []bellhop.Item{to(provider)}}
	p.Items[0].Event.Raw = []byte(queuetest.Noise(1 << 20))
	now := time.Now().UnixNano()
	body, err := q.encode(t.Context(), p, now)
	if err != nil {
		t.Fatal(err)
	}
	meanwhile()
	m, err := q.letter(t.Context(), outline(p, now), body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.publish(t.Context(), m, ""); err != nil {
		t.Fatal(err)
	}
	return p.Items[0].Event.ID
}

// TestOrphanedChunks: the chunks of a Put that got no further go with what is older than they are.
func TestOrphanedChunks(t *testing.T) {
	t.Parallel()
	q := openOld(t, natstest.Serve(t).ClientURL())
	p := &bellhop.Post{Items: []bellhop.Item{to("p")}}
	p.Items[0].Event.Raw = []byte(queuetest.Noise(1 << 20))
	if _, err := q.encode(t.Context(), p, time.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	deliver(t, q, "p", 3)
	sweep(t, q)
	if got := storedSubjects(t, q); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}
