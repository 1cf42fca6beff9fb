package notifier

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
	"github.com/bellhop-dev/bellhop/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is the part of a queue that the notifier uses, in memory and in order. The engines' own promises
// are tested in queuetest; here it matters what the notifier tells them.
type scripted struct {
	bellhop.Queue
	mu      sync.Mutex
	waiting map[string][]*bellhop.Delivery
	pauses  map[string]time.Time
	changed chan struct{}
	settled []settled
	events  map[string]*bellhop.Event // those that are more than an id
	memos   map[string]bellhop.Memo   // by provider and key
}

type settled struct {
	id      string
	err     error
	outcome bellhop.Outcome
	at      time.Time
}

func newScripted() *scripted {
	return &scripted{waiting: map[string][]*bellhop.Delivery{}, pauses: map[string]time.Time{}, changed: make(chan struct{}),
		events: map[string]*bellhop.Event{}, memos: map[string]bellhop.Memo{}}
}

func (q *scripted) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

func (q *scripted) add(provider string, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range n {
		event := fmt.Sprintf("%s-%03d", provider, i)
		q.waiting[provider] = append(q.waiting[provider], &bellhop.Delivery{
			ID: bellhop.DeliveryID(event, provider), Event: event, Provider: provider, Accepted: time.Now(), Started: time.Now(), Due: time.Now()})
	}
	q.wake()
}

// addEvent adds a delivery of an event. By hand: somebody asked for it again.
func (q *scripted) addEvent(provider string, e *bellhop.Event, byHand bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := &bellhop.Delivery{
		ID: bellhop.DeliveryID(e.ID, provider), Event: e.ID, Provider: provider, Accepted: time.Now(), Started: time.Now(), Due: time.Now()}
	if byHand {
		d.Accepted = d.Accepted.Add(-time.Second)
	}
	q.events[e.ID] = e
	q.waiting[provider] = append(q.waiting[provider], d)
	q.wake()
}

func (q *scripted) Recall(_ context.Context, provider, key string) (bellhop.Memo, bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	m, ok := q.memos[provider+" "+key]
	return m, ok && m.Expires.After(time.Now()), nil
}

func (q *scripted) Pause(_ context.Context, provider string, until time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pauses[provider] = until
	q.wake()
	return nil
}

func (q *scripted) Take(ctx context.Context, provider string) (bellhop.Lease, error) {
	for {
		q.mu.Lock()
		now, next := time.Now(), time.Hour
		if until := q.pauses[provider]; until.After(now) {
			next = until.Sub(now)
		} else {
			for i, d := range q.waiting[provider] {
				if wait := d.Due.Sub(now); wait > 0 {
					next = min(next, wait)
					continue
				}
				q.waiting[provider] = append(q.waiting[provider][:i:i], q.waiting[provider][i+1:]...)
				q.mu.Unlock()
				return &lease{q, d}, nil
			}
		}
		changed := q.changed
		q.mu.Unlock()
		timer := time.NewTimer(next)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
		timer.Stop()
	}
}

type lease struct {
	q *scripted
	d *bellhop.Delivery
}

func (l *lease) Delivery() *bellhop.Delivery { return l.d }

func (l *lease) Event(context.Context) (*bellhop.Event, error) {
	l.q.mu.Lock()
	defer l.q.mu.Unlock()
	if e := l.q.events[l.d.Event]; e != nil {
		return e, nil
	}
	return &bellhop.Event{ID: l.d.Event, Title: "t"}, nil
}

func (l *lease) Settle(_ context.Context, err error, o bellhop.Outcome) error {
	l.q.mu.Lock()
	defer l.q.mu.Unlock()
	l.q.settled = append(l.q.settled, settled{l.d.ID, err, o, time.Now()})
	if err == nil && o.Memo != nil {
		l.q.memos[l.d.Provider+" "+o.Memo.Key] = *o.Memo
	}
	delay, paused := bellhop.RetryDelay(err)
	switch {
	case err == nil, bellhop.IsPermanent(err), o.Dead, bellhop.IsStopping(err):
		return nil
	case paused:
		l.d.Due = time.Now().Add(delay)
	default:
		l.d.Attempts++
		l.d.Due = o.Due
	}
	l.q.waiting[l.d.Provider] = append(l.q.waiting[l.d.Provider], l.d)
	l.q.wake()
	return nil
}

func (q *scripted) history() []settled {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]settled(nil), q.settled...)
}

type sender func(ctx context.Context, e *bellhop.Event) error

func (f sender) Send(ctx context.Context, e *bellhop.Event) error { return f(ctx, e) }

func provider(name string, f sender) *config.Provider {
	return &config.Provider{
		Name: name, Kind: bellhop.Kind[bellhop.Provider]{Name: "fake"}, Provider: f, Digest: name,
		Timeout: 10 * time.Second, Concurrency: 4, Retry: config.DefaultRetry, Close: func() {},
	}
}

func snapshot(ps ...*config.Provider) *config.Snapshot { return config.NewSnapshot("h", nil, ps, nil) }

func start(q bellhop.Queue, o Options, ps ...*config.Provider) *Notifier {
	o.Queue, o.Metrics = q, telemetry.NewMetrics(prometheus.NewRegistry())
	n := New(o)
	n.Apply(snapshot(ps...))
	return n
}

var errDown = errors.New("down")

func TestBackoffGrowsToItsBoundAndLeavesHalfToChance(t *testing.T) {
	t.Parallel()
	for attempts := range 100 {
		want := min(time.Second<<min(attempts, 20), 5*time.Minute)
		for range 50 {
			if got := backoff(time.Second, 5*time.Minute, attempts); got < want/2 || got > want {
				t.Fatalf("after %d attempts: %v, want %v to %v", attempts, got, want/2, want)
			}
		}
	}
	if got := backoff(0, 0, 3); got <= 0 {
		t.Errorf("without bounds: %v", got)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	retry := config.Retry{MaxAge: time.Hour, MinBackoff: time.Second, MaxBackoff: time.Minute}
	for _, tc := range []struct {
		name   string
		err    error
		age    time.Duration
		result string
		dead   bool
		pause  time.Duration
	}{
		{"accepted", nil, 2 * time.Hour, resultDelivered, false, 0},
		{"refused for good", bellhop.Permanent(errDown), 0, resultDead, false, 0},
		{"failed", errDown, 0, resultRetried, false, 0},
		{"timed out", context.DeadlineExceeded, 0, resultRetried, false, 0},
		{"failed, too old", errDown, time.Hour, resultDead, true, 0},
		{"asked for a pause", bellhop.RetryAfter(30*time.Second, errDown), 0, resultPaused, false, 30 * time.Second},
		{"asked for no pause", bellhop.RetryAfter(0, errDown), 0, resultPaused, false, time.Second},
		{"asked for a year", bellhop.RetryAfter(9000*time.Hour, errDown), 0, resultPaused, false, maxPause},
		{"asked for a pause, too old", bellhop.RetryAfter(time.Second, errDown), 2 * time.Hour, resultDead, true, 0},
		{"stopping", bellhop.ErrStopping, 2 * time.Hour, resultReturned, false, 0},
	} {
		d := &bellhop.Delivery{Started: now.Add(-tc.age)}
		v := judge(tc.err, d, retry, now)
		if v.result != tc.result || v.outcome.Dead != tc.dead || v.pause != tc.pause {
			t.Errorf("%s: %+v", tc.name, v)
		}
		if _, paused := bellhop.RetryDelay(v.err); v.outcome.Dead && paused {
			t.Errorf("%s: the queue is told of a pause although the delivery is dead", tc.name)
		}
	}
	last := judge(errDown, &bellhop.Delivery{Started: now.Add(-time.Hour + time.Millisecond), Attempts: 30}, retry, now)
	if want := now.Add(time.Millisecond); !last.outcome.Due.Equal(want) {
		t.Errorf("the last try is at %v, not at the horizon %v", last.outcome.Due, want)
	}
}

func TestRetriesUntilItSucceeds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newScripted()
		q.add("p", 1)
		var tries atomic.Int32
		n := start(q, Options{}, provider("p", func(context.Context, *bellhop.Event) error {
			if tries.Add(1) < 4 {
				return errDown
			}
			return nil
		}))
		defer n.Stop(t.Context())
		time.Sleep(time.Minute)
		h := q.history()
		if len(h) != 4 || h[3].err != nil {
			t.Fatalf("settled %v", h)
		}
		if c, _ := n.Condition("p"); c.Status != "True" {
			t.Errorf("condition %+v", c)
		}
	})
}

func TestGivesUpAtMaxAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newScripted()
		q.add("p", 1)
		p := provider("p", func(context.Context, *bellhop.Event) error { return errDown })
		p.Retry.MaxAge = time.Hour
		n := start(q, Options{}, p)
		defer n.Stop(t.Context())
		began := time.Now()
		time.Sleep(3 * time.Hour)
		h := q.history()
		last := h[len(h)-1]
		if !last.outcome.Dead || bellhop.IsPermanent(last.err) {
			t.Fatalf("ended with %+v", last)
		}
		if took := last.at.Sub(began); took < time.Hour || took > time.Hour+time.Minute {
			t.Errorf("gave up after %v", took)
		}
		if c, _ := n.Condition("p"); c.Status != "False" || c.Reason != "DeliveryFailed" {
			t.Errorf("condition %+v", c)
		}
	})
}

func TestRetryAfterPausesTheProvider(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newScripted()
		q.add("p", 200)
		var mu sync.Mutex
		var sent []time.Time
		asked := false
		p := provider("p", func(context.Context, *bellhop.Event) error {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, time.Now())
			if !asked {
				asked = true
				return bellhop.RetryAfter(30*time.Second, errors.New("429"))
			}
			return nil
		})
		p.Concurrency = 1
		n := start(q, Options{}, p)
		defer n.Stop(t.Context())
		began := time.Now()
		time.Sleep(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if len(sent) != 201 {
			t.Fatalf("%d sends %v", len(sent), sent)
		}
		for _, at := range sent[1:] {
			if at.Sub(began) < 30*time.Second {
				t.Fatalf("sent %v into the pause", at.Sub(began))
			}
		}
		for _, s := range q.history() {
			if _, paused := bellhop.RetryDelay(s.err); s.err != nil && !paused {
				t.Errorf("an attempt was counted: %v", s.err)
			}
		}
	})
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newScripted()
		q.add("p", 10)
		var mu sync.Mutex
		var sent []time.Time
		p := provider("p", func(context.Context, *bellhop.Event) error {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, time.Now())
			return nil
		})
		p.Rate = bellhop.Rate{Events: 1, Per: time.Second}
		n := start(q, Options{}, p)
		defer n.Stop(t.Context())
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if len(sent) != 10 {
			t.Fatalf("%d sends %v", len(sent), sent)
		}
		for i := 1; i < len(sent); i++ {
			if d := sent[i].Sub(sent[i-1]); d < time.Second {
				t.Errorf("%v between two", d)
			}
		}
	})
}

// Whoever goes on with a provider keeps to its rate from the first.
func TestRateLimitIsHandedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newScripted()
		var sent []time.Time
		send := func(context.Context, *bellhop.Event) error {
			sent = append(sent, time.Now())
			return nil
		}
		for range 3 {
			q.add("p", 10)
			p := provider("p", send)
			p.Rate = bellhop.Rate{Events: 1, Per: 10 * time.Second}
			n := start(q, Options{}, p)
			time.Sleep(24 * time.Second)
			n.Stop(t.Context())
		}
		if len(sent) != 8 {
			t.Fatalf("%d sends in 72s: %v", len(sent), sent)
		}
		for i := 1; i < len(sent); i++ {
			if d := sent[i].Sub(sent[i-1]); d < 10*time.Second-time.Millisecond { // the limiter counts in fractions
				t.Errorf("%v between two", d)
			}
		}
	})
}

// A hundred providers that hang fill the pool; the one that does not is as quick as ever.
func TestSlowProvidersDelayNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newScripted()
		var ps []*config.Provider
		for i := range 100 {
			name := fmt.Sprintf("slow-%d", i)
			q.add(name, 20)
			p := provider(name, func(ctx context.Context, _ *bellhop.Event) error {
				<-ctx.Done()
				return ctx.Err()
			})
			p.Timeout = time.Hour
			ps = append(ps, p)
		}
		var sent atomic.Int32
		quick := provider("quick", func(context.Context, *bellhop.Event) error {
			sent.Add(1)
			return nil
		})
		n := start(q, Options{Pool: 8}, append(ps, quick)...)
		defer n.Stop(t.Context())
		time.Sleep(time.Second) // the pool is full now
		q.add("quick", 50)
		synctest.Wait()
		if got := sent.Load(); got != 50 {
			t.Errorf("%d of 50 were sent beside the slow ones", got)
		}
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newScripted()
		q.add("p", 50)
		var now, most atomic.Int32
		n := start(q, Options{}, provider("p", func(context.Context, *bellhop.Event) error {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Second)
			now.Add(-1)
			return nil
		}))
		defer n.Stop(t.Context())
		time.Sleep(time.Hour)
		if got := most.Load(); got != 4 {
			t.Errorf("%d at a time, want 4", got)
		}
		if got := len(q.history()); got != 50 {
			t.Errorf("%d settled", got)
		}
	})
}

// An outage with a long backlog: attempts must not come as fast as they are refused.
func TestAnOutageIsNotHammered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newScripted()
		q.add("p", 10_000)
		var tries atomic.Int32
		n := start(q, Options{}, provider("p", func(context.Context, *bellhop.Event) error {
			tries.Add(1)
			return errDown
		}))
		defer n.Stop(t.Context())
		time.Sleep(time.Minute)
		if got := tries.Load(); got > 40 {
			t.Errorf("%d attempts in the first minute of an outage", got)
		}
	})
}

func TestSuspended(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int32
		q := newScripted()
		q.add("p", 3)
		send := func(context.Context, *bellhop.Event) error {
			sent.Add(1)
			return nil
		}
		p := provider("p", send)
		p.Suspend, p.Concurrency = true, 1
		n := start(q, Options{}, p)
		defer n.Stop(t.Context())
		time.Sleep(time.Hour)
		if c, _ := n.Condition("p"); sent.Load() != 0 || c.Status != "False" || c.Reason != "Suspended" {
			t.Errorf("suspended: %d sent, %+v", sent.Load(), c)
		}
		gauge := func() float64 { return testutil.ToFloat64(n.metrics.ProviderSuspended.WithLabelValues("p")) }
		if gauge() != 1 {
			t.Error("suspended: the metric says it is not")
		}
		p = provider("p", send)
		p.Concurrency = 1
		n.Apply(snapshot(p))
		time.Sleep(time.Minute)
		if c, _ := n.Condition("p"); sent.Load() != 3 || c.Status != "True" {
			t.Errorf("resumed: %d sent, %+v", sent.Load(), c)
		}
		if gauge() != 0 {
			t.Error("resumed: the metric says it is suspended")
		}
		n.Apply(snapshot())
		if left := testutil.CollectAndCount(n.metrics.ProviderSuspended); left != 0 {
			t.Errorf("%d series of a provider that is gone", left)
		}
	})
}

// Who is told of trouble is told when it begins, once, and not of what the configuration asks for.
func TestUnready(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int32
		told := make(chan string, 100)
		q := newScripted()
		q.add("p", 1)
		p := provider("p", func(context.Context, *bellhop.Event) error {
			switch tries.Add(1) {
			case 1, 2, 3, 5:
				return errDown
			}
			return nil
		})
		n := start(q, Options{Unready: func(provider string, c Condition) { told <- provider + " " + c.Reason + " " + c.Message }}, p)
		defer n.Stop(t.Context())
		time.Sleep(time.Hour)
		if want := "p DeliveryFailed " + errDown.Error(); len(told) != 1 || <-told != want {
			t.Errorf("told %d times more, want once %q", len(told), want)
		}
		q.add("p", 1)
		time.Sleep(time.Hour)
		if len(told) != 1 {
			t.Errorf("told %d times after it was ready again, want once", len(told))
		}
		suspended := *p
		suspended.Suspend = true
		n.Apply(snapshot(&suspended))
		time.Sleep(time.Hour)
		if len(told) != 1 {
			t.Error("told of being suspended")
		}
	})
}

func TestStoppingLetsFinishThenHandsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newScripted()
		q.add("brief", 1)
		q.add("endless", 1)
		n := start(q, Options{Grace: 5 * time.Second},
			provider("brief", func(context.Context, *bellhop.Event) error {
				time.Sleep(3 * time.Second)
				return nil
			}),
			provider("endless", func(ctx context.Context, _ *bellhop.Event) error {
				<-ctx.Done()
				return fmt.Errorf("sending: %w", ctx.Err())
			}))
		synctest.Wait()
		q.add("brief", 5) // not to be begun any more
		began := time.Now()
		n.Stop(t.Context())
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("stopping took %v", took)
		}
		got := map[string]error{}
		for _, s := range q.history() {
			got[s.id] = s.err
		}
		if err, ok := got["brief-000.brief"]; !ok || err != nil {
			t.Errorf("the brief one ended with %v, %v", err, ok)
		}
		if err := got["endless-000.endless"]; !errors.Is(err, bellhop.ErrStopping) {
			t.Errorf("the endless one ended with %v", err)
		}
		n.Apply(snapshot(provider("late", nil)))
		if len(n.Running()) != 2 {
			t.Error("a stopped notifier starts providers")
		}
	})
}

func TestReloadKeepsUnchangedProvidersAndReplacesOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newScripted()
		var by sync.Map
		provide := func(name, digest string) (*config.Provider, *atomic.Bool) {
			closed := &atomic.Bool{}
			p := provider(name, func(_ context.Context, e *bellhop.Event) error {
				by.Store(e.ID, digest)
				return nil
			})
			p.Digest = digest
			p.Close = func() { closed.Store(true) }
			return p, closed
		}
		keep1, keep1Closed := provide("keep", "k")
		change1, change1Closed := provide("change", "c1")
		gone, goneClosed := provide("gone", "g")
		n := start(q, Options{}, keep1, change1, gone)
		defer n.Stop(t.Context())
		keep2, keep2Closed := provide("keep", "k")
		keep2.Timeout = time.Hour
		change2, change2Closed := provide("change", "c2")
		n.Apply(snapshot(keep2, change2))
		synctest.Wait()
		q.add("keep", 1)
		q.add("change", 1)
		q.add("gone", 1)
		synctest.Wait()
		for name, c := range map[string]struct {
			closed *atomic.Bool
			want   bool
		}{
			"keep before": {keep1Closed, false}, "keep after": {keep2Closed, true},
			"change before": {change1Closed, true}, "change after": {change2Closed, false},
			"gone": {goneClosed, true},
		} {
			if c.closed.Load() != c.want {
				t.Errorf("%s: closed %v", name, c.closed.Load())
			}
		}
		if v, _ := by.Load("change-000"); v != "c2" {
			t.Errorf("the changed provider sent as %v", v)
		}
		if v, _ := by.Load("keep-000"); v != "k" {
			t.Errorf("the kept provider sent as %v", v)
		}
		if _, sent := by.Load("gone-000"); sent {
			t.Error("a provider that is gone sent")
		}
		if got := n.runners["keep"].provider.Load().Timeout; got != time.Hour {
			t.Errorf("the kept provider's new timeout is not taken: %v", got)
		}
	})
}

func TestAPanicIsAFailedAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newScripted()
		q.add("p", 1)
		var tries atomic.Int32
		n := start(q, Options{}, provider("p", func(context.Context, *bellhop.Event) error {
			if tries.Add(1) == 1 {
				panic("boom")
			}
			return context.Canceled // nobody stopped: a failure too
		}))
		defer n.Stop(t.Context())
		time.Sleep(4 * time.Second)
		h := q.history()
		if len(h) < 2 || h[0].err == nil || bellhop.IsStopping(h[1].err) || h[1].err == nil {
			t.Errorf("settled %v", h)
		}
	})
}
