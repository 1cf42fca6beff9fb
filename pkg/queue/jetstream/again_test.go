package jetstream

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest/natstest"
)

var (
	errDown = errors.New("the provider is down")
	errGone = bellhop.Permanent(errors.New("no such channel"))
)

// takeOf takes a provider's next delivery, which must be an event's.
func takeOf(t testing.TB, q *Queue, provider, event string) bellhop.Lease {
	t.Helper()
	l := take(t, q, provider)
	if got := l.Delivery().Event; got != event {
		t.Fatalf("took %s, want %s", got, event)
	}
	return l
}

// settle settles a delivery, and returns when that is stored.
func settle(t testing.TB, q *Queue, l bellhop.Lease, err error, due time.Time) {
	t.Helper()
	if err := l.Settle(within(t), err, bellhop.Outcome{Due: due}); err != nil {
		t.Fatal(err)
	}
	q.settling.wait(within(t))
}

// nothing sees to it that nothing of a provider is due: what is put now comes next.
func nothing(t testing.TB, q *Queue, provider string) {
	t.Helper()
	settle(t, q, takeOf(t, q, provider, put(t, q, provider)), nil, time.Time{})
}

func counts(t testing.TB, q *Queue, provider string, depth, dead int64) {
	t.Helper()
	if s, err := q.Stats(within(t), provider); err != nil || s.Depth != depth || s.Dead != dead {
		t.Fatalf("%s: depth %d, %d dead, %v, want %d and %d", provider, s.Depth, s.Dead, err, depth, dead)
	}
}

// records are how many records of a kind there are.
func records(t testing.TB, q *Queue, kind string) int64 {
	t.Helper()
	n, _, err := q.count(within(t), q.names.records(), q.names.delivery(kind, anyone, anyone), 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// page lists all deliveries that match, limit at a time.
func page(t testing.TB, q *Queue, f bellhop.DeliveryFilter, limit int) (all []*bellhop.Delivery) {
	t.Helper()
	for p := (bellhop.Page{Limit: limit}); ; {
		ds, next, err := q.Deliveries(within(t), f, p)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, ds...); next == "" {
			return all
		}
		if next == p.Cursor || len(ds) > limit {
			t.Fatalf("a page of %d, and then %q again", len(ds), next)
		}
		p.Cursor = next
	}
}

// TestConsumerDeleted deletes a provider's consumer by hand: the one that is made anew gets the whole history, of which
// only what waits is taken.
func TestConsumerDeleted(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]bool{"another replica goes on": true, "the same goes on": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := natstest.Serve(t).ClientURL()
			q := open(t, url, Options{})
			now, later := time.Now(), time.Now().Add(time.Hour)
			var retried, held string
			for _, was := range []struct {
				to  []string
				err error
				due time.Time
				do  func(id string) error // afterwards
			}{
				{to: []string{"p"}},
				{to: []string{"other", "p"}},
				{to: []string{"p"}, err: errGone},
				{to: []string{"p"}, err: errGone, do: func(id string) error { return q.Drop(t.Context(), id) }},
				{to: []string{"p"}, err: errDown, due: later},
				{to: []string{"p"}, err: errDown, due: now},
			} {
				retried = put(t, q, was.to...)
				settle(t, q, takeOf(t, q, "p", retried), was.err, was.due)
				if was.do != nil {
					if err := was.do(bellhop.DeliveryID(retried, "p")); err != nil {
						t.Fatal(err)
					}
				}
			}
			untried := put(t, q, "other", "p")
			var lease bellhop.Lease
			if other {
				if err := q.Close(); err != nil {
					t.Fatal(err)
				}
				q = open(t, url, Options{})
			} else {
				lease = take(t, q, "p") // what is being delivered just then
				held = lease.Delivery().Event
			}
			if err := q.js.DeleteConsumer(t.Context(), q.names.events(), consumer("p")); err != nil {
				t.Fatal(err)
			}
			if lease != nil {
				if err := lease.Settle(t.Context(), nil, bellhop.Outcome{}); err != nil {
					t.Fatal(err)
				}
			}
			attempts := map[string]int{untried: 0, retried: 1}
			delete(attempts, held)
			for len(attempts) > 0 {
				l := take(t, q, "p")
				d := l.Delivery()
				if want, waits := attempts[d.Event]; !waits || d.Attempts != want || len(d.Log) != want {
					t.Fatalf("took %+v, want one of %v", d, attempts)
				}
				delete(attempts, d.Event)
				settle(t, q, l, nil, time.Time{})
			}
			nothing(t, q, "p")
			counts(t, q, "p", 1, 1)
			ds := page(t, q, bellhop.DeliveryFilter{Provider: "p", State: bellhop.Waiting}, 2)
			if len(ds) != 1 || ds[0].Attempts != 1 || !ds[0].Due.Equal(later) {
				t.Errorf("%+v wait, want what is due in an hour", ds)
			}
		})
	}
}

// TestReplayThroughAnother replays what one replica delivers through the other.
func TestReplayThroughAnother(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before func(t *testing.T, q *Queue, l bellhop.Lease)
		was    bellhop.Stats // before the replay
		is     bellhop.Stats // after it
		left   bool          // the replay leaves it as it is
	}{
		"waits here to be tried again": {before: func(t *testing.T, q *Queue, l bellhop.Lease) {
			settle(t, q, l, errDown, time.Now().Add(brisk.ackWait*9/10))
		}, was: bellhop.Stats{Depth: 1}, is: bellhop.Stats{Depth: 1}},
		"waits at the server to be tried again": {before: func(t *testing.T, q *Queue, l bellhop.Lease) {
			settle(t, q, l, errDown, time.Now().Add(time.Hour))
		}, was: bellhop.Stats{Depth: 1}, is: bellhop.Stats{Depth: 1}},
		"never tried": {before: func(t *testing.T, q *Queue, l bellhop.Lease) {
			settle(t, q, l, bellhop.ErrStopping, time.Time{})
		}, was: bellhop.Stats{Depth: 1}, is: bellhop.Stats{Depth: 1}, left: true},
		"replayed before": {before: func(t *testing.T, q *Queue, l bellhop.Lease) {
			settle(t, q, l, nil, time.Time{})
			d := l.Delivery()
			if _, err := q.Replay(t.Context(), d.Event, []bellhop.Target{{Provider: d.Provider}}); err != nil {
				t.Fatal(err)
			}
		}, was: bellhop.Stats{Depth: 1}, is: bellhop.Stats{Depth: 1}, left: true},
		"delivered": {before: func(t *testing.T, q *Queue, l bellhop.Lease) {
			settle(t, q, l, nil, time.Time{})
		}, is: bellhop.Stats{Depth: 1}},
		"delivered at the second attempt": {before: func(t *testing.T, q *Queue, l bellhop.Lease) {
			settle(t, q, l, errDown, time.Time{})
			settle(t, q, takeOf(t, q, "p", l.Delivery().Event), nil, time.Time{})
		}, is: bellhop.Stats{Depth: 1}},
		"dead": {before: func(t *testing.T, q *Queue, l bellhop.Lease) {
			settle(t, q, l, errGone, time.Time{})
		}, was: bellhop.Stats{Dead: 1}, is: bellhop.Stats{Depth: 1}},
		"dropped": {before: func(t *testing.T, q *Queue, l bellhop.Lease) {
			settle(t, q, l, errGone, time.Time{})
			if err := q.Drop(t.Context(), l.Delivery().ID); err != nil {
				t.Fatal(err)
			}
		}, is: bellhop.Stats{Depth: 1}},
	} {
		for place, to := range map[string][]string{"post": {"p"}, "pointer": {"other", "p"}} {
			t.Run(name+"/"+place, func(t *testing.T) {
				t.Parallel()
				url := natstest.Serve(t).ClientURL()
				a, b := open(t, url, Options{}), open(t, url, Options{})
				id := put(t, a, to...)
				c.before(t, a, takeOf(t, a, "p", id))
				counts(t, b, "p", c.was.Depth, c.was.Dead)
				if _, err := b.Replay(t.Context(), id, []bellhop.Target{{Provider: "p", Route: "by hand"}}); err != nil {
					t.Fatal(err)
				}
				counts(t, b, "p", c.is.Depth, c.is.Dead)
				if ds := page(t, b, bellhop.DeliveryFilter{Provider: "p", State: bellhop.Waiting}, 1); len(ds) != 1 || ds[0].Event != id {
					t.Fatalf("%+v wait", ds)
				}
				l := takeOf(t, a, "p", id)
				if d := l.Delivery(); d.Attempts != 0 || (d.Route == "by hand") == c.left {
					t.Errorf("delivery %+v", d)
				}
				settle(t, a, l, nil, time.Time{})
				nothing(t, a, "p")
				counts(t, b, "p", 0, 0)
				if n := records(t, b, kindRetry); n != 0 {
					t.Errorf("%d records of what waits are left", n)
				}
			})
		}
	}
}

// arrival is a message of a delivery, as the server hands it over.
type arrival struct {
	jetstream.Msg // nothing else is asked of it
	seq           uint64
	started       int64  // when the delivery began that it stands for
	pin           string // under which it is handed over
	acked         bool
}

func (a *arrival) Ack() error { a.acked = true; return nil }

func (a *arrival) InProgress() error { return nil }

func (a *arrival) Subject() string { return testNames.pointer("p", "e") }

func (a *arrival) Headers() nats.Header {
	p := pointer{home: "p", post: "e", again: a.seq > 1, delivery: record.Delivery{Started: a.started}}
	h := p.message(a.Subject(), "p", "e", nil).Header
	h.Set("Nats-Pin-Id", a.pin)
	return h
}

func (a *arrival) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: a.seq}, NumDelivered: 1, Timestamp: time.Unix(0, a.started)}, nil
}

const testNames names = "bellhop"

// Of two messages of one delivery the one that began later counts, in whatever order they come; the other is given up,
// unless that is what is being delivered.
func TestReceivesTheSameDelivery(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		held bool // the message of sequence 1 is being delivered
		come []arrival
		left uint64 // which is left
		void []uint64
	}{
		"a replay":                            {come: []arrival{{seq: 1, started: 10}, {seq: 2, started: 20}}, left: 2, void: []uint64{1}},
		"a replay first":                      {come: []arrival{{seq: 2, started: 20}, {seq: 1, started: 10}}, left: 2, void: []uint64{1}},
		"the same again":                      {come: []arrival{{seq: 1, started: 10}, {seq: 1, started: 10}}, left: 1},
		"two replays of what is held":         {held: true, come: []arrival{{seq: 2, started: 20}, {seq: 3, started: 30}}, left: 3, void: []uint64{2}},
		"two replays, the later first":        {held: true, come: []arrival{{seq: 3, started: 30}, {seq: 2, started: 20}}, left: 3, void: []uint64{2}},
		"what is held again":                  {held: true, come: []arrival{{seq: 1, started: 10}}, left: 1},
		"what is held again, before a replay": {held: true, come: []arrival{{seq: 1, started: 10}, {seq: 2, started: 20}}, left: 2},
		"what is held again, after a replay":  {held: true, come: []arrival{{seq: 2, started: 20}, {seq: 1, started: 10}}, left: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all lanes
			l := all.open(&Queue{names: testNames}, "p")
			if c.held {
				l.held["e"] = &entry{event: "e", seq: 1}
			}
			for i := range c.come {
				l.receive(&c.come[i], time.Now())
			}
			left, line := l.waiting["e"], 1
			if c.held {
				left, line = l.parked["e"], 0
			}
			if left == nil || left.seq != c.left || len(l.line) != line || c.held && left.looked {
				t.Fatalf("%+v is left, %d in line, want message %d, to be looked up if one is held", left, len(l.line), c.left)
			}
			var void []uint64
			for _, m := range c.come {
				if m.acked {
					void = append(void, m.seq)
				}
			}
			if !slices.Equal(void, c.void) {
				t.Errorf("messages %d were given up, want %d", void, c.void)
			}
		})
	}
}

// The first deliveries under a new pin are looked up, whatever the server says: the leader that handed them out before may
// have died before it told anybody.
func TestDoubtsWhatComesUnderANewPin(t *testing.T) {
	t.Parallel()
	q := open(t, natstest.Serve(t).ClientURL(), Options{})
	l := q.lanes.open(q, "p")
	for _, pin := range []string{"one", "another"} {
		for n := range doubtful + 1 {
			m := &arrival{seq: 1, started: 10, pin: pin}
			l.receive(m, time.Now())
			if is, want := l.waiting["e"].looked, n == doubtful; is != want {
				t.Fatalf("delivery %d under pin %s: known to be fresh: %t", n, pin, is)
			}
		}
	}
}

// tryingAgain are two replicas, and what the first is just trying again.
func tryingAgain(t testing.TB) (a, b *Queue, l bellhop.Lease) {
	t.Helper()
	url := natstest.Serve(t).ClientURL()
	a, b = open(t, url, Options{}), open(t, url, Options{})
	id := put(t, a, "p")
	settle(t, a, takeOf(t, a, "p", id), errDown, time.Time{})
	return a, b, takeOf(t, a, "p", id)
}

// TestReplayThroughAnotherWhileDelivered replays what the other replica is just trying again: it is delivered once more
// after that, whatever comes of the attempt.
func TestReplayThroughAnotherWhileDelivered(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{"delivered": nil, "to be tried again": errDown, "dead": errGone} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b, l := tryingAgain(t)
			id := l.Delivery().Event
			if _, err := b.Replay(t.Context(), id, []bellhop.Target{{Provider: "p"}}); err != nil {
				t.Fatal(err)
			}
			settle(t, a, l, err, time.Now().Add(time.Hour))
			counts(t, b, "p", 1, 0)
			if ds := page(t, b, bellhop.DeliveryFilter{Event: id}, 1); len(ds) != 1 || ds[0].State != bellhop.Waiting {
				t.Errorf("listed as %+v, want one that waits", ds)
			}
			settle(t, a, takeOf(t, a, "p", id), nil, time.Time{})
			nothing(t, a, "p")
			counts(t, b, "p", 0, 0)
			if n := records(t, b, kindRetry); n != 0 {
				t.Errorf("%d records of what waits are left", n)
			}
		})
	}
}

// TestReplayThroughAnotherTwice replays what the other replica is just trying again, and again once that is recorded: the
// first replay waits then, and the second leaves it alone.
func TestReplayThroughAnotherTwice(t *testing.T) {
	t.Parallel()
	a, b, l := tryingAgain(t)
	id := l.Delivery().Event
	replay := func() {
		t.Helper()
		if _, err := b.Replay(t.Context(), id, []bellhop.Target{{Provider: "p"}}); err != nil {
			t.Fatal(err)
		}
	}
	replay()
	settle(t, a, l, errDown, time.Now().Add(time.Hour))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	replay()
	counts(t, b, "p", 1, 0)
	l = takeOf(t, b, "p", id)
	if d := l.Delivery(); d.Attempts != 0 {
		t.Errorf("delivery %+v", d)
	}
	replay() // this one comes after what is being delivered
	settle(t, b, l, nil, time.Time{})
	settle(t, b, takeOf(t, b, "p", id), nil, time.Time{})
	nothing(t, b, "p")
	counts(t, b, "p", 0, 0)
}
