package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest/natstest"
)

// patience bounds every wait; it is only ever used up by a failing test.
const patience = 30 * time.Second

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func put(t testing.TB, q bellhop.Queue, providers ...string) string {
	t.Helper()
	e := queuetest.NewEvent(`{"ref":"refs/heads/main"}`)
	var to []bellhop.Target
	for _, p := range providers {
		to = append(to, bellhop.Target{Provider: p})
	}
	if _, err := q.Put(within(t), &bellhop.Post{Items: []bellhop.Item{{Event: e, To: to}}}); err != nil {
		t.Fatal(err)
	}
	return e.ID
}

func take(t testing.TB, q bellhop.Queue, provider string) bellhop.Lease {
	t.Helper()
	l, err := q.Take(within(t), provider)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// takers deliver what replicas take, and keep the order.
type takers struct {
	mu    sync.Mutex
	order []string       // events
	by    map[string]int // events by replica
	more  chan struct{}  // of capacity 1: order grew
	wg    sync.WaitGroup
}

func newTakers() *takers { return &takers{by: make(map[string]int), more: make(chan struct{}, 1)} }

// start takes from q until it is closed or ctx ends.
func (k *takers) start(ctx context.Context, name string, q bellhop.Queue, provider string) {
	k.wg.Go(func() {
		for {
			l, err := q.Take(ctx, provider)
			if err != nil {
				if ctx.Err() != nil || bellhop.IsStopping(err) {
					return
				}
				continue
			}
			k.mu.Lock()
			k.order = append(k.order, l.Delivery().Event)
			k.by[name]++
			k.mu.Unlock()
			select {
			case k.more <- struct{}{}:
			default:
			}
			_ = l.Settle(ctx, nil, bellhop.Outcome{}) // a closed queue hands back; then it comes again
		}
	})
}

// wait waits until n deliveries were taken.
func (k *takers) wait(t testing.TB, n int) {
	t.Helper()
	timeout := time.After(patience)
	for {
		k.mu.Lock()
		got := len(k.order)
		k.mu.Unlock()
		if got >= n {
			return
		}
		select {
		case <-k.more:
		case <-timeout:
			t.Fatalf("%d deliveries of %d", got, n)
		}
	}
}

// TestOneReplicaDelivers: two replicas want a provider's deliveries; one gets them, in their order.
func TestOneReplicaDelivers(t *testing.T) {
	t.Parallel()
	url := natstest.Serve(t).ClientURL()
	a, b := open(t, url, Options{}), open(t, url, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	k := newTakers()
	k.start(ctx, "a", a, "p")
	k.start(ctx, "b", b, "p")
	var want []string
	for i := range 200 {
		want = append(want, put(t, []*Queue{a, b}[i%2], "p"))
	}
	k.wait(t, len(want))
	cancel()
	k.wg.Wait()
	if !slices.Equal(k.order, want) {
		t.Errorf("taken in another order: %v, want %v", k.order, want)
	}
	if len(k.by) != 1 {
		t.Errorf("taken by several replicas: %v", k.by)
	}
}

// TestHandover closes the replica that delivers: the other goes on at once, where the first ended.
func TestHandover(t *testing.T) {
	t.Parallel()
	url := natstest.Serve(t).ClientURL()
	slow := brisk
	slow.ackWait, slow.pinned = time.Minute, 90*time.Second // nothing may wait for these
	a, b := open(t, url, Options{timing: slow}), open(t, url, Options{timing: slow})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var want []string
	for range 300 {
		want = append(want, put(t, b, "p"))
	}
	for i := range 20 {
		l := take(t, a, "p")
		if i < 18 { // two are handed back by Close
			if err := l.Settle(ctx, nil, bellhop.Outcome{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	k := newTakers()
	k.start(ctx, "b", b, "p")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	k.wait(t, len(want)-18)
	cancel()
	k.wg.Wait()
	if !slices.Equal(k.order, want[18:]) {
		t.Errorf("taken %d deliveries, some again or in another order", len(k.order))
	}
}

// TestFailover cuts the connection of the replica that delivers: what it held comes first at the other, then the rest.
func TestFailover(t *testing.T) {
	t.Parallel()
	url := natstest.Serve(t).ClientURL()
	a, b := open(t, url, Options{}), open(t, url, Options{})
	var want []string
	for range 150 {
		want = append(want, put(t, b, "p"))
	}
	first, second := take(t, a, "p"), take(t, a, "p")
	if first.Delivery().Event != want[0] || second.Delivery().Event != want[1] {
		t.Fatal("not the first ones")
	}
	a.nc.Close()
	died := time.Now()
	for i, id := range want {
		l := take(t, b, "p")
		if i == 0 {
			t.Logf("took over after %v", time.Since(died).Round(time.Millisecond))
		}
		if got := l.Delivery().Event; got != id {
			t.Fatalf("delivery %d is of event %s, want %s", i, got, id)
		}
		if err := l.Settle(t.Context(), nil, bellhop.Outcome{}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNothingOfACutOffReplica: what was fetched is not handed out when it may be another's.
func TestNothingOfACutOffReplica(t *testing.T) {
	t.Parallel()
	url := natstest.Serve(t).ClientURL()
	a := open(t, url, Options{})
	for range 5 {
		put(t, a, "p")
	}
	take(t, a, "p")
	a.nc.Close()
	l := a.lanes.get("p")
	ctx, cancel := context.WithTimeout(t.Context(), 2*brisk.ackWait)
	defer cancel()
	for taken := 0; ; taken++ {
		l.mu.Lock()
		left := len(l.line)
		l.mu.Unlock()
		if left == 0 {
			break // forgotten
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%d deliveries are kept", left)
		case <-l.waitChange():
		}
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := a.Take(ctx, "p"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a replica without a connection took a delivery: %v", err)
	}
}

func (l *lane) waitChange() chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.change
}

// TestLeavesAProvider: a replica whose takers were sent away leaves the provider to another.
func TestLeavesAProvider(t *testing.T) {
	t.Parallel()
	url := natstest.Serve(t).ClientURL()
	a, b := open(t, url, Options{}), open(t, url, Options{})
	first, second := put(t, a, "p"), put(t, a, "p")
	ctx, cancel := context.WithCancel(t.Context())
	l, err := a.Take(ctx, "p")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Settle(ctx, nil, bellhop.Outcome{}); err != nil || l.Delivery().Event != first {
		t.Fatalf("%v, event %s", err, l.Delivery().Event)
	}
	cancel()
	_, _ = a.Take(ctx, "p")
	if l := take(t, b, "p"); l.Delivery().Event != second {
		t.Fatalf("took event %s, want %s", l.Delivery().Event, second)
	}
}

// TestAcknowledgementLost: what was recorded as done is not sent again when its acknowledgement did not arrive.
func TestAcknowledgementLost(t *testing.T) {
	t.Parallel()
	url := natstest.Serve(t).ClientURL()
	a, b := open(t, url, Options{}), open(t, url, Options{})
	delivered, given, waits := put(t, b, "p"), put(t, b, "p"), put(t, b, "p")
	for _, c := range []struct {
		event string
		state bellhop.DeliveryState
		err   error
	}{{delivered, bellhop.Delivered, nil}, {given, bellhop.Dead, bellhop.Permanent(errors.New("no such channel"))}} {
		l := take(t, a, "p").(*lease)
		if l.event != c.event {
			t.Fatalf("took %s, want %s", l.event, c.event)
		}
		d, _ := l.d.After(c.err, bellhop.Outcome{}, time.Now())
		s := &settlement{lane: l.lane, entry: l.entry, d: d, state: c.state}
		s.publish()
		if err := s.confirm(); err != nil {
			t.Fatal(err)
		}
	}
	a.nc.Close()
	if got := take(t, b, "p").Delivery().Event; got != waits {
		t.Fatalf("took %s, want %s", got, waits)
	}
	if s, err := b.Stats(t.Context(), "p"); err != nil || s.Depth != 1 || s.Dead != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
}

// TestSweptWhole: nothing of a post is left when it is dropped.
func TestSweptWhole(t *testing.T) {
	t.Parallel()
	q := open(t, natstest.Serve(t).ClientURL(), Options{now: func() time.Time { return time.Now().Add(time.Hour) }, RetentionAge: time.Minute})
	first, second := queuetest.NewEvent(queuetest.Noise(3<<20)), queuetest.NewEvent("b")
	if _, err := q.Put(t.Context(), &bellhop.Post{Items: []bellhop.Item{{Event: first}, {Event: second, To: []bellhop.Target{{Provider: "p"}}}}}); err != nil {
		t.Fatal(err)
	}
	if err := q.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e, err := q.Event(t.Context(), first.ID); err != nil || len(e.Raw) != 3<<20 {
		t.Fatalf("dropped with an event that waits: %v", err)
	}
	if err := take(t, q, "p").Settle(t.Context(), nil, bellhop.Outcome{}); err != nil {
		t.Fatal(err)
	}
	if err := q.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"to", "chunk", "alias"} {
		stream := q.names.events()
		if subject == "alias" {
			stream = q.names.records()
		}
		if n, _, err := q.count(t.Context(), stream, string(q.names)+"."+subject+".>", 0); n != 0 || err != nil {
			t.Errorf("%d messages of %s are left, %v", n, subject, err)
		}
	}
}

func TestPauseHoldsForAll(t *testing.T) {
	t.Parallel()
	url := natstest.Serve(t).ClientURL()
	a, b := open(t, url, Options{}), open(t, url, Options{})
	until := time.Now().Add(time.Hour)
	if err := a.Pause(t.Context(), "p", until); err != nil {
		t.Fatal(err)
	}
	// A shorter one through the other replica, which may not have heard of it yet, changes nothing.
	if err := b.Pause(t.Context(), "p", time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]*Queue{"a": a, "b": b} {
		s, err := q.Stats(t.Context(), "p")
		if err != nil || !s.PausedUntil.Equal(until) {
			t.Errorf("%s: paused until %v, %v, want %v", name, s.PausedUntil, err, until)
		}
	}
	id := put(t, a, "p")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := b.Take(ctx, "p"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("taken during the pause: %v", err)
	}
	if err := a.Pause(t.Context(), "p", time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got := take(t, b, "p").Delivery().Event; got != id {
		t.Fatalf("took %s, want %s", got, id)
	}
}

// TestPauseAfterAnotherLiftedOne pauses through a replica that has not heard yet that a longer pause was lifted.
func TestPauseAfterAnotherLiftedOne(t *testing.T) {
	t.Parallel()
	url := natstest.Serve(t).ClientURL()
	a, b := open(t, url, Options{}), open(t, url, Options{})
	pause := func(q *Queue, until time.Time) {
		t.Helper()
		if err := q.Pause(t.Context(), "p", until); err != nil {
			t.Fatal(err)
		}
	}
	pause(b, time.Now().Add(time.Hour))
	before := b.pauses.get("p")
	pause(a, time.Time{})
	for ctx := within(t); b.pauses.get("p").until != 0; {
		if _, err := b.Stats(ctx, "p"); err != nil {
			t.Fatal(err)
		}
	}
	b.pauses.mu.Lock()
	b.pauses.m["p"] = before
	b.pauses.mu.Unlock()
	until := time.Now().Add(time.Minute)
	pause(b, until)
	if s, err := b.Stats(t.Context(), "p"); err != nil || !s.PausedUntil.Equal(until) {
		t.Errorf("paused until %v, %v, want %v", s.PausedUntil, err, until)
	}
}

// TestDuplicateOfAnother: whichever replica gets the same delivery again, it is recognised.
func TestDuplicateOfAnother(t *testing.T) {
	t.Parallel()
	url := natstest.Serve(t).ClientURL()
	queues := []*Queue{open(t, url, Options{}), open(t, url, Options{})}
	for i := range 20 {
		receipts := make([]bellhop.Receipt, 8)
		var wg sync.WaitGroup
		for j := range receipts {
			wg.Go(func() {
				var err error
				receipts[j], err = queues[j%2].Put(within(t), &bellhop.Post{
					Key: fmt.Sprint("key ", i), Window: time.Hour, Items: []bellhop.Item{{Event: queuetest.NewEvent(""), To: []bellhop.Target{{Provider: "p"}}}},
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		firsts := 0
		for _, r := range receipts {
			if !r.Duplicate {
				firsts++
			}
			if !slices.Equal(r.IDs, receipts[0].IDs) {
				t.Fatalf("ids %v and %v for one key", r.IDs, receipts[0].IDs)
			}
		}
		if firsts != 1 {
			t.Fatalf("%d of 8 were not duplicates", firsts)
		}
	}
	if s, err := queues[1].Stats(t.Context(), "p"); err != nil || s.Depth != 20 {
		t.Fatalf("%+v, %v", s, err)
	}
}

// TestPutIsCompleted: a Put that got no further than its event is completed by the next one with its key.
func TestPutIsCompleted(t *testing.T) {
	t.Parallel()
	q := open(t, natstest.Serve(t).ClientURL(), Options{})
	post := &bellhop.Post{Key: "k", Window: time.Hour, Items: []bellhop.Item{
		{Event: queuetest.NewEvent("a"), To: []bellhop.Target{{Provider: "p"}, {Provider: "q"}}},
		{Event: queuetest.NewEvent("b"), To: []bellhop.Target{{Provider: "p"}}},
	}}
	message, _, err := encodePost(post, time.Now().UnixNano(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	subject := q.names.event(nobody, post.Items[0].Event.ID)
	if _, err := q.publish(t.Context(), &nats.Msg{Subject: subject, Data: message}, messageID(post.Key, 0)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		receipt, err := q.Put(t.Context(), post)
		if err != nil || !receipt.Duplicate {
			t.Fatalf("%+v, %v", receipt, err)
		}
		for provider, depth := range map[string]int64{"p": 2, "q": 1} {
			if s, err := q.Stats(t.Context(), provider); err != nil || s.Depth != depth {
				t.Fatalf("%s: %+v, %v, want depth %d", provider, s, err, depth)
			}
		}
	}
	// What was delivered meanwhile does not wait again.
	l := take(t, q, "q")
	if err := l.Settle(t.Context(), nil, bellhop.Outcome{}); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Put(t.Context(), post); err != nil {
		t.Fatal(err)
	}
	if s, err := q.Stats(t.Context(), "q"); err != nil || s.Depth != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
}

// TestBothComplete: two replicas get the second try of a post that was cut off, at the same time.
func TestBothComplete(t *testing.T) {
	t.Parallel()
	url := natstest.Serve(t).ClientURL()
	a, b := open(t, url, Options{}), open(t, url, Options{})
	for i := range 20 {
		post := &bellhop.Post{Key: fmt.Sprint("key ", i), Window: time.Hour, Items: []bellhop.Item{to("p", "q", "r"), to("p"), to("q", "p")}}
		cutOff(t, a, post)
		var both sync.WaitGroup
		start := make(chan struct{})
		for _, q := range []*Queue{a, b} {
			both.Go(func() {
				<-start
				if r, err := q.Put(within(t), post); err != nil || !r.Duplicate {
					t.Errorf("%+v, %v", r, err)
				}
			})
		}
		close(start)
		both.Wait()
		for provider, items := range map[string][]int{"p": {0, 1, 2}, "q": {0, 2}, "r": {0}} {
			counts(t, b, provider, int64(len(items)), 0)
			var got, want []string
			for _, item := range items {
				l := take(t, a, provider)
				got, want = append(got, l.Delivery().Event), append(want, post.Items[item].Event.ID)
				settle(t, a, l, nil, time.Time{})
			}
			slices.Sort(got)
			if slices.Sort(want); !slices.Equal(got, want) {
				t.Fatalf("%s: took %v, want %v", provider, got, want)
			}
			counts(t, b, provider, 0, 0)
		}
	}
}

func TestReplicas(t *testing.T) {
	t.Parallel()
	url := natstest.Serve(t).ClientURL()
	a, b := open(t, url, Options{}), open(t, url, Options{})
	for name, q := range map[string]*Queue{"one.pod": a, "two": b} {
		if err := q.Announce(t.Context(), bellhop.Replica{Name: name, ConfigHash: "hash of " + name}); err != nil {
			t.Fatal(err)
		}
	}
	rs, err := b.Replicas(t.Context())
	if err != nil || len(rs) != 2 || rs[0].Name != "one.pod" || rs[1].ConfigHash != "hash of two" || time.Since(rs[0].Seen) > patience {
		t.Fatalf("%+v, %v", rs, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if rs, err = b.Replicas(t.Context()); err != nil || len(rs) != 1 || rs[0].Name != "two" {
		t.Fatalf("after one has gone: %+v, %v", rs, err)
	}
}

// TestStaleIsNotTaken: what the server may have given to another by now is not handed out.
func TestStaleIsNotTaken(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for age, want := range map[time.Duration]bool{0: true, brisk.ackWait / 2: true, brisk.ackWait: false, time.Hour: false} {
		l := new(lanes).open(&Queue{o: Options{timing: brisk}}, "p")
		l.checked = true
		l.push(&entry{event: "e", since: now.Add(-age)})
		if e, _ := l.next(now); (e != nil) != want {
			t.Errorf("taken after %v without a sign of life: %t", age, !want)
		}
	}
}

// TestPutIsTriedAgain: a post was stored, and whoever stored it went before the answer. It is no duplicate of itself.
func TestPutIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, key string }{{"with a key", "k"}, {"without", ""}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			hasty := brisk
			hasty.patience, hasty.look = 2*time.Second, time.Hour
			q := open(t, natstest.Serve(t).ClientURL(), Options{timing: hasty})
			put(t, q, "p", "q") // from here on both are known
			s, err := q.js.Stream(t.Context(), q.names.events())
			if err != nil {
				t.Fatal(err)
			}
			if err := q.js.DeleteStream(t.Context(), q.names.events()); err != nil {
				t.Fatal(err)
			}
			silent, err := q.nc.SubscribeSync(q.names.subject("to", anyone, anyone, anyone))
			if err != nil {
				t.Fatal(err)
			}
			tried := make(chan error, 1)
			go func() {
				m, err := silent.NextMsgWithContext(t.Context())
				if err == nil {
					_, err = q.js.CreateStream(t.Context(), s.CachedInfo().Config)
				}
				if err == nil {
					m.Reply = ""
					_, err = q.js.PublishMsg(t.Context(), m)
				}
				tried <- err
			}()
			post := &bellhop.Post{Key: tc.key, Window: time.Hour, Items: []bellhop.Item{to("p", "q")}}
			receipt, err := q.Put(t.Context(), post)
			if err != nil || receipt.Duplicate {
				t.Errorf("%+v, %v", receipt, err)
			}
			if err := <-tried; err != nil {
				t.Fatal(err)
			}
			for _, provider := range []string{"p", "q"} {
				if s, err := q.Stats(t.Context(), provider); err != nil || s.Depth != 1 {
					t.Errorf("%s: %+v, %v, want depth 1", provider, s, err)
				}
			}
		})
	}
}

// TestEventIsWaitedFor: the server that hands a delivery out may be ahead of the one that is asked for the event.
func TestEventIsWaitedFor(t *testing.T) {
	t.Parallel()
	q := open(t, natstest.Serve(t).ClientURL(), Options{})
	post := &bellhop.Post{Items: []bellhop.Item{to("p", "q")}}
	event := post.Items[0].Event.ID
	letter := messageOf(t, q, post)
	w := pointer{home: "p", post: event, delivery: fresh("", time.Now().UnixNano())}
	if _, err := q.publish(t.Context(), w.message(q.names.pointer("q", event), "q", event, nil), ""); err != nil {
		t.Fatal(err)
	}
	asked, err := q.nc.SubscribeSync("$JS.API.STREAM.MSG.GET." + q.names.events())
	if err != nil {
		t.Fatal(err)
	}
	l := take(t, q, "q")
	stored := make(chan error, 1)
	go func() {
		_, err := asked.NextMsgWithContext(t.Context())
		if err == nil {
			_, err = q.publish(t.Context(), letter, "")
		}
		stored <- err
	}()
	if e, err := l.Event(t.Context()); err != nil || e.ID != event {
		t.Errorf("%v, %v", e, err)
	}
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
}

// TestRequestIsRepeated: whoever was asked first went before the answer.
func TestRequestIsRepeated(t *testing.T) {
	t.Parallel()
	hasty := brisk
	hasty.patience = 2 * time.Second
	q := open(t, natstest.Serve(t).ClientURL(), Options{timing: hasty})
	asked, err := q.nc.SubscribeSync("asked")
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := asked.NextMsgWithContext(t.Context())
		if err == nil {
			var m *nats.Msg
			if m, err = asked.NextMsgWithContext(t.Context()); err == nil {
				err = m.Respond([]byte("answer"))
			}
		}
		answered <- err
	}()
	if m, err := q.request(t.Context(), "asked", nil); err != nil || string(m.Data) != "answer" {
		t.Errorf("%v, %v", m, err)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
}

// TestSignsOfLifeGoOn: what is held stays ours while a server leaves a question unanswered.
func TestSignsOfLifeGoOn(t *testing.T) {
	t.Parallel()
	patient := brisk
	patient.patience = 8 * patience // a single try takes as long as the test
	server := natstest.Serve(t)
	q := open(t, server.ClientURL(), Options{timing: patient})
	put(t, q, "p")
	take(t, q, "p")
	unanswered, err := q.nc.SubscribeSync("unanswered")
	if err != nil {
		t.Fatal(err)
	}
	signs, err := q.nc.SubscribeSync("$JS.ACK.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.GlobalAccount().AddMapping("$JS.API.STREAM.MSG.GET."+q.names.records(), "unanswered"); err != nil {
		t.Fatal(err)
	}
	s, err := q.js.Stream(t.Context(), q.names.events())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.UnpinConsumer(t.Context(), consumer("p"), group); err != nil { // the pause is asked for under the next pin
		t.Fatal(err)
	}
	put(t, q, "p")
	if _, err := unanswered.NextMsgWithContext(within(t)); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patient.ackWait); time.Now().Before(end); {
		if _, err := signs.NextMsgWithContext(within(t)); err != nil {
			t.Fatal(err)
		}
	}
}
