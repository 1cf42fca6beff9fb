package queuetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

var moveCases = []testCase{
	{"BadParts", func(r *rig) {
		e, at := NewEvent(""), time.Now()
		other := bellhop.Delivery{Event: NewID(), Provider: "p", State: bellhop.Waiting, Accepted: at}
		unknown := bellhop.Delivery{Event: e.ID, Provider: "p", State: "lost", Accepted: at}
		nameless := bellhop.Delivery{Event: e.ID, State: bellhop.Waiting, Accepted: at}
		for _, s := range []bellhop.Stored{
			{},
			{Provider: "p"},
			{PausedUntil: at},
			{ID: "id", Event: e},
			{ID: strings.Repeat("i", 5000)},
			{Memo: &bellhop.Memo{Key: "key", Expires: at.Add(time.Hour)}},
			{Provider: "p", Memo: &bellhop.Memo{Expires: at.Add(time.Hour)}},
			{Event: &bellhop.Event{ID: "a.b"}},
			{Event: e, Deliveries: []*bellhop.Delivery{&other}},
			{Event: e, Deliveries: []*bellhop.Delivery{&unknown}},
			{Event: e, Deliveries: []*bellhop.Delivery{&nameless}},
			{Event: e, Key: &bellhop.DuplicateKey{Key: "key", IDs: []string{e.ID}, Expires: at.Add(time.Hour)}},
			{Key: &bellhop.DuplicateKey{IDs: []string{e.ID}, Expires: at.Add(time.Hour)}},
			{Key: &bellhop.DuplicateKey{Key: strings.Repeat("k", 5000), IDs: []string{e.ID}, Expires: at.Add(time.Hour)}},
			{Key: &bellhop.DuplicateKey{Key: "key", Expires: at.Add(time.Hour)}},
			{Key: &bellhop.DuplicateKey{Key: "key", IDs: []string{e.ID, "a.b"}, Expires: at.Add(time.Hour)}},
			{Key: &bellhop.DuplicateKey{Key: "key", IDs: []string{e.ID}}},
		} {
			// What is right beside it is not taken in either.
			if err := r.Import(r.context(), &bellhop.Stored{Event: NewEvent("")}, &s); err == nil {
				r.Errorf("took in %+v", s)
			}
		}
		if ids := r.allEvents(10); len(ids) != 0 {
			r.Errorf("refused, but stored: %v", ids)
		}
	}},
	{"AnotherIDIsRefused", func(r *rig) {
		own := r.ID()
		r.put("p")
		if err := r.Import(r.context(), &bellhop.Stored{ID: "another"}); err == nil {
			r.Error("a store with events took on the id of another")
		}
		r.must(r.Import(r.context(), &bellhop.Stored{ID: own}))
		r.reopen()
		if r.ID() != own {
			r.Errorf("id %q, was %q", r.ID(), own)
		}
	}},
	{"CancelledContext", func(r *rig) {
		r.put("p")
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := r.Import(ctx, &bellhop.Stored{Event: NewEvent("")}); err == nil {
			r.Error("imported with a context that had ended")
		}
		var last error
		for _, err := range r.Export(ctx) {
			if last != nil {
				r.Fatal("something follows the error")
			}
			last = err
		}
		if last == nil {
			r.Error("exported with a context that had ended")
		}
	}},
	{"Nothing", func(r *rig) {
		if parts := r.export(); len(parts) != 1 || parts[0].ID != r.ID() {
			r.Errorf("an empty store yields %+v", parts)
		}
	}},
	{"All", func(r *rig) {
		r.fill()
		parts := r.export()
		for _, size := range []int{1, 3, len(parts)} {
			target := r.other()
			for part := range slices.Chunk(parts, size) {
				target.must(target.Import(r.context(), part...))
			}
			if target.ID() != r.ID() {
				r.Errorf("id %q, want %q", target.ID(), r.ID())
			}
			target.holds(parts)
			target.reopen()
			target.holds(parts)
			if target.ID() != r.ID() {
				r.Errorf("id %q after reopening, want %q", target.ID(), r.ID())
			}
			for _, p := range []string{"p", "q", "dead", "paused"} {
				is, want := target.stats(p), r.stats(p)
				if !is.Oldest.Equal(want.Oldest) || !is.PausedUntil.Equal(want.PausedUntil) || is.Depth != want.Depth || is.Dead != want.Dead {
					r.Errorf("%s: %+v, want %+v", p, is, want)
				}
			}
		}
	}},
	{"GoesOn", func(r *rig) {
		first, second := r.put("p"), r.put("p")
		retried := r.put("q")
		r.settle(r.take("q"), errDown, bellhop.Outcome{Due: time.Now().Add(soon)})
		dead := r.put("dead")
		r.die("dead")
		target := r.other()
		target.must(target.Import(r.context(), r.export()...))
		third := target.put("p")
		for _, id := range []string{first, second, third} {
			target.settle(target.takeID("p", id), nil)
		}
		if d := target.takeID("q", retried).Delivery(); d.Attempts != 1 || len(d.Log) != 1 {
			r.Errorf("delivery %+v", d)
		}
		target.must(target.Retry(r.context(), bellhop.DeliveryID(dead, "dead")))
		target.settle(target.takeID("dead", dead), nil)
		_, err := target.Replay(r.context(), first, targets("p"))
		target.must(err)
		target.settle(target.takeID("p", first), nil)
		target.counts("p", 0, 0)
		target.counts("dead", 0, 0)
	}},
	{"ReplayOfWhatIsToBeTriedAgain", func(r *rig) {
		id := r.put("p")
		r.settle(r.take("p"), errDown, bellhop.Outcome{Due: time.Now().Add(time.Hour)})
		parts := r.export()
		for _, asked := range []bool{false, true} {
			target := r.other()
			target.must(target.Import(r.context(), parts...))
			if asked {
				target.nothing("p")
			}
			_, err := target.Replay(r.context(), id, targets("p"))
			target.must(err)
			target.counts("p", 1, 0)
			l := target.takeID("p", id)
			if d := l.Delivery(); d.Attempts != 0 {
				r.Errorf("delivery %+v", d)
			}
			target.settle(l, nil)
			target.counts("p", 0, 0)
			target.nothing("p")
		}
	}},
	{"AgainAfterAnInterruption", func(r *rig) {
		r.fill()
		parts := r.export()
		target := r.other()
		target.must(target.Import(r.context(), parts[:len(parts)*2/3]...))
		target.reopen()
		for range 2 {
			target.must(target.Import(r.context(), parts...))
			target.holds(parts)
		}
	}},
	{"WhatIsThereStays", func(r *rig) {
		id := r.put("p")
		parts := r.export()
		target := r.other()
		target.must(target.Import(r.context(), parts...))
		target.settle(target.takeID("p", id), nil)
		target.must(target.Import(r.context(), parts...))
		target.counts("p", 0, 0)
		target.nothing("p")
		if d := target.delivery(id, "p"); d.State != bellhop.Delivered {
			r.Errorf("delivery %+v", d)
		}
	}},
	{"EventsOfOnePost", func(r *rig) {
		a, b := NewEvent("a"), NewEvent("b")
		_, err := r.Put(r.context(), &bellhop.Post{Items: []bellhop.Item{{Event: a, To: targets("p")}, {Event: b, To: targets("p", "q")}}})
		r.must(err)
		parts := r.export()
		target := r.other()
		target.must(target.Import(r.context(), parts...))
		target.holds(parts)
		r.must(r.Import(r.context(), parts...))
		r.holds(parts)
	}},
	{"KeysThatNobodyKnows", func(r *rig) {
		r.putKey("", time.Hour)
		r.putKey("no window", 0)
		r.putKey("over", time.Nanosecond)
		r.putKey("known", time.Hour)
		target := r.other()
		target.must(target.Import(r.context(), r.export()...))
		if got := keys(target.export()); len(got) != 1 || got[0].Key.Key != "known" {
			r.Errorf("keys %+v", got)
		}
		for _, key := range []string{"", "no window", "over", "know", "known/2"} {
			if got := target.putKey(key, time.Hour); got.Duplicate {
				r.Errorf("key %q: %+v, and nobody knows it", key, got)
			}
		}
	}},
	{"KeyWhoseTimeIsOver", func(r *rig) {
		key := &bellhop.DuplicateKey{Key: "key", IDs: []string{NewID()}, Expires: time.Now()}
		r.must(r.Import(r.context(), &bellhop.Stored{Key: key}))
		first := r.putKey("key", time.Hour)
		if first.Duplicate {
			r.Error("a key was known beyond its window")
		}
		if again := r.putKey("key", time.Hour); !again.Duplicate || !slices.Equal(again.IDs, first.IDs) {
			r.Errorf("got %+v, want a duplicate of %v", again, first.IDs)
		}
	}},
	{"KeyThatIsThereStays", func(r *rig) {
		first := r.putKey("put", time.Hour)
		imported := bellhop.DuplicateKey{Key: "imported", IDs: []string{NewID()}, Expires: time.Now().Add(time.Hour)}
		for _, key := range []bellhop.DuplicateKey{
			imported,
			{Key: "imported", IDs: []string{NewID()}, Expires: time.Now().Add(2 * time.Hour)},
			{Key: "put", IDs: []string{NewID()}, Expires: time.Now().Add(2 * time.Hour)},
		} {
			r.must(r.Import(r.context(), &bellhop.Stored{Key: &key}))
		}
		for key, want := range map[string][]string{"put": first.IDs, "imported": imported.IDs} {
			if got := r.putKey(key, time.Hour); !got.Duplicate || !slices.Equal(got.IDs, want) {
				r.Errorf("key %s: %+v, want a duplicate of %v", key, got, want)
			}
		}
		if got := keys(r.export()); len(got) != 2 || !got[0].Key.Expires.Equal(imported.Expires) {
			r.Errorf("keys %+v", got)
		}
	}},
	{"KeysAreKnown", func(r *rig) {
		first := r.putKey("key", time.Hour)
		awkward := r.putKey("a\x00b\xff", 48*time.Hour)
		from := r
		for range 2 { // to another store, and on from there
			target := r.other()
			parts := from.export()
			target.must(target.Import(r.context(), parts...))
			target.must(target.Import(r.context(), parts...))
			target.holds(parts)
			for range 2 {
				for key, want := range map[string][]string{"key": first.IDs, "a\x00b\xff": awkward.IDs} {
					if got := target.putKey(key, time.Hour); !got.Duplicate || !slices.Equal(got.IDs, want) {
						r.Errorf("key %q: %+v, want a duplicate of %v", key, got, want)
					}
				}
				target.reopen()
			}
			target.counts("p", 4, 0)
			from = target
		}
	}},
	{"KeyOfAnEventThatIsGone", func(r *rig) {
		first := r.putKey("key", time.Hour)
		parts := r.export()
		target := r.other()
		target.must(target.Import(r.context(), keys(parts)...))
		if got := target.putKey("key", time.Hour); !got.Duplicate || !slices.Equal(got.IDs, first.IDs) {
			r.Errorf("got %+v, want a duplicate of %v", got, first.IDs)
		}
		target.counts("p", 0, 0)
		for _, id := range first.IDs {
			target.stored(id, false)
		}
		target.must(target.Import(r.context(), parts...)) // it was not gone, just late
		target.holds(parts)
	}},
	{"KeysComeBehindTheirEvents", func(r *rig) {
		r.putKey("a", time.Hour)
		r.putKey("b", time.Hour)
		there, known := make(map[string]bool), 0
		for _, s := range r.export() {
			switch {
			case s.Event != nil:
				there[s.Event.ID] = true
			case s.Key != nil:
				known++
				for _, id := range s.Key.IDs {
					if !there[id] {
						r.Errorf("key %s comes before its event %s", s.Key.Key, id)
					}
				}
			}
		}
		if known != 2 {
			r.Errorf("%d keys, want 2", known)
		}
	}},
	{"HistoryGoesInItsTime", func(r *rig) {
		done, dead, waiting := r.put("p"), r.put("p"), r.put("w")
		r.settle(r.takeID("p", done), nil)
		r.die("p")
		target := r.other()
		target.must(target.Import(r.context(), r.export()...))
		target.expire()
		target.stored(done, false)
		target.stored(dead, true)
		target.stored(waiting, true)
		target.settle(target.takeID("w", waiting), nil)
		target.must(target.Drop(r.context(), bellhop.DeliveryID(dead, "p")))
		target.expire()
		target.stored(dead, false)
		target.stored(waiting, false)
	}},
	{"OfMany", func(r *rig) {
		const n = 300
		var want []string
		for range n {
			want = append(want, r.put("p"))
		}
		target := r.other()
		target.must(target.Import(r.context(), r.export()...))
		target.reopen()
		for _, id := range want {
			target.settle(target.takeID("p", id), nil)
		}
		target.counts("p", 0, 0)
	}},
}

// other is a store of its own.
func (r *rig) other() *rig {
	r.Helper()
	o := &rig{T: r.T, engine: r.another(r.T), another: r.another}
	o.Queue = o.engine.Open(r.T)
	r.Cleanup(func() { o.must(o.Close()) })
	return o
}

// fill puts something of every kind into the store.
func (r *rig) fill() {
	r.Helper()
	put := func(e *bellhop.Event, providers ...string) {
		r.Helper()
		_, err := r.Put(r.context(), &bellhop.Post{Items: []bellhop.Item{{Event: e, To: targets(providers...)}}})
		r.must(err)
	}
	put(FullEvent(), "p", "q")
	put(&bellhop.Event{ID: NewID(), Time: time.Now(), Raw: []byte(Noise(3 << 20))}, "p")
	put(NewEvent("nobody's"))
	r.putKey("key", time.Hour)
	r.settle(r.take("q"), errDown, bellhop.Outcome{Due: time.Now().Add(time.Hour)})
	put(NewEvent("retried at once"), "q")
	r.settle(r.take("q"), bellhop.RetryAfter(time.Hour, errDown))

	put(NewEvent("gone"), "dead")
	r.die("dead")
	put(NewEvent("dropped"), "dead", "p")
	dropped := r.take("dead")
	r.settle(dropped, bellhop.Permanent(errors.New("no such channel")))
	r.must(r.Drop(r.context(), dropped.Delivery().ID))

	r.leave("done", "key", "value")
	r.leave("done", "a\x00b\xff", "of an awkward key")
	id := r.put("done")
	r.settle(r.take("done"), nil, bellhop.Outcome{Note: "the same was sent before"})
	_, err := r.Replay(r.context(), id, []bellhop.Target{{Provider: "replayed", Route: "by hand"}})
	r.must(err)
	put(NewEvent("held back"), "paused")
	r.must(r.Pause(r.context(), "paused", time.Now().Add(time.Hour)))
}

// export reads all parts. What cannot be compared as it is read is put in order.
func (r *rig) export() []*bellhop.Stored {
	r.Helper()
	var parts []*bellhop.Stored
	for s, err := range r.Export(r.context()) {
		r.must(err)
		s.Deliveries = slices.SortedFunc(slices.Values(s.Deliveries), func(a, b *bellhop.Delivery) int { return cmp.Compare(a.ID, b.ID) })
		parts = append(parts, s)
	}
	return parts
}

// holds wants the store to hold just these parts: the events in their order.
func (r *rig) holds(want []*bellhop.Stored) {
	r.Helper()
	got := r.export()
	if diff := gocmp.Diff(settings(want), settings(got)); diff != "" {
		r.Errorf("settings: -want +got:\n%s", diff)
	}
	if diff := gocmp.Diff(events(want), events(got), gocmp.Comparer(bytes.Equal)); diff != "" {
		r.Errorf("events: -want +got:\n%s", diff)
	}
}

func isEvent(s *bellhop.Stored) bool { return s.Event != nil }

func events(parts []*bellhop.Stored) []*bellhop.Stored {
	return slices.DeleteFunc(slices.Clone(parts), func(s *bellhop.Stored) bool { return !isEvent(s) })
}

// keys are the parts that are duplicate keys, in an order that is the same for all stores.
func keys(parts []*bellhop.Stored) []*bellhop.Stored {
	return slices.DeleteFunc(settings(parts), func(s *bellhop.Stored) bool { return s.Key == nil })
}

// settings are the parts other than events, in an order that is the same for all stores.
func settings(parts []*bellhop.Stored) []*bellhop.Stored {
	out := slices.DeleteFunc(slices.Clone(parts), isEvent)
	slices.SortFunc(out, func(a, b *bellhop.Stored) int {
		key := func(s *bellhop.Stored) string {
			switch {
			case s.Memo != nil:
				return s.Memo.Key
			case s.Key != nil:
				return s.Key.Key
			}
			return ""
		}
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Provider, b.Provider), cmp.Compare(key(a), key(b)))
	})
	return out
}
