package main

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bellhop-dev/bellhop/test/rig"
)

// deliver measures how fast a backlog is delivered over 16 connections, and how soon at a steady rate.
func (b *bench) deliver(ctx context.Context) error {
	if err := b.drain(ctx); err != nil {
		return err
	}
	return b.lag(ctx)
}

// drain fills the queue while the destination holds back, then times the deliveries from the first to the last.
func (b *bench) drain(ctx context.Context) (err error) {
	const events = 50_000
	var received atomic.Int64
	first, last := make(chan time.Time, 1), make(chan time.Time, 1)
	sink := &rig.Sink{Received: func([]byte) {
		switch received.Add(1) {
		case 1:
			first <- time.Now()
		case events:
			last <- time.Now()
		}
	}}
	sink.Hold(2 * time.Second)
	server := httptest.NewServer(sink)
	defer server.Close()
	c := rig.Configuration{Keys: rig.NewKeys(1), Providers: []string{server.URL}, Concurrency: 16}
	d, err := b.start(ctx, "drain", &c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	hook, err := rig.NewHook(d.HookURL(c.Keys[0]), c.Keys[0], pushSize, 256)
	if err != nil {
		return err
	}
	l := rig.Load{Hooks: []*rig.Hook{hook}, Connections: b.connections, Count: events, For: time.Minute, First: b.deliveries(events)}
	filled, err := l.Run(ctx)
	if err != nil {
		return err
	}
	if filled.Acknowledged != events {
		return fmt.Errorf("filling the queue: %v", filled)
	}
	sink.Hold(0)
	timeout := time.NewTimer(2 * time.Minute)
	defer timeout.Stop()
	select {
	case end := <-last:
		rate := float64(events-1) / end.Sub(<-first).Seconds()
		b.report("delivering, 16 connections", rate >= 5000, "at least 5000/s", "%.0f/s (%d deliveries of 8 kB events)", rate, events)
	case <-timeout.C:
		return fmt.Errorf("%d of %d delivered after two minutes", received.Load(), events)
	case <-ctx.Done():
		return ctx.Err()
	}
	return sink.Err()
}

// lag measures how soon an accepted event is delivered.
func (b *bench) lag(ctx context.Context) error {
	const perSecond, events = 500, 5_000
	steady, err := b.steady(ctx, "lag", perSecond, events)
	if err != nil {
		return err
	}
	p99 := rig.Percentile(steady.lags, 99)
	b.report("accepted to delivered at 500/s, p99", p99 < 20*time.Millisecond, "under 20ms", "%v (p50 %v, max %v)",
		p99, rig.Percentile(steady.lags, 50), rig.Percentile(steady.lags, 100))
	return nil
}

// steadily is what a steady rate showed.
type steadily struct {
	lags      []time.Duration // from the answer to the sender to the sink's receipt, sorted
	processor time.Duration   // of Bellhop, all events together
}

// steady sends events at a rate until all are delivered.
func (b *bench) steady(ctx context.Context, name string, perSecond float64, events int, env ...string) (s steadily, err error) {
	var mu sync.Mutex
	accepted, delivered := map[int64]time.Time{}, map[int64]time.Time{}
	done := make(chan struct{})
	sink := &rig.Sink{Received: func(body []byte) {
		now := time.Now()
		n, ok := rig.DeliveryOf(body)
		if !ok {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if _, again := delivered[n]; !again {
			delivered[n] = now
			if len(delivered) == events {
				close(done)
			}
		}
	}}
	server := httptest.NewServer(sink)
	defer server.Close()
	c := rig.Configuration{Keys: rig.NewKeys(1), Providers: []string{server.URL}, Concurrency: 16, CloudEvents: true}
	d, err := b.start(ctx, name, &c, env...)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	hook, err := rig.NewHook(d.HookURL(c.Keys[0]), c.Keys[0], pushSize, 256)
	if err != nil {
		return s, err
	}
	before, err := d.Processor()
	if err != nil {
		return s, err
	}
	l := rig.Load{
		Hooks: []*rig.Hook{hook}, Connections: 16, Count: int64(events), For: time.Minute, Rate: perSecond, First: b.deliveries(int64(events)),
		Acknowledged: func(n int64, _, answered time.Time) {
			mu.Lock()
			accepted[n] = answered
			mu.Unlock()
		},
	}
	result, err := l.Run(ctx)
	if err != nil {
		return s, err
	}
	fmt.Printf("accepting at %.0f/s: %v\n", perSecond, result)
	timeout := time.NewTimer(time.Minute)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
		return s, fmt.Errorf("%d of %d delivered after a minute", sink.Accepted(), events)
	case <-ctx.Done():
		return s, ctx.Err()
	}
	after, err := d.Processor()
	if err != nil {
		return s, err
	}
	s.processor = after - before
	mu.Lock()
	defer mu.Unlock()
	for n, at := range delivered {
		s.lags = append(s.lags, max(at.Sub(accepted[n]), 0)) // a delivery may overtake the answer
	}
	slices.Sort(s.lags)
	return s, sink.Err()
}
