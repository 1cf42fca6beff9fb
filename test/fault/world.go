package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/bellhop-dev/bellhop/test/natsrig"
	"github.com/bellhop-dev/bellhop/test/rig"
)

// options of one scenario.
type options struct {
	// Program and Server are the binaries of Bellhop and of NATS.
	Program, Server string
	Dir             string
	Embedded        bool
	// For is the time of the load, Rate its events a second.
	For  time.Duration
	Rate float64
	// Drain is the longest time without a delivery before the rest counts as lost, Settle how long late
	// duplicates are waited for.
	Drain, Settle time.Duration
	Log           io.Writer
}

// The streams that the default prefix names.
const (
	eventsStream  = "BELLHOP_EVENTS"
	recordsStream = "BELLHOP_RECORDS"
)

// diskSize is a multiple of what the load writes.
const diskSize = 512 << 20

// The destinations, each a provider's.
const (
	plain   = iota
	limited // by rateLimit
	held    // answers 429, or is sluggish, in the scenarios about that
	providers
)

// world is what one scenario runs in.
type world struct {
	outage       time.Duration // how long a fault lasts
	cluster      *natsrig.Cluster
	replicas     []*replica
	destinations []*destination
	window       window
}

// window is the time in which a destination wants no request.
type window struct {
	asked time.Duration
	early []time.Duration // when requests came nevertheless
}

// replica is one Bellhop, and its way to NATS.
type replica struct {
	options rig.DaemonOptions
	daemon  *rig.Daemon
	proxy   *natsrig.Proxy
}

func (r *replica) start(ctx context.Context) error {
	d, err := rig.StartDaemon(ctx, r.options)
	if err != nil {
		return err
	}
	r.daemon = d
	r.options.Receiver, r.options.Admin = d.Receiver, d.Admin
	return nil
}

// destination is one provider's, with the times of all requests that came.
type destination struct {
	sink   *rig.Sink
	ledger *rig.Ledger
	server *httptest.Server

	mu       sync.Mutex
	sluggish bool
	arrivals []time.Time
	came     chan struct{} // has a token whenever a request came
}

// sluggishEach is which requests take a sluggish destination long: so few that those between them get their turn.
const sluggishEach = 500

// sluggishAnswer is how long the n-th of them takes, 5 to 20 seconds.
func sluggishAnswer(n int) time.Duration { return time.Duration(5+n*7%16) * time.Second }

func newDestination() *destination {
	d := &destination{ledger: rig.NewLedger(), came: make(chan struct{}, 1)}
	// An answer takes a while, so that faults hit requests under way.
	d.sink = &rig.Sink{Delay: 2 * time.Millisecond, Received: d.ledger.Deliver}
	d.server = httptest.NewServer(d)
	return d
}

func (d *destination) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	d.arrivals = append(d.arrivals, time.Now())
	n := len(d.arrivals)
	long := d.sluggish && n%sluggishEach == 0
	d.mu.Unlock()
	select {
	case d.came <- struct{}{}:
	default:
	}
	if long && pause(r.Context(), sluggishAnswer(n/sluggishEach)) != nil {
		return
	}
	d.sink.ServeHTTP(w, r)
}

func (d *destination) setSluggish(is bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sluggish = is
}

// next is when the first request after a time came.
func (d *destination) next(ctx context.Context, after time.Time) (time.Time, error) {
	for {
		d.mu.Lock()
		for _, at := range d.arrivals {
			if at.After(after) {
				d.mu.Unlock()
				return at, nil
			}
		}
		d.mu.Unlock()
		select {
		case <-d.came:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("waiting for a request: %w", ctx.Err())
		}
	}
}

// between is when, after the time begin, requests came in a span of time.
func (d *destination) between(begin time.Time, from, to time.Duration) (came []time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, at := range d.arrivals {
		if after := at.Sub(begin); after > from && after < to {
			came = append(came, after)
		}
	}
	return came
}

// rateWindow is long beside what scheduling adds to the time between two requests.
const rateWindow = 5 * time.Second

// highest is the highest rate over any rateWindow, in requests a second.
func (d *destination) highest() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var most, first int
	for last, at := range d.arrivals {
		for at.Sub(d.arrivals[first]) >= rateWindow {
			first++
		}
		most = max(most, last-first+1)
	}
	return float64(most) / rateWindow.Seconds()
}

// play runs one scenario in a world of its own.
func play(ctx context.Context, o options, s scenario) (r report, err error) {
	w := &world{outage: o.For / 6}
	defer func() { err = errors.Join(err, w.stop()) }()
	var urls []string
	for range providers {
		d := newDestination()
		w.destinations, urls = append(w.destinations, d), append(urls, d.server.URL)
	}
	w.destinations[held].setSluggish(s.sluggish)
	// Twice the load's rate, so that it binds when a backlog is worked off, and never builds one.
	limit := 2 * o.Rate
	c := rig.Configuration{
		Keys: rig.NewKeys(1), Providers: urls, Broadcast: true, CloudEvents: true, Concurrency: 8,
		RateLimits: []string{limited: fmt.Sprintf("%.0f/s", limit)},
		Timeout:    time.Minute, MinBackoff: 100 * time.Millisecond, MaxBackoff: time.Second,
	}
	if err := c.Write(o.Dir); err != nil {
		return r, err
	}
	if err := w.start(ctx, o, s); err != nil {
		return r, err
	}
	hook, err := rig.NewHook(w.replicas[0].daemon.HookURL(c.Keys[0]), c.Keys[0], 2<<10, 64)
	if err != nil {
		return r, err
	}
	load := rig.Load{
		Hooks: []*rig.Hook{hook}, Connections: 32, Count: 100_000_000, For: o.For, Rate: o.Rate,
		Persist: true, Pause: 250 * time.Millisecond,
		Acknowledged: func(n int64, sent, answered time.Time) {
			for _, d := range w.destinations {
				d.ledger.Acknowledge(n, sent, answered)
			}
		},
	}
	for _, r := range w.replicas {
		load.Hosts = append(load.Hosts, r.daemon.Receiver)
	}
	if r.load, err = w.under(ctx, load, s); err != nil {
		return r, err
	}
	for _, d := range w.destinations {
		// What is not delivered by then is lost, and the report says so.
		if err := d.ledger.Await(ctx, o.Drain, func(t rig.Tally) bool { return t.Lost == 0 }); ctx.Err() != nil {
			return r, err
		}
	}
	if err := pause(ctx, o.Settle); err != nil {
		return r, err
	}
	r.once, r.limit, r.highest, r.window = s.once, limit, w.destinations[limited].highest(), w.window
	for _, d := range w.destinations {
		r.tally = sum(r.tally, d.ledger.Tally())
		err = errors.Join(err, d.sink.Err())
	}
	return r, err
}

// under runs the load and, in the middle of it, the fault.
func (w *world) under(ctx context.Context, load rig.Load, s scenario) (rig.Result, error) {
	// A load that persists has no end when nothing is accepted any more.
	ctx, cancel := context.WithTimeout(ctx, 2*load.For+time.Minute)
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		err := pause(ctx, load.For/4)
		if err == nil {
			err = s.fail(ctx, w)
		}
		w.destinations[held].setSluggish(false) // or the stall at the end is its
		if err != nil {
			cancel() // the load has lost its purpose
		}
		failed <- err
	}()
	result, err := load.Run(ctx)
	err = errors.Join(err, <-failed)
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("the load did not come to its end: %v", result)
	}
	return result, err
}

// start starts NATS and the replicas, or one replica with the embedded engine.
func (w *world) start(ctx context.Context, o options, s scenario) (err error) {
	// The faults are no news: errors only.
	base := rig.DaemonOptions{Program: o.Program, Dir: o.Dir, Log: o.Log, Env: []string{"BELLHOP_LOG_LEVEL=error"}}
	if o.Embedded {
		r := &replica{options: base}
		w.replicas = []*replica{r}
		return r.start(ctx)
	}
	servers := natsrig.Options{Program: o.Server, Dir: o.Dir, Servers: 3, Log: o.Log}
	if s.disk {
		servers.Disk = diskSize
	}
	if w.cluster, err = natsrig.Start(ctx, servers); err != nil {
		return err
	}
	for range 3 {
		r := &replica{options: base}
		w.replicas = append(w.replicas, r)
		if r.proxy, err = natsrig.NewProxy(w.cluster); err != nil {
			return err
		}
		r.options.Env = append([]string{"BELLHOP_QUEUE=" + r.proxy.URL() + "?replicas=3"}, base.Env...)
		if err := r.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) stop() (err error) {
	for _, r := range w.replicas {
		if r.daemon != nil {
			err = errors.Join(err, r.daemon.Kill())
		}
		if r.proxy != nil {
			err = errors.Join(err, r.proxy.Close())
		}
	}
	if w.cluster != nil {
		err = errors.Join(err, w.cluster.Stop())
	}
	for _, d := range w.destinations {
		d.server.Close()
	}
	return err
}
