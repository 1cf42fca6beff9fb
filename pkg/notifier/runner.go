package notifier

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
)

// runner drives one provider.
type runner struct {
	n        *Notifier
	name     string
	provider atomic.Pointer[config.Provider] // words and retry may change while it runs; what same compares may not
	applied  *config.Provider                // what update was last called with; the notifier's mu guards it
	limiter  *rate.Limiter                   // nil without a rate
	hands    chan struct{}                   // concurrency
	own      chan struct{}                   // the one sender that nobody else can have

	taking   context.Context // ends when nothing more is to be taken
	sending  context.Context // ends when what is in hand is to be handed back
	stop     context.CancelFunc
	abort    context.CancelFunc
	inFlight sync.WaitGroup

	troubles  atomic.Int32 // attempts that failed since the last that did not
	condition atomic.Pointer[Condition]

	results  map[string]prometheus.Counter
	duration prometheus.Observer
	lag      prometheus.Observer
}

// suspended is the reason of a condition that the configuration asks for.
const suspended = "Suspended"

func newRunner(n *Notifier, p *config.Provider, before *Condition) *runner {
	r := &runner{
		n: n, name: p.Name, applied: p,
		hands: make(chan struct{}, max(p.Concurrency, 1)), own: make(chan struct{}, 1),
		results:  map[string]prometheus.Counter{},
		duration: n.metrics.DeliveryDuration.WithLabelValues(p.Name, p.Kind.Name),
		lag:      n.metrics.DeliveryLag.WithLabelValues(p.Name, p.Kind.Name),
	}
	for _, result := range []string{resultDelivered, resultRetried, resultPaused, resultDead, resultReturned, resultSuppressed} {
		r.results[result] = n.metrics.Deliveries.WithLabelValues(p.Name, p.Kind.Name, result)
	}
	r.provider.Store(p)
	if p.Rate.Limited() {
		// A burst of one: vendors count in windows of their own.
		r.limiter = rate.NewLimiter(rate.Limit(p.Rate.PerSecond()), 1)
	}
	r.taking, r.stop = context.WithCancel(context.Background())
	r.sending, r.abort = context.WithCancel(context.Background())
	r.condition.Store(&Condition{Type: "Ready", Status: "True", Reason: "Configured",
		Message: "nothing sent yet", LastTransitionTime: time.Now()})
	switch {
	case p.Suspend:
		r.report("False", suspended, "the configuration says suspend: what was queued before waits")
	case before != nil && before.Status == "True":
		r.condition.Store(before)
	}
	return r
}

// same reports whether the runner can go on with the settings of next.
func (r *runner) same(next *config.Provider) bool {
	p := r.provider.Load()
	return p.Digest == next.Digest && p.Concurrency == next.Concurrency && p.Rate == next.Rate && p.Suspend == next.Suspend
}

// update takes next's words, timeout and retry, and keeps the running provider with its connections.
func (r *runner) update(next *config.Provider) {
	if next == r.applied {
		return
	}
	r.applied = next
	now, kept := r.provider.Load(), *next
	kept.Provider, kept.Close = now.Provider, now.Close
	r.provider.Store(&kept)
	next.Close()
}

// run takes deliveries until it is stopped, then waits for those in hand.
func (r *runner) run() {
	defer func() {
		r.drain()
		r.handOver()
		r.provider.Load().Close()
	}()
	if r.provider.Load().Suspend {
		<-r.taking.Done()
		return
	}
	for {
		select {
		case r.hands <- struct{}{}:
		case <-r.taking.Done():
			return
		}
		if !r.breathe() {
			return
		}
		lease, err := r.n.queue.Take(r.taking, r.name)
		if err != nil {
			if r.taking.Err() != nil {
				return
			}
			r.n.logger.Error("taking a delivery", "provider", r.name, "error", err)
			<-r.hands
			if !sleep(r.taking, time.Second) {
				return
			}
			continue
		}
		release, ok := r.sender()
		if !ok {
			release()
			r.settle(lease, bellhop.ErrStopping, bellhop.Outcome{})
			return
		}
		begun := make(chan struct{})
		r.inFlight.Go(func() {
			defer func() { <-r.hands }()
			defer release()
			r.deliver(lease, sync.OnceFunc(func() { close(begun) }))
		})
		if r.limiter != nil {
			<-begun // one waits for its turn, the next is not even taken
		}
	}
}

// sender claims the runner's own sender, or one of the pool's, whichever is free first.
func (r *runner) sender() (release func(), ok bool) {
	select {
	case r.own <- struct{}{}:
		return func() { <-r.own }, true
	default:
	}
	select {
	case r.own <- struct{}{}:
		return func() { <-r.own }, true
	case r.n.pool <- struct{}{}:
		return func() { <-r.n.pool }, true
	case <-r.taking.Done():
		return func() {}, false
	}
}

// breathe slows a provider down whose attempts all fail, so that an outage does not run its whole backlog
// into the wall as fast as it can be refused. It reports false when stopped.
func (r *runner) breathe() bool {
	n := r.troubles.Load()
	if int(n) < cap(r.hands) {
		return true
	}
	retry := r.provider.Load().Retry
	return sleep(r.taking, backoff(min(retry.MinBackoff, time.Second), min(retry.MaxBackoff, 30*time.Second), int(n)-cap(r.hands)))
}

// drain waits for what is in hand: for the grace time by itself, then told to stop.
func (r *runner) drain() {
	ended := make(chan struct{})
	go func() {
		r.inFlight.Wait()
		close(ended)
	}()
	grace := time.NewTimer(r.n.grace)
	defer grace.Stop()
	select {
	case <-ended:
	case <-r.sending.Done():
	case <-grace.C:
	}
	r.abort()
	<-ended
}

// longestHandOver bounds how long a rate holds beyond the process: the next may be told of another one.
const longestHandOver = time.Minute

// handOver makes whoever has the provider after this process wait for its turn.
func (r *runner) handOver() {
	if r.limiter == nil || r.n.running.Err() == nil {
		return
	}
	now := time.Now()
	left := min(r.limiter.ReserveN(now, 1).DelayFrom(now), longestHandOver)
	if left <= 0 {
		return
	}
	if err := r.n.queue.Pause(context.Background(), r.name, now.Add(left)); err != nil {
		r.n.logger.Warn("handing a provider's rate over", "provider", r.name, "error", err)
	}
}

// deliver makes one attempt and settles the lease by it. It calls begun once the message is being sent, or is not
// going to be.
func (r *runner) deliver(lease bellhop.Lease, begun func()) {
	p := r.provider.Load()
	d := lease.Delivery()
	a := r.attempt(p, lease, d, begun)
	begun()
	defer a.release()
	err := a.err
	switch {
	case err == nil:
	case r.sending.Err() != nil, a.stopped:
		err = bellhop.ErrStopping
	case bellhop.IsStopping(err):
		err = plain{err} // nobody stops: a provider's own cancellation is a failure like any other
	}
	v := judge(err, d, p.Retry, time.Now())
	if err == nil && a.note != "" {
		v.result = resultSuppressed
	}
	v.outcome.Started, v.outcome.Took, v.outcome.Note, v.outcome.Memo = a.started, a.took, a.note, a.memo
	if v.pause > 0 {
		if perr := r.n.queue.Pause(context.WithoutCancel(r.sending), r.name, time.Now().Add(v.pause)); perr != nil {
			r.n.logger.Error("pausing a provider", "provider", r.name, "error", perr)
		}
	}
	r.settle(lease, v.err, v.outcome)

	r.results[v.result].Inc()
	switch v.result {
	case resultReturned:
		return
	case resultSuppressed:
		r.n.logger.Debug("suppressed", "provider", r.name, "event", d.Event, "note", a.note)
		return
	}
	r.duration.Observe(a.took.Seconds())
	switch v.result {
	case resultDelivered:
		r.lag.Observe(max(time.Since(d.Accepted), 0).Seconds())
		r.troubles.Store(0)
		r.report("True", "Delivering", "the last delivery was accepted")
		r.n.logger.Debug("delivered", "provider", r.name, "event", d.Event, "attempts", d.Attempts+1)
	case resultPaused:
		r.report("False", "Paused", fmt.Sprintf("the provider asked for a pause of %s: %v", v.pause.Round(time.Second), err))
		r.n.logger.Warn("provider paused", "provider", r.name, "event", d.Event, "pause", v.pause, "error", err)
	case resultRetried:
		r.troubles.Add(1)
		r.report("False", "DeliveryFailed", err.Error())
		r.n.logger.Warn("delivery failed, to be retried", "provider", r.name, "event", d.Event,
			"attempts", d.Attempts+1, "due", v.outcome.Due, "error", err)
	case resultDead:
		if !bellhop.IsPermanent(v.err) {
			r.troubles.Add(1)
		}
		r.report("False", "DeliveryFailed", err.Error())
		r.n.logger.Error("delivery dead", "provider", r.name, "event", d.Event, "delivery", d.ID,
			"attempts", d.Attempts+1, "error", err)
	}
}

// attempt is what came of one.
type attempt struct {
	started time.Time
	took    time.Duration // of sending
	err     error
	stopped bool   // before anything was sent
	note    string // why nothing was sent
	memo    *bellhop.Memo
	// release lets the next message on the same subject go; it must wait until this one is settled.
	release func()
}

// attempt puts the event into the words of its route and provider and sends it, unless what was sent before
// makes that needless.
func (r *runner) attempt(p *config.Provider, lease bellhop.Lease, d *bellhop.Delivery, begun func()) (a attempt) {
	a = attempt{started: time.Now(), release: func() {}}
	defer func() {
		if v := recover(); v != nil {
			r.n.logger.Error("provider panicked", "provider", r.name, "event", d.Event, "stack", string(debug.Stack()))
			a.err = errors.New("the provider's code panicked; the log has the stack")
		}
	}()
	e, err := lease.Event(r.sending)
	if err != nil {
		a.err = fmt.Errorf("reading the event: %w", err)
		return a
	}
	e = p.Message.Apply(e)
	if words := r.n.words.Load(); words != nil {
		e = (*words)[d.Route].Apply(e)
	}
	if m := memoryOf(p.Provider, e); m.subject != "" {
		if a.err = r.remember(&a, m, d); a.err != nil || a.note != "" {
			return a
		}
	}
	// What is not sent costs nothing of the rate.
	if r.limiter != nil {
		if a.err = r.limiter.Wait(r.taking); a.err != nil {
			a.stopped = true
			return a
		}
	}
	begun()
	a.started = time.Now()
	ctx, cancel := context.WithTimeout(r.sending, p.Timeout)
	defer cancel()
	a.err = p.Provider.Send(ctx, e)
	a.took = time.Since(a.started)
	return a
}

// remember holds the message's subject and compares the message with what was sent on it before.
func (r *runner) remember(a *attempt, m memory, d *bellhop.Delivery) error {
	release, err := r.n.subjects.hold(r.sending, r.name+"\x00"+m.subject)
	if err != nil {
		return err
	}
	a.release = release
	last, known, err := r.n.queue.Recall(r.sending, r.name, m.subject)
	if err != nil {
		return fmt.Errorf("looking up what was sent before: %w", err)
	}
	f := m.judge(last, known)
	if byHand := d.Started.After(d.Accepted); f.final || !byHand { // who retries or replays wants it once more
		a.note = f.note
	}
	if f.memo.Event != "" {
		f.memo.Key = m.subject
		a.memo = &f.memo
	}
	return nil
}

func (r *runner) settle(lease bellhop.Lease, err error, o bellhop.Outcome) {
	if serr := lease.Settle(context.WithoutCancel(r.sending), err, o); serr != nil {
		r.n.logger.Error("settling a delivery; it will be sent again", "provider", r.name, "delivery", lease.Delivery().ID, "error", serr)
	}
}

func (r *runner) report(status, reason, message string) {
	old := r.condition.Load()
	next := &Condition{Type: "Ready", Status: status, Reason: reason, Message: message, LastTransitionTime: old.LastTransitionTime}
	if old.Status != status {
		next.LastTransitionTime = time.Now()
	} else if old.Reason == reason && old.Message == message {
		return
	}
	r.condition.Store(next)
	if old.Status == "True" && status == "False" && reason != suspended {
		r.n.unready(r.name, *next)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
