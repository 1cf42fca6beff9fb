package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/bellhop-dev/bellhop/test/rig"
)

// options of one run.
type options struct {
	Program     string
	Dir         string
	Rounds      int
	Connections int
	// Each is how many acknowledgements there are at most between two kills.
	Each int
	// Drain is the longest time without a delivery before the rest counts as lost.
	Drain time.Duration
	Log   io.Writer
}

// report is what became of all events.
type report struct {
	Kills        int
	Acknowledged int64 // deliveries answered with 2xx
	Delivered    int64 // of those, how many the sink has accepted
	Duplicates   int64 // deliveries that the sink has accepted more than once, each further time counted
	Unanswered   int64 // delivered, but the crash came before the answer: the sender would have sent it again
	Lost         int64 // acknowledged, never delivered
	Broken       int64 // connections that a crash broke
	Faults       int64 // answers with which the sink refused
	Elapsed      time.Duration
}

func (r report) String() string {
	return fmt.Sprintf("%d kills in %v: acknowledged %d, delivered %d, duplicates %d, lost %d (broken connections %d, refused by the sink %d, delivered without an answer to the sender %d)",
		r.Kills, r.Elapsed.Round(time.Second), r.Acknowledged, r.Delivered, r.Duplicates, r.Lost, r.Broken, r.Faults, r.Unanswered)
}

// verdict is an error if anything was lost, or if the run proves nothing.
func (r report) verdict() error {
	switch {
	case r.Lost != 0:
		return fmt.Errorf("%d acknowledged events were lost", r.Lost)
	case r.Acknowledged == 0 || r.Broken == 0:
		return errors.New("no connection was broken under load: the run proves nothing")
	}
	return nil
}

// ledger counts by delivery number.
type ledger struct {
	mu           sync.Mutex
	acknowledged map[int64]bool
	delivered    map[int64]int64
	strangers    int64         // bodies without a delivery's number
	news         chan struct{} // has a token whenever something was counted
}

func (l *ledger) acknowledge(n int64, _, _ time.Time) {
	l.mu.Lock()
	l.acknowledged[n] = true
	l.mu.Unlock()
	l.tell()
}

func (l *ledger) deliver(body []byte) {
	n, ok := rig.DeliveryOf(body)
	l.mu.Lock()
	if ok {
		l.delivered[n]++
	} else {
		l.strangers++
	}
	l.mu.Unlock()
	l.tell()
}

func (l *ledger) tell() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

func (l *ledger) count(r *report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Acknowledged, r.Delivered, r.Duplicates, r.Unanswered = int64(len(l.acknowledged)), 0, 0, 0
	for n, times := range l.delivered {
		r.Duplicates += times - 1
		if l.acknowledged[n] {
			r.Delivered++
		} else {
			r.Unanswered++
		}
	}
	r.Lost = r.Acknowledged - r.Delivered
}

// await returns once enough holds, or with an error when nothing was counted for as long as idle.
func (l *ledger) await(ctx context.Context, idle time.Duration, enough func(report) bool) error {
	t := time.NewTimer(idle)
	defer t.Stop()
	for {
		var r report
		l.count(&r)
		if enough(r) {
			return nil
		}
		select {
		case <-l.news:
			t.Reset(idle)
		case <-t.C:
			return fmt.Errorf("nothing happened for %v", idle)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// crash runs the load, kills the program Rounds times under it, lets the last one finish, and counts.
func crash(ctx context.Context, o options) (r report, err error) {
	start := time.Now()
	book := &ledger{acknowledged: map[int64]bool{}, delivered: map[int64]int64{}, news: make(chan struct{}, 1)}
	// A destination with troubles of its own, so that crashes hit retries as well.
	sink := &rig.Sink{Every: 97, Fault: http.StatusInternalServerError, Received: book.deliver}
	server := httptest.NewServer(sink)
	defer server.Close()

	c := rig.Configuration{
		Keys: rig.NewKeys(1), Providers: []string{server.URL}, CloudEvents: true,
		Concurrency: 8, MinBackoff: 50 * time.Millisecond, MaxBackoff: 200 * time.Millisecond,
	}
	if err := c.Write(o.Dir); err != nil {
		return r, err
	}
	// The sink's faults are no news: errors only.
	options := rig.DaemonOptions{Program: o.Program, Dir: o.Dir, Log: o.Log, Env: []string{"BELLHOP_LOG_LEVEL=error"}}
	d, err := rig.StartDaemon(ctx, options)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, d.Kill()) }()
	hook, err := rig.NewHook(d.HookURL(c.Keys[0]), c.Keys[0], 2<<10, 64)
	if err != nil {
		return r, err
	}

	load := rig.Load{
		Hooks: []*rig.Hook{hook}, Connections: o.Connections, Count: 100_000_000, For: time.Hour,
		Persist: true, Acknowledged: book.acknowledge,
	}
	loading, endLoad := context.WithCancel(ctx)
	defer endLoad()
	type outcome struct {
		result rig.Result
		err    error
	}
	ended := make(chan outcome, 1)
	go func() {
		result, err := load.Run(loading)
		ended <- outcome{result, err}
	}()

	// The load sees each crash as broken connections and goes on. Between crashes the program gets some work
	// done, a different amount each time.
	options.Receiver, options.Admin = d.Receiver, d.Admin
	const idle = time.Minute
	for r.Kills < o.Rounds {
		var now report
		book.count(&now)
		want := now.Acknowledged + 1 + rand.Int64N(int64(o.Each))
		if err := book.await(ctx, idle, func(r report) bool { return r.Acknowledged >= want }); err != nil {
			return r, fmt.Errorf("after %d kills: waiting for acknowledgements: %w", r.Kills, err)
		}
		if err := d.Kill(); err != nil {
			return r, err
		}
		r.Kills++
		next, err := rig.StartDaemon(ctx, options)
		if err != nil {
			return r, fmt.Errorf("after %d kills: %w", r.Kills, err)
		}
		d = next
	}
	endLoad()
	end := <-ended
	if end.err != nil {
		return r, fmt.Errorf("load: %w", end.err)
	}

	// What is not delivered by then is lost, and the report says so.
	awaited := book.await(ctx, o.Drain, func(r report) bool { return r.Lost == 0 })
	if ctx.Err() != nil {
		return r, awaited
	}
	book.count(&r)
	r.Broken, r.Faults, r.Elapsed = end.result.Broken, sink.Faults(), time.Since(start)
	if book.strangers > 0 {
		return r, fmt.Errorf("%d deliveries name no delivery id", book.strangers)
	}
	return r, sink.Err()
}
