package queuetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

var errDown = errors.New("connection refused")

var takeCases = []testCase{
	{"CancelledContext", func(r *rig) {
		r.put("p")
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := r.Take(ctx, "p"); !errors.Is(err, context.Canceled) {
			r.Fatalf("Take: %v", err)
		}
		r.take("p")
	}},
	{"WaitsForAPut", func(r *rig) {
		type taken struct {
			lease bellhop.Lease
			err   error
		}
		got := make(chan taken)
		go func() {
			lease, err := r.Take(context.Background(), "p")
			got <- taken{lease, err}
		}()
		id := r.put("p")
		select {
		case g := <-got:
			r.must(g.err)
			if g.lease.Delivery().Event != id {
				r.Fatalf("took %s, want %s", g.lease.Delivery().Event, id)
			}
		case <-time.After(patience):
			r.Fatal("a Put woke no taker")
		}
	}},
	{"CancelledTakerLosesNoWake", func(r *rig) {
		for range 50 {
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			wg.Go(func() {
				if lease, err := r.Take(ctx, "p"); err == nil {
					r.settle(lease, nil)
				}
			})
			wg.Go(cancel)
			wg.Go(func() { r.put("p") })
			wg.Wait()
			if r.stats("p").Depth == 1 {
				r.settle(r.take("p"), nil)
			}
		}
		r.counts("p", 0, 0)
	}},
	{"FirstInFirstOut", func(r *rig) {
		ids := make([]string, 700) // more than any sensible prefetch
		for i := range ids {
			ids[i] = r.put("p")
		}
		for _, id := range ids {
			r.settle(r.takeID("p", id), nil)
		}
		r.nothing("p")
		r.counts("p", 0, 0)
	}},
	{"LongLineWithReopening", func(r *rig) {
		ids := make([]string, 700)
		for i := range ids {
			ids[i] = r.put("p")
		}
		for _, id := range ids[:300] {
			r.settle(r.takeID("p", id), nil)
		}
		r.reopen()
		for _, id := range ids[300:] {
			r.settle(r.takeID("p", id), nil)
		}
		r.nothing("p")
	}},
	{"ALeaseIsOneTakers", func(r *rig) {
		id := r.put("p")
		lease := r.takeID("p", id)
		r.nothing("p")
		r.counts("p", 1, 0)
		r.settle(lease, nil)
		r.nothing("p")
	}},
	{"ProvidersAreApart", func(r *rig) {
		id := r.put("p", "pp", "p.q", "P")
		r.nothing("q")
		for _, p := range []string{"p", "pp", "p.q", "P"} {
			lease := r.takeID(p, id)
			if d := lease.Delivery(); d.Provider != p || d.ID != bellhop.DeliveryID(id, p) {
				r.Fatalf("took %+v for %s", d, p)
			}
			r.settle(lease, nil)
		}
	}},
	{"InOrderOfDueTime", func(r *rig) {
		now := time.Now()
		first, second := r.put("p"), r.put("p")
		a, b := r.takeID("p", first), r.takeID("p", second)
		r.settle(a, errDown, bellhop.Outcome{Started: now, Due: now.Add(2 * soon)})
		r.settle(b, errDown, bellhop.Outcome{Started: now, Due: now.Add(soon)})
		r.settle(r.takeID("p", second), nil)
		if time.Now().Before(now.Add(soon)) {
			r.Fatal("taken before it was due")
		}
		r.settle(r.takeID("p", first), nil)
		if time.Now().Before(now.Add(2 * soon)) {
			r.Fatal("taken before it was due")
		}
	}},
	{"FreshBeforeWhatIsNotDue", func(r *rig) {
		r.put("p")
		r.settle(r.take("p"), errDown, bellhop.Outcome{Due: time.Now().Add(time.Hour)})
		r.settle(r.takeID("p", r.put("p")), nil)
		r.nothing("p")
	}},
	{"OverdueBeforeFresh", func(r *rig) {
		first := r.put("p")
		r.settle(r.takeID("p", first), errDown, bellhop.Outcome{Due: time.Now().Add(-time.Hour)})
		r.put("p")
		r.takeID("p", first)
	}},
	{"ManyRetries", func(r *rig) {
		const n = 600
		ids := make([]string, n)
		leases := make([]bellhop.Lease, n)
		for i := range n {
			ids[i] = r.put("p")
			leases[i] = r.takeID("p", ids[i])
		}
		now := time.Now()
		for i, l := range leases { // due in the opposite order
			r.settle(l, errDown, bellhop.Outcome{Started: now, Due: now.Add(-time.Duration(i) * time.Second)})
		}
		r.counts("p", n, 0)
		for i := n - 1; i >= 0; i-- {
			r.settle(r.takeID("p", ids[i]), nil)
			if i == n/3 {
				r.reopen()
			}
		}
		r.nothing("p")
	}},
	{"ConcurrentTakers", func(r *rig) {
		const takers, events = 8, 1500
		var mu sync.Mutex
		seen := make(map[string]int)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var wg sync.WaitGroup
		for range takers {
			wg.Go(func() {
				for {
					lease, err := r.Take(ctx, "p")
					if err != nil {
						return
					}
					d := lease.Delivery()
					mu.Lock()
					seen[d.ID]++
					n := seen[d.ID]
					mu.Unlock()
					switch {
					case n == 1 && d.Event[len(d.Event)-1]%3 == 0:
						err = lease.Settle(ctx, bellhop.ErrStopping, bellhop.Outcome{})
					case n == 1 && d.Event[len(d.Event)-1]%3 == 1:
						err = lease.Settle(ctx, errDown, bellhop.Outcome{Due: time.Now()})
					default:
						err = lease.Settle(ctx, nil, bellhop.Outcome{})
						mu.Lock()
						if seen[d.ID] += 1000; seen[d.ID] > 1999 {
							r.Errorf("%s was delivered twice", d.ID)
						}
						if len(seen) == events {
							done := 0
							for _, n := range seen {
								if n >= 1000 {
									done++
								}
							}
							if done == events {
								cancel()
							}
						}
						mu.Unlock()
					}
					if err != nil {
						r.Error(err)
					}
				}
			})
		}
		for range 4 {
			wg.Go(func() {
				for range events / 4 {
					r.put("p")
				}
			})
		}
		finished := make(chan struct{})
		go func() { wg.Wait(); close(finished) }()
		select {
		case <-finished:
		case <-time.After(patience):
			cancel()
			<-finished
			r.Fatalf("%d of %d events were seen", len(seen), events)
		}
		r.counts("p", 0, 0)
	}},
	{"ManyWaitingProviders", func(r *rig) {
		const n = 200
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				for {
					lease, err := r.Take(ctx, fmt.Sprintf("p%d", i))
					if err != nil {
						return
					}
					if err := lease.Settle(ctx, nil, bellhop.Outcome{}); err != nil {
						r.Error(err)
					}
				}
			})
		}
		r.put("p7", "p100")
		for r.stats("p7").Depth+r.stats("p100").Depth > 0 {
			if r.Failed() {
				break
			}
		}
		cancel()
		wg.Wait()
	}},
}

var settleCases = []testCase{
	{"Twice", func(r *rig) {
		r.put("p")
		l := r.take("p")
		r.settle(l, nil)
		if err := l.Settle(r.context(), nil, bellhop.Outcome{}); err == nil {
			r.Fatal("a lease was settled twice")
		}
		r.counts("p", 0, 0)
	}},
	{"Accepted", func(r *rig) {
		id := r.put("p", "q")
		started := time.Now().Add(-time.Second).UTC()
		r.settle(r.take("p"), nil, bellhop.Outcome{Started: started, Took: time.Second})
		r.counts("p", 0, 0)
		r.counts("q", 1, 0)
		d := r.delivery(id, "p")
		if d.State != bellhop.Delivered || d.Attempts != 1 || d.Error != "" || !d.Due.IsZero() ||
			len(d.Log) != 1 || d.Log[0].Took != time.Second || !d.Log[0].Time.Equal(started) || d.Log[0].Error != "" {
			r.Fatalf("delivery %+v", d)
		}
	}},
	{"StoppingIsUncounted", func(r *rig) {
		for i, err := range []error{
			bellhop.ErrStopping, context.Canceled, fmt.Errorf("sending: %w", context.Canceled),
		} {
			id := r.put("p")
			r.settle(r.takeID("p", id), err)
			r.counts("p", 1, 0)
			l := r.takeID("p", id)
			if d := l.Delivery(); d.Attempts != 0 || len(d.Log) != 0 {
				r.Fatalf("%d: delivery %+v", i, d)
			}
			r.settle(l, nil)
		}
	}},
	{"StoppingGoesBackToTheHead", func(r *rig) {
		first, second := r.put("p"), r.put("p")
		r.settle(r.takeID("p", first), bellhop.ErrStopping)
		r.takeID("p", first)
		r.takeID("p", second)
	}},
	{"StoppingARetry", func(r *rig) {
		id := r.put("p")
		r.settle(r.take("p"), errDown, bellhop.Outcome{Due: time.Now()})
		r.settle(r.take("p"), bellhop.ErrStopping)
		if d := r.takeID("p", id).Delivery(); d.Attempts != 1 || len(d.Log) != 1 {
			r.Fatalf("delivery %+v", d)
		}
	}},
	{"RetryAfterIsUncounted", func(r *rig) {
		id := r.put("p")
		before := time.Now()
		r.settle(r.take("p"), bellhop.RetryAfter(soon, errors.New("slow down")))
		r.counts("p", 1, 0)
		l := r.takeID("p", id)
		if time.Since(before) < soon {
			r.Fatal("taken before its delay was over")
		}
		if d := l.Delivery(); d.Attempts != 0 || len(d.Log) != 1 || d.Error != "slow down" {
			r.Fatalf("delivery %+v", d)
		}
	}},
	{"PermanentIsDead", func(r *rig) {
		id := r.put("p")
		r.settle(r.take("p"), fmt.Errorf("sending: %w", bellhop.Permanent(errors.New("no such channel"))))
		r.nothing("p")
		r.counts("p", 0, 1)
		d := r.delivery(id, "p")
		if d.State != bellhop.Dead || d.Attempts != 1 || d.Error != "sending: no such channel" || !d.Due.IsZero() {
			r.Fatalf("delivery %+v", d)
		}
	}},
	{"PlainIsDueAgain", func(r *rig) {
		id := r.put("p")
		due := time.Now().Add(soon)
		r.settle(r.take("p"), errDown, bellhop.Outcome{Due: due})
		if d := r.delivery(id, "p"); d.State != bellhop.Waiting || !d.Due.Equal(due) || d.Attempts != 1 || d.Error != errDown.Error() {
			r.Fatalf("delivery %+v", d)
		}
		r.takeID("p", id)
		if time.Now().Before(due) {
			r.Fatal("taken before it was due")
		}
	}},
	{"TimeoutIsCounted", func(r *rig) {
		id := r.put("p")
		r.settle(r.take("p"), context.DeadlineExceeded, bellhop.Outcome{Due: time.Now()})
		if d := r.takeID("p", id).Delivery(); d.Attempts != 1 {
			r.Fatalf("delivery %+v", d)
		}
	}},
	{"GivenUp", func(r *rig) {
		id := r.put("p")
		r.settle(r.take("p"), errDown, bellhop.Outcome{Dead: true, Due: time.Now()})
		r.counts("p", 0, 1)
		if d := r.delivery(id, "p"); d.State != bellhop.Dead || d.Error != errDown.Error() {
			r.Fatalf("delivery %+v", d)
		}
	}},
	{"LogKeepsTheLast", func(r *rig) {
		id := r.put("p")
		for i := range 25 {
			r.settle(r.take("p"), fmt.Errorf("attempt %d", i+1), bellhop.Outcome{Due: time.Now()})
		}
		d := r.take("p").Delivery()
		if d.Event != id || d.Attempts != 25 || len(d.Log) != 20 || d.Log[19].Error != "attempt 25" || d.Log[0].Error != "attempt 6" {
			r.Fatalf("delivery %+v", d)
		}
	}},
	{"OutlivesReopening", func(r *rig) {
		delivered, failed, given := r.put("p"), r.put("p"), r.put("p")
		r.settle(r.takeID("p", delivered), nil)
		due := time.Now().Add(soon)
		r.settle(r.takeID("p", failed), errDown, bellhop.Outcome{Due: due})
		r.settle(r.takeID("p", given), errDown, bellhop.Outcome{Dead: true})
		r.reopen()
		r.counts("p", 1, 1)
		r.takeID("p", failed)
		if time.Now().Before(due) {
			r.Fatal("taken before it was due")
		}
		if d := r.delivery(delivered, "p"); d.State != bellhop.Delivered {
			r.Fatalf("delivery %+v", d)
		}
	}},
}
