// Package notifier is HTTP out, and whatever else providers speak: for each provider it takes deliveries from
// the queue, sends them in the provider's words and at its pace, and settles each by what came of it. How
// long and how often something is tried is decided here (judge.go) and nowhere else, and so is what need not be
// sent because of what was sent before (once.go): states that did not change or are older than the vendor's, and
// what Flux says again and again.
//
// No provider waits for another. Each has a sender of its own; further ones, up to its concurrency, are
// borrowed from a pool that all share, so that a slow provider may fill the pool and still delays nobody.
package notifier

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
	"github.com/bellhop-dev/bellhop/pkg/route"
	"github.com/bellhop-dev/bellhop/pkg/telemetry"
)

// Options are what a Notifier needs. Queue and Metrics are required.
type Options struct {
	Queue   bellhop.Queue
	Metrics *telemetry.Metrics
	Logger  *slog.Logger
	// Pool is how many deliveries may be under way beyond the one that every provider always may have; 64 if zero.
	Pool int
	// Grace is how long deliveries in hand may finish once stopping began; 5 s if zero.
	Grace time.Duration
	// OrphanGrace is how long deliveries wait for a provider that is in no snapshot any more, before they are dead;
	// for good if zero.
	OrphanGrace time.Duration
	// Unready is told when a provider that was ready is no more, with its condition; not when the configuration
	// suspends it. It must not wait for anything. nil: nobody is told.
	Unready func(provider string, c Condition)
}

// Notifier runs the providers of a snapshot.
type Notifier struct {
	queue   bellhop.Queue
	metrics *telemetry.Metrics
	logger  *slog.Logger
	pool    chan struct{}
	grace   time.Duration
	unready func(provider string, c Condition)

	orphanGrace time.Duration
	running     context.Context // until Stop
	cancel      context.CancelFunc

	subjects subjects // of all runners: one that was replaced may still be sending

	words atomic.Pointer[map[string]*route.Message] // by route

	mu      sync.Mutex // guards what follows; taken by Apply, Stop and Conditions, never while sending
	runners map[string]*runner
	applied *applied             // nil before the first Apply
	missing map[string]time.Time // providers that something waits for and that are not applied, since when
	stopped bool
	ended   sync.WaitGroup // all runners, replaced ones included
}

// New makes a Notifier that runs nothing until the first Apply.
func New(o Options) *Notifier {
	if o.Pool <= 0 {
		o.Pool = 64
	}
	if o.Grace == 0 {
		o.Grace = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Unready == nil {
		o.Unready = func(string, Condition) {}
	}
	n := &Notifier{
		queue: o.Queue, metrics: o.Metrics, logger: o.Logger, pool: make(chan struct{}, o.Pool), grace: o.Grace,
		runners: map[string]*runner{}, unready: o.Unready, orphanGrace: o.OrphanGrace,
	}
	n.running, n.cancel = context.WithCancel(context.Background())
	return n
}

// Apply makes a snapshot's providers the ones that run. A provider whose settings did not change goes on with
// its connections; one that is gone finishes what it has in hand, and its backlog stays on the queue for the grace
// time (orphans.go).
func (n *Notifier) Apply(s *config.Snapshot) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return
	}
	if n.applied != nil {
		n.applied.end() // before a provider that is back is started
	} else if n.orphanGrace > 0 {
		n.ended.Go(n.buryOrphans)
	}
	n.applied = &applied{Snapshot: s}
	n.applied.ctx, n.applied.end = context.WithCancel(n.running)
	for _, p := range s.Providers {
		delete(n.missing, p.Name)
	}

	words := make(map[string]*route.Message, len(s.Routes))
	for _, r := range s.Routes {
		words[r.Name] = r.Message
	}
	n.words.Store(&words)
	for name, r := range n.runners {
		next := s.Provider(name)
		if next != nil && r.same(next) {
			r.update(next)
			continue
		}
		r.stop()
		delete(n.runners, name)
		if next == nil {
			continue
		}
		n.start(next, r.condition.Load())
	}
	n.metrics.ProviderSuspended.Reset()
	for _, p := range s.Providers {
		if n.runners[p.Name] == nil {
			n.start(p, nil)
		}
		value := 0.0
		if p.Suspend {
			value = 1
		}
		n.metrics.ProviderSuspended.WithLabelValues(p.Name).Set(value)
	}
}

func (n *Notifier) start(p *config.Provider, before *Condition) {
	r := newRunner(n, p, before)
	n.runners[p.Name] = r
	n.ended.Go(r.run)
}

// Stop takes nothing more, lets what is in hand finish for the grace time or until ctx ends, and hands the
// rest back uncounted. It returns when nothing runs any more.
func (n *Notifier) Stop(ctx context.Context) {
	n.cancel()
	n.mu.Lock()
	n.stopped = true
	runners := make([]*runner, 0, len(n.runners))
	for _, r := range n.runners {
		runners = append(runners, r)
	}
	n.mu.Unlock()
	for _, r := range runners {
		r.stop()
	}
	ended := make(chan struct{})
	go func() {
		n.ended.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		for _, r := range runners {
			r.abort()
		}
		<-ended
	}
}

// Condition is how a provider fares, in the form of Kubernetes conditions.
type Condition struct {
	Type               string    `json:"type"`   // Ready
	Status             string    `json:"status"` // True, False, Unknown
	Reason             string    `json:"reason"`
	Message            string    `json:"message"`
	LastTransitionTime time.Time `json:"lastTransitionTime"`
}

// Condition is a running provider's, false if there is no such provider.
func (n *Notifier) Condition(provider string) (Condition, bool) {
	n.mu.Lock()
	r := n.runners[provider]
	n.mu.Unlock()
	if r == nil {
		return Condition{}, false
	}
	return *r.condition.Load(), true
}

// Running are the names of the running providers, sorted.
func (n *Notifier) Running() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	names := make([]string, 0, len(n.runners))
	for name := range n.runners {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
