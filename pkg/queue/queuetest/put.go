package queuetest

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

var putCases = []testCase{
	{"NoEvents", func(r *rig) {
		if _, err := r.Put(r.context(), &bellhop.Post{}); err == nil {
			r.Fatal("a post without events was taken")
		}
	}},
	{"BadNames", func(r *rig) {
		for _, item := range []bellhop.Item{
			{Event: &bellhop.Event{}, To: targets("p")},
			{Event: &bellhop.Event{ID: "a.b"}, To: targets("p")},
			{Event: &bellhop.Event{ID: "a\x00b"}, To: targets("p")},
			{Event: &bellhop.Event{ID: strings.Repeat("a", 5000)}, To: targets("p")},
			{Event: NewEvent(""), To: targets("")},
			{Event: NewEvent(""), To: targets("p\x00q")},
			{Event: NewEvent(""), To: targets("p", "p")},
			{},
		} {
			if _, err := r.Put(r.context(), &bellhop.Post{Items: []bellhop.Item{item}}); err == nil {
				r.Errorf("took %+v", item)
			}
		}
		if ids := r.allEvents(10); len(ids) != 0 {
			r.Errorf("refused events were stored: %v", ids)
		}
	}},
	{"CancelledContext", func(r *rig) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := r.Put(ctx, &bellhop.Post{Items: []bellhop.Item{{Event: NewEvent("")}}}); err == nil {
			r.Fatal("put with a context that had ended")
		}
	}},
	{"RoundTrip", func(r *rig) {
		for _, e := range []*bellhop.Event{
			FullEvent(),
			{ID: NewID()},
			{ID: NewID(), Headers: map[string]string{}, Metadata: map[string]string{}, Fields: []bellhop.Field{}},
			{ID: NewID(), Raw: []byte(Noise(6 << 20))},
		} {
			_, err := r.Put(r.context(), &bellhop.Post{Items: []bellhop.Item{{Event: e, To: targets("p")}}})
			r.must(err)
			lease := r.takeID("p", e.ID)
			got, err := lease.Event(r.context())
			r.must(err)
			if diff := cmp.Diff(e, got, cmp.Comparer(bytes.Equal)); diff != "" {
				r.Errorf("leased (-put +got):\n%.2000s", diff)
			}
			got, err = r.Event(r.context(), e.ID)
			r.must(err)
			if diff := cmp.Diff(e, got, cmp.Comparer(bytes.Equal)); diff != "" {
				r.Errorf("read (-put +got):\n%.2000s", diff)
			}
			r.settle(lease, nil)
		}
	}},
	{"KeepsNothingOfThePost", func(r *rig) {
		e := NewEvent(`{"a":1}`)
		body := slices.Clone(e.Raw)
		_, err := r.Put(r.context(), &bellhop.Post{Items: []bellhop.Item{{Event: e, To: targets("p")}}})
		r.must(err)
		clear(e.Raw)
		e.Headers["Content-Type"] = "changed"
		got, err := r.take("p").Event(r.context())
		r.must(err)
		if string(got.Raw) != string(body) || got.Headers["Content-Type"] != "application/json" {
			r.Fatalf("the stored event changed with the caller's: %q %v", got.Raw, got.Headers)
		}
	}},
	{"SeveralEventsInOrder", func(r *rig) {
		a, b := NewEvent("a"), NewEvent("b")
		receipt, err := r.Put(r.context(), &bellhop.Post{Items: []bellhop.Item{
			{Event: a, To: targets("p", "q")}, {Event: b, To: targets("p")},
		}})
		r.must(err)
		if !slices.Equal(receipt.IDs, []string{a.ID, b.ID}) {
			r.Fatalf("ids %v", receipt.IDs)
		}
		r.settle(r.takeID("p", a.ID), nil)
		r.settle(r.takeID("p", b.ID), nil)
		r.settle(r.takeID("q", a.ID), nil)
		r.nothing("q")
	}},
	{"WithoutTargets", func(r *rig) {
		id := r.put()
		if _, err := r.Event(r.context(), id); err != nil {
			r.Fatal(err)
		}
		if ds := r.allDeliveries(bellhop.DeliveryFilter{}, 10); len(ds) != 0 {
			r.Fatalf("deliveries %v", ds)
		}
	}},
	{"RouteIsKept", func(r *rig) {
		e := NewEvent("")
		_, err := r.Put(r.context(), &bellhop.Post{Items: []bellhop.Item{
			{Event: e, To: []bellhop.Target{{Provider: "p", Route: "pushes"}}},
		}})
		r.must(err)
		d := r.take("p").Delivery()
		if d.Route != "pushes" || d.ID != bellhop.DeliveryID(e.ID, "p") || d.State != bellhop.Waiting || d.Attempts != 0 {
			r.Fatalf("delivery %+v", d)
		}
		if d.Accepted.IsZero() || !d.Started.Equal(d.Accepted) || d.Due.After(time.Now()) {
			r.Fatalf("times of %+v", d)
		}
	}},
	{"ManyAtOnce", func(r *rig) {
		const posts, each = 16, 50
		var wg sync.WaitGroup
		for range posts {
			wg.Go(func() {
				for range each {
					e := NewEvent("x")
					if _, err := r.Put(context.Background(), &bellhop.Post{
						Key: e.ID, Window: time.Hour, Items: []bellhop.Item{{Event: e, To: targets("p", "q")}},
					}); err != nil {
						r.Error(err)
					}
				}
			})
		}
		wg.Wait()
		r.counts("p", posts*each, 0)
		r.counts("q", posts*each, 0)
		if n := len(r.allEvents(333)); n != posts*each {
			r.Fatalf("%d events, want %d", n, posts*each)
		}
	}},
}

func (r *rig) putKey(key string, window time.Duration) bellhop.Receipt {
	r.Helper()
	receipt, err := r.Put(r.context(), &bellhop.Post{
		Key: key, Window: window, Items: []bellhop.Item{
			{Event: NewEvent("first"), To: targets("p")}, {Event: NewEvent("second"), To: targets("p")},
		},
	})
	r.must(err)
	return receipt
}

var duplicateCases = []testCase{
	{"EmptyKeyIsNone", func(r *rig) {
		r.putKey("", time.Hour)
		if r.putKey("", time.Hour).Duplicate {
			r.Fatal("an empty key made a duplicate")
		}
		r.counts("p", 4, 0)
	}},
	{"NoWindowIsNone", func(r *rig) {
		r.putKey("k", 0)
		if r.putKey("k", 0).Duplicate {
			r.Fatal("a key without a window made a duplicate")
		}
	}},
	{"OtherKey", func(r *rig) {
		r.putKey("app/1", time.Hour)
		if r.putKey("app/2", time.Hour).Duplicate || r.putKey("app/", time.Hour).Duplicate {
			r.Fatal("another key made a duplicate")
		}
	}},
	{"FirstIDs", func(r *rig) {
		first := r.putKey("k", time.Hour)
		again := r.putKey("k", time.Hour)
		if !again.Duplicate || !slices.Equal(again.IDs, first.IDs) {
			r.Fatalf("got %+v, want a duplicate of %v", again, first.IDs)
		}
		r.counts("p", 2, 0)
	}},
	{"AfterReopening", func(r *rig) {
		first := r.putKey("k", time.Hour)
		r.reopen()
		if again := r.putKey("k", time.Hour); !again.Duplicate || !slices.Equal(again.IDs, first.IDs) {
			r.Fatalf("got %+v, want a duplicate of %v", again, first.IDs)
		}
	}},
	{"AfterTheWindow", func(r *rig) {
		r.putKey("k", time.Nanosecond)
		again := r.putKey("k", time.Hour)
		if again.Duplicate {
			r.Fatal("a key was known beyond its window")
		}
		if third := r.putKey("k", time.Hour); !third.Duplicate || !slices.Equal(third.IDs, again.IDs) {
			r.Fatalf("got %+v, want a duplicate of %v", third, again.IDs)
		}
	}},
	{"AtTheSameTime", func(r *rig) {
		for range 20 {
			key := NewID()
			receipts := make([]bellhop.Receipt, 16)
			var wg sync.WaitGroup
			for i := range receipts {
				wg.Go(func() { receipts[i] = r.putKey(key, time.Hour) })
			}
			wg.Wait()
			firsts := 0
			for _, got := range receipts {
				if !got.Duplicate {
					firsts++
				}
				if !slices.Equal(got.IDs, receipts[0].IDs) {
					r.Fatalf("ids %v and %v for one key", got.IDs, receipts[0].IDs)
				}
			}
			if firsts != 1 {
				r.Fatalf("%d of 16 were not duplicates", firsts)
			}
		}
		r.counts("p", 40, 0)
	}},
}
