package queuetest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

var idCases = []testCase{
	{"LastsAndIsUnique", func(r *rig) {
		id := r.ID()
		r.reopen()
		if got := r.ID(); len(id) < 16 || got != id {
			r.Errorf("id %q, after reopening %q", id, got)
		}
		other := r.another(r.T).Open(r.T)
		defer other.Close()
		if other.ID() == id {
			r.Errorf("two stores are called %q", id)
		}
	}},
}

var pauseCases = []testCase{
	{"HoldsBackOneProvider", func(r *rig) {
		id := r.put("p", "q")
		r.must(r.Pause(r.context(), "p", time.Now().Add(time.Hour)))
		r.nothing("p")
		r.takeID("q", id)
		r.counts("p", 1, 0)
	}},
	{"EndsByItself", func(r *rig) {
		until := time.Now().Add(soon)
		r.must(r.Pause(r.context(), "p", until))
		id := r.put("p")
		r.takeID("p", id)
		if time.Now().Before(until) {
			r.Fatal("taken during the pause")
		}
		if s := r.stats("p"); !s.PausedUntil.IsZero() {
			r.Fatalf("paused until %v after its end", s.PausedUntil)
		}
	}},
	{"ReachesWaitingTakers", func(r *rig) {
		got := make(chan error, 1)
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			_, err := r.Take(ctx, "p")
			got <- err
		}()
		r.must(r.Pause(r.context(), "p", time.Now().Add(time.Hour)))
		r.put("p")
		r.counts("p", 1, 0)
		cancel()
		<-got // it may have been faster than the pause; it must return
	}},
	{"Lifted", func(r *rig) {
		id := r.put("p")
		r.must(r.Pause(r.context(), "p", time.Now().Add(time.Hour)))
		got := make(chan bellhop.Lease, 1)
		go func() { got <- r.take("p") }()
		r.must(r.Pause(r.context(), "p", time.Time{}))
		select {
		case l := <-got:
			if l == nil || l.Delivery().Event != id {
				r.Fatal("took another delivery")
			}
		case <-time.After(patience):
			r.Fatal("lifting the pause woke nobody")
		}
	}},
	{"IsNotShortened", func(r *rig) {
		until := time.Now().Add(time.Hour)
		r.must(r.Pause(r.context(), "p", until))
		r.must(r.Pause(r.context(), "p", time.Now().Add(time.Minute)))
		if s := r.stats("p"); !s.PausedUntil.Equal(until) {
			r.Fatalf("paused until %v, want %v", s.PausedUntil, until)
		}
		r.must(r.Pause(r.context(), "p", until.Add(time.Hour)))
		if s := r.stats("p"); !s.PausedUntil.Equal(until.Add(time.Hour)) {
			r.Fatalf("paused until %v, want %v", s.PausedUntil, until.Add(time.Hour))
		}
	}},
	{"OutlivesReopening", func(r *rig) {
		until := time.Now().Add(time.Hour)
		r.put("p")
		r.must(r.Pause(r.context(), "p", until))
		r.reopen()
		if s := r.stats("p"); !s.PausedUntil.Equal(until) {
			r.Fatalf("paused until %v, want %v", s.PausedUntil, until)
		}
		r.nothing("p")
		r.must(r.Pause(r.context(), "p", time.Time{}))
		r.reopen()
		r.take("p")
	}},
}

func (r *rig) notFound(err error) {
	r.Helper()
	if !errors.Is(err, bellhop.ErrNotFound) {
		r.Fatalf("got %v, want an error that wraps ErrNotFound", err)
	}
}

var operateCases = []testCase{
	{"RetryOfWhatIsNotDead", func(r *rig) {
		waiting, done := r.put("p"), r.put("q")
		r.settle(r.take("q"), nil)
		for _, id := range []string{
			bellhop.DeliveryID(waiting, "p"), bellhop.DeliveryID(done, "q"), bellhop.DeliveryID(NewID(), "p"),
			bellhop.DeliveryID(done, "nobody"), "", ".", "nonsense", "\x00.p",
		} {
			r.notFound(r.Retry(r.context(), id))
			r.notFound(r.Drop(r.context(), id))
		}
		r.counts("p", 1, 0)
		r.counts("q", 0, 0)
	}},
	{"Retry", func(r *rig) {
		id := r.put("p")
		r.settle(r.take("p"), errDown, bellhop.Outcome{Due: time.Now()})
		r.die("p")
		before := time.Now()
		r.must(r.Retry(r.context(), bellhop.DeliveryID(id, "p")))
		r.counts("p", 1, 0)
		d := r.takeID("p", id).Delivery()
		if d.Attempts != 0 || d.Started.Before(before) || len(d.Log) != 2 || d.State != bellhop.Waiting || d.Accepted.After(before) {
			r.Fatalf("delivery %+v", d)
		}
	}},
	{"RetryWakesATaker", func(r *rig) {
		id := r.put("p")
		r.die("p")
		got := make(chan bellhop.Lease, 1)
		go func() { got <- r.take("p") }()
		r.must(r.Retry(r.context(), bellhop.DeliveryID(id, "p")))
		select {
		case l := <-got:
			r.settle(l, nil)
		case <-time.After(patience):
			r.Fatal("a retry woke nobody")
		}
	}},
	{"RetryTheOthersAllTheSame", func(r *rig) {
		first, second := r.put("p"), r.put("p")
		r.die("p")
		r.die("p")
		r.notFound(r.Retry(r.context(), bellhop.DeliveryID(first, "p"), "nonsense", bellhop.DeliveryID(second, "p")))
		r.counts("p", 2, 0)
	}},
	{"Drop", func(r *rig) {
		id, kept := r.put("p"), r.put("p")
		r.die("p")
		r.die("p")
		r.must(r.Drop(r.context(), bellhop.DeliveryID(id, "p")))
		r.counts("p", 0, 1)
		r.notFound(r.Retry(r.context(), bellhop.DeliveryID(id, "p")))
		r.reopen()
		r.counts("p", 0, 1)
		if got := r.allDeliveries(bellhop.DeliveryFilter{}, 10); !slices.Equal(got, []string{bellhop.DeliveryID(kept, "p")}) {
			r.Fatalf("deliveries %v", got)
		}
	}},
	{"ReplayOfAnUnknownEvent", func(r *rig) {
		for _, id := range []string{NewID(), "", "a.b", "\x00"} {
			_, err := r.Replay(r.context(), id, targets("p"))
			r.notFound(err)
		}
		r.counts("p", 0, 0)
	}},
	{"ReplayOfADeliveredOne", func(r *rig) {
		id := r.put("p", "q")
		r.settle(r.take("p"), nil)
		ids, err := r.Replay(r.context(), id, []bellhop.Target{{Provider: "p", Route: "by hand"}})
		r.must(err)
		if !slices.Equal(ids, []string{bellhop.DeliveryID(id, "p")}) {
			r.Fatalf("ids %v", ids)
		}
		r.counts("p", 1, 0)
		r.counts("q", 1, 0)
		d := r.takeID("p", id).Delivery()
		if d.Attempts != 0 || d.Route != "by hand" || len(d.Log) != 1 {
			r.Fatalf("delivery %+v", d)
		}
	}},
	{"ReplayToAnotherProvider", func(r *rig) {
		e := FullEvent()
		_, err := r.Put(r.context(), &bellhop.Post{Items: []bellhop.Item{{Event: e, To: targets("p")}}})
		r.must(err)
		_, err = r.Replay(r.context(), e.ID, targets("new"))
		r.must(err)
		got, err := r.takeID("new", e.ID).Event(r.context())
		r.must(err)
		if string(got.Raw) != string(e.Raw) {
			r.Fatalf("body %q", got.Raw)
		}
		want := []string{bellhop.DeliveryID(e.ID, "new"), bellhop.DeliveryID(e.ID, "p")}
		if got := r.allDeliveries(bellhop.DeliveryFilter{Event: e.ID}, 1); !slices.Equal(got, want) {
			r.Fatalf("deliveries %v, want %v", got, want)
		}
	}},
	{"ReplayOfADeadOne", func(r *rig) {
		id := r.put("p")
		r.die("p")
		_, err := r.Replay(r.context(), id, targets("p"))
		r.must(err)
		r.counts("p", 1, 0)
		r.settle(r.takeID("p", id), nil)
		r.counts("p", 0, 0)
	}},
	{"ReplayOfAWaitingOne", func(r *rig) {
		id, later := r.put("p"), r.put("p")
		r.settle(r.takeID("p", id), errDown, bellhop.Outcome{Due: time.Now().Add(time.Hour)})
		_, err := r.Replay(r.context(), id, targets("p"))
		r.must(err)
		_, err = r.Replay(r.context(), later, targets("p"))
		r.must(err)
		r.counts("p", 2, 0)
		// Whether one that was never tried begins anew or is left as it is, and so which comes first, is the engine's.
		first, second := r.take("p"), r.take("p")
		got := []string{first.Delivery().Event, second.Delivery().Event}
		slices.Sort(got)
		if want := []string{id, later}; !slices.Equal(got, want) {
			r.Fatalf("took %v, want %v", got, want)
		}
		r.settle(first, nil)
		r.settle(second, nil)
		r.nothing("p")
		r.counts("p", 0, 0)
	}},
	{"ReplayOfALeasedOne", func(r *rig) {
		id := r.put("p")
		l := r.take("p")
		_, err := r.Replay(r.context(), id, targets("p"))
		r.must(err)
		r.nothing("p")
		r.settle(l, nil)
		r.counts("p", 1, 0)
		l = r.takeID("p", id)
		if d := l.Delivery(); d.Attempts != 0 {
			r.Fatalf("delivery %+v", d)
		}
		r.settle(l, nil)
		r.counts("p", 0, 0)
		r.nothing("p")
	}},
	{"ReplayOfALeasedOneTwice", func(r *rig) {
		for _, ended := range []error{nil, errDown, bellhop.Permanent(errDown), bellhop.ErrStopping} {
			id := r.put("p")
			l := r.take("p")
			for range 2 {
				_, err := r.Replay(r.context(), id, targets("p"))
				r.must(err)
				r.nothing("p")
				r.counts("p", 1, 0)
			}
			r.settle(l, ended)
			r.counts("p", 1, 0)
			r.settle(r.takeID("p", id), nil)
			r.counts("p", 0, 0)
			r.nothing("p")
		}
	}},
	{"ReplaySurvivesReopening", func(r *rig) {
		id := r.put("p")
		r.settle(r.take("p"), nil)
		_, err := r.Replay(r.context(), id, targets("p"))
		r.must(err)
		r.reopen()
		r.takeID("p", id)
	}},
}
