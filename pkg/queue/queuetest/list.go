package queuetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

var listCases = []testCase{
	{"UnknownEvent", func(r *rig) {
		for _, id := range []string{NewID(), "", "\x00"} {
			_, err := r.Event(r.context(), id)
			r.notFound(err)
		}
	}},
	{"BadCursor", func(r *rig) {
		r.put("p")
		for _, c := range []string{"%", "AAAA", strings.Repeat("x", 99)} {
			if _, _, err := r.Events(r.context(), bellhop.Page{Cursor: c, Limit: 1}); err == nil {
				r.Errorf("Events took cursor %q", c)
			}
			if _, _, err := r.Deliveries(r.context(), bellhop.DeliveryFilter{}, bellhop.Page{Cursor: c, Limit: 1}); err == nil {
				r.Errorf("Deliveries took cursor %q", c)
			}
		}
	}},
	{"Empty", func(r *rig) {
		if es := r.allEvents(10); len(es) != 0 {
			r.Fatalf("events %v", es)
		}
		if ds := r.allDeliveries(bellhop.DeliveryFilter{Provider: "p"}, 10); len(ds) != 0 {
			r.Fatalf("deliveries %v", ds)
		}
		ps, err := r.Providers(r.context())
		r.must(err)
		if len(ps) != 0 {
			r.Fatalf("providers %v", ps)
		}
		if s := r.stats("p"); s != (bellhop.Stats{}) {
			r.Fatalf("stats %+v", s)
		}
	}},
	{"EventsNewestFirst", func(r *rig) {
		var want []string
		for range 25 {
			want = append(want, r.put("p"))
		}
		slices.Reverse(want)
		for _, limit := range []int{1, 7, 25, 26} {
			if got := r.allEvents(limit); !slices.Equal(got, want) {
				r.Fatalf("limit %d: events %v, want %v", limit, got, want)
			}
		}
		es, _, err := r.Events(r.context(), bellhop.Page{Limit: 1})
		r.must(err)
		if es[0].Raw != nil || es[0].Title == "" || es[0].Headers["Content-Type"] == "" {
			r.Fatalf("listed event %+v", es[0])
		}
	}},
	{"EventsPutWhileListing", func(r *rig) {
		first := r.put("p")
		second := r.put("p")
		_, next, err := r.Events(r.context(), bellhop.Page{Limit: 1})
		r.must(err)
		r.put("p")
		es, _, err := r.Events(r.context(), bellhop.Page{Limit: 1, Cursor: next})
		r.must(err)
		if len(es) != 1 || es[0].ID != first {
			r.Fatalf("page behind %s: %v", second, es)
		}
	}},
	{"DeliveriesByFilter", func(r *rig) {
		// One event a line; what becomes of it at p, q, r.
		type fate struct{ p, q, r string }
		fates := []fate{
			{"delivered", "waiting", "dead"}, {"dead", "dead", "delivered"}, {"waiting", "delivered", "retrying"},
			{"delivered", "delivered", "delivered"}, {"waiting", "waiting", "waiting"}, {"dead", "", ""}, {"", "retrying", "dead"},
		}
		states := map[string]bellhop.DeliveryState{
			"delivered": bellhop.Delivered, "waiting": bellhop.Waiting, "retrying": bellhop.Waiting, "dead": bellhop.Dead,
		}
		type listed struct {
			event, provider string
			state           bellhop.DeliveryState
		}
		var all []listed
		held := make([]bellhop.Lease, 0)
		for _, f := range fates {
			fate := map[string]string{"p": f.p, "q": f.q, "r": f.r}
			var to []string
			for _, p := range []string{"p", "q", "r"} {
				if fate[p] != "" {
					to = append(to, p)
				}
			}
			id := r.put(to...)
			for _, p := range to {
				all = append(all, listed{id, p, states[fate[p]]})
				l := r.takeID(p, id) // what waits is leased, which is still waiting for those who look
				switch fate[p] {
				case "delivered":
					r.settle(l, nil)
				case "dead":
					r.settle(l, bellhop.Permanent(errDown))
				case "retrying":
					r.settle(l, errDown, bellhop.Outcome{Due: time.Now().Add(time.Hour)})
				default:
					held = append(held, l)
				}
			}
		}
		slices.SortFunc(all, func(a, b listed) int {
			if c := strings.Compare(b.event, a.event); c != 0 {
				return c
			}
			return strings.Compare(a.provider, b.provider)
		})
		events := []string{"", NewID()}
		for _, d := range all {
			events = append(events, d.event)
		}
		for _, f := range filters(slices.Compact(events)) {
			var want []string
			for _, d := range all {
				if (f.Event == "" || f.Event == d.event) && (f.Provider == "" || f.Provider == d.provider) && (f.State == "" || f.State == d.state) {
					want = append(want, bellhop.DeliveryID(d.event, d.provider))
				}
			}
			for _, limit := range []int{1, 2, 5, 100} {
				if got := GroupedByEvent(r.allDeliveries(f, limit)); !slices.Equal(got, want) {
					r.Errorf("filter %+v, limit %d: %v, want %v", f, limit, got, want)
				}
			}
		}
		for _, l := range held {
			r.settle(l, nil)
		}
		ps, err := r.Providers(r.context())
		r.must(err)
		if !slices.Equal(ps, []string{"p", "q", "r"}) {
			r.Fatalf("providers %v", ps)
		}
	}},
	{"ProvidersWithNothingLeft", func(r *rig) {
		r.put("p", "q")
		r.die("q")
		r.settle(r.take("p"), nil)
		for range 2 {
			ps, err := r.Providers(r.context())
			r.must(err)
			if !slices.Equal(ps, []string{"q"}) {
				r.Fatalf("providers %v", ps)
			}
			r.reopen()
		}
	}},
	{"Oldest", func(r *rig) {
		if s := r.stats("p"); !s.Oldest.IsZero() {
			r.Fatalf("oldest %v of nothing", s.Oldest)
		}
		var ids []string
		for range 4 {
			ids = append(ids, r.put("p"))
		}
		accepted := func(id string) time.Time { return r.delivery(id, "p").Accepted }
		want := func(at time.Time) {
			r.Helper()
			if s := r.stats("p"); !s.Oldest.Equal(at) {
				r.Fatalf("oldest %v, want %v", s.Oldest, at)
			}
		}
		want(accepted(ids[0]))
		l := r.take("p")
		want(accepted(ids[0])) // leased is waiting still
		r.settle(l, errDown, bellhop.Outcome{Due: time.Now().Add(time.Hour)})
		want(accepted(ids[0])) // and so is retrying
		r.reopen()
		want(accepted(ids[0]))
		r.settle(r.takeID("p", ids[1]), bellhop.Permanent(errDown))
		r.settle(r.takeID("p", ids[2]), nil)
		_, err := r.Replay(r.context(), ids[0], targets("p"))
		r.must(err)
		want(accepted(ids[3])) // the replayed one begins anew
		r.settle(r.takeID("p", ids[3]), nil)
		want(r.delivery(ids[0], "p").Started)
		r.settle(r.takeID("p", ids[0]), nil)
		want(time.Time{})
		r.must(r.Retry(r.context(), bellhop.DeliveryID(ids[1], "p")))
		want(r.delivery(ids[1], "p").Started)
	}},
}

// filters are all combinations.
func filters(events []string) []bellhop.DeliveryFilter {
	var fs []bellhop.DeliveryFilter
	for _, e := range events {
		for _, p := range []string{"", "p", "q", "r", "nobody"} {
			for _, s := range []bellhop.DeliveryState{"", bellhop.Waiting, bellhop.Delivered, bellhop.Dead, "odd"} {
				fs = append(fs, bellhop.DeliveryFilter{Event: e, Provider: p, State: s})
			}
		}
	}
	return fs
}

// expire lets the history so far reach its end, where the engine can be asked to.
func (r *rig) expire() {
	r.Helper()
	e, ok := r.engine.(Retainer)
	if !ok {
		r.Skip("the engine's history cannot be made old")
	}
	e.Expire(r.T, r.Queue)
}

func (r *rig) stored(id string, want bool) {
	r.Helper()
	_, err := r.Event(r.context(), id)
	switch {
	case want && err != nil:
		r.Fatalf("event that must stay: %v", err)
	case !want && !errors.Is(err, bellhop.ErrNotFound):
		r.Fatalf("event that must go: %v", err)
	}
}

var historyCases = []testCase{
	{"DeliveredGoes", func(r *rig) {
		id, none := r.put("p", "q"), r.put()
		r.settle(r.take("p"), nil)
		r.settle(r.take("q"), nil)
		r.expire()
		r.stored(id, false)
		r.stored(none, false)
		if ds := r.allDeliveries(bellhop.DeliveryFilter{}, 10); len(ds) != 0 {
			r.Fatalf("deliveries %v", ds)
		}
		if es := r.allEvents(10); len(es) != 0 {
			r.Fatalf("events %v", es)
		}
	}},
	{"DeliveredGoesAfterReopening", func(r *rig) { // though it stands among what stays
		dead, done, waiting := r.put("p"), r.put("p"), r.put("w")
		r.die("p")
		r.settle(r.takeID("p", done), nil)
		r.reopen()
		r.expire()
		r.stored(dead, true)
		r.stored(done, false)
		r.stored(waiting, true)
		r.counts("p", 0, 1)
		r.counts("w", 1, 0)
	}},
	{"UnfinishedStays", func(r *rig) {
		done1, waiting, done2, leased, dead, retrying, partly, done3 :=
			r.put("p"), r.put("w"), r.put("p"), r.put("l"), r.put("p"), r.put("p"), r.put("p", "w"), r.put("p")
		for _, id := range []string{done1, done2} {
			r.settle(r.takeID("p", id), nil)
		}
		lease := r.takeID("l", leased)
		r.die("p")
		r.settle(r.takeID("p", retrying), errDown, bellhop.Outcome{Due: time.Now().Add(time.Hour)})
		r.settle(r.takeID("p", partly), nil)
		r.settle(r.takeID("p", done3), nil)
		for range 2 { // and after reopening the same
			r.expire()
			for _, id := range []string{done1, done2, done3} {
				r.stored(id, false)
			}
			for _, id := range []string{waiting, leased, dead, retrying, partly} {
				r.stored(id, true)
			}
			if d := r.delivery(partly, "p"); d.State != bellhop.Delivered {
				r.Fatalf("delivery %+v", d)
			}
			if lease != nil {
				r.settle(lease, bellhop.ErrStopping)
				lease = nil
			}
			r.reopen()
		}
		// Once they are finished they go, too.
		r.settle(r.takeID("w", waiting), nil)
		r.settle(r.takeID("w", partly), nil)
		r.settle(r.takeID("l", leased), nil)
		r.must(r.Drop(r.context(), bellhop.DeliveryID(dead, "p")))
		r.expire()
		for _, id := range []string{waiting, leased, dead, partly} {
			r.stored(id, false)
		}
		r.stored(retrying, true)
		r.counts("p", 1, 0)
	}},
	{"ReplayedStays", func(r *rig) {
		id := r.put("p")
		r.settle(r.take("p"), nil)
		_, err := r.Replay(r.context(), id, targets("p"))
		r.must(err)
		r.expire()
		r.stored(id, true)
		r.settle(r.takeID("p", id), nil)
		r.expire()
		r.stored(id, false)
	}},
	{"DeliveredGoesWhileAnotherIsReplayed", func(r *rig) { // as many are unfinished as before, but not the same
		done, waiting := r.put("p"), r.put("p")
		r.expire()
		r.settle(r.takeID("p", done), nil)
		_, err := r.Replay(r.context(), waiting, targets("q"))
		r.must(err)
		r.expire()
		r.stored(done, false)
		r.stored(waiting, true)
	}},
	{"NewOnesComeAfter", func(r *rig) {
		for range 3 {
			id := r.put("p")
			r.settle(r.takeID("p", id), nil)
			r.expire()
			r.stored(id, false)
		}
		id := r.put("p")
		r.reopen()
		r.takeID("p", id)
	}},
}

var closeCases = []testCase{
	{"Twice", func(r *rig) {
		r.must(r.Healthy())
		r.must(r.Close())
		r.must(r.Close())
		if r.Healthy() == nil {
			r.Fatal("a closed queue is healthy")
		}
	}},
	{"Afterwards", func(r *rig) {
		id := r.put("p", "q")
		l := r.take("p")
		r.must(r.Close())
		if _, err := r.Put(r.context(), &bellhop.Post{Items: []bellhop.Item{{Event: NewEvent("")}}}); !errors.Is(err, bellhop.ErrUnavailable) {
			r.Errorf("Put: %v, want ErrUnavailable", err)
		}
		for name, err := range map[string]error{
			"Take": second(r.Take(r.context(), "q")), "Settle": l.Settle(r.context(), nil, bellhop.Outcome{}),
			"Pause": r.Pause(r.context(), "p", time.Now()), "Retry": r.Retry(r.context(), id+".p"), "Drop": r.Drop(r.context(), id+".p"),
			"Event": second(r.Event(r.context(), id)), "Stats": second(r.Stats(r.context(), "p")),
			"Providers": second(r.Providers(r.context())), "Replay": second(r.Replay(r.context(), id, targets("p"))),
		} {
			if err == nil || !strings.Contains(err.Error(), "closed") {
				r.Errorf("%s: %v, want to be told that the queue is closed", name, err)
			}
		}
		r.Queue = r.engine.Open(r.T)
		r.takeID("p", id) // the lease was not settled
	}},
	{"EndsTakers", func(r *rig) {
		got := make(chan error, 1)
		go func() { got <- second(r.Take(context.Background(), "p")) }()
		r.must(r.Close())
		select {
		case err := <-got:
			if !bellhop.IsStopping(err) {
				r.Fatalf("Take: %v, want an error that means stopping", err)
			}
		case <-time.After(patience):
			r.Fatal("a taker outlives the queue")
		}
	}},
	{"UnderLoad", func(r *rig) {
		acknowledged := make(chan string, 1<<16)
		done := make(chan struct{})
		for range 8 {
			go func() {
				defer func() { done <- struct{}{} }()
				for {
					e := NewEvent("x")
					_, err := r.Put(context.Background(), &bellhop.Post{Items: []bellhop.Item{{Event: e, To: targets("p")}}})
					if errors.Is(err, bellhop.ErrUnavailable) {
						return
					}
					if err != nil {
						r.Error(err)
						return
					}
					acknowledged <- e.ID
				}
			}()
		}
		for range 100 {
			r.settle(r.take("p"), bellhop.ErrStopping)
		}
		q := r.Queue
		r.must(q.Close())
		for range 8 {
			<-done
		}
		close(acknowledged)
		r.Queue = r.engine.Open(r.T)
		for id := range acknowledged {
			r.stored(id, true)
		}
	}},
}

func second[T any](_ T, err error) error { return err }

// GroupedByEvent puts the deliveries of one event, which are listed one after the other in any order, in the order of
// their providers.
func GroupedByEvent(ids []string) []string {
	event := func(i int) string {
		id, _, _ := strings.Cut(ids[i], ".")
		return id
	}
	for i := 0; i < len(ids); {
		j := i + 1
		for j < len(ids) && event(j) == event(i) {
			j++
		}
		slices.Sort(ids[i:j])
		i = j
	}
	return ids
}
