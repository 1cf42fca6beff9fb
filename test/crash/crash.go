package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
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
	rig.Tally
	Kills   int
	Broken  int64 // connections that a crash broke
	Faults  int64 // answers with which the sink refused
	Elapsed time.Duration
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

// crash runs the load, kills the program Rounds times under it, lets the last one finish, and counts.
func crash(ctx context.Context, o options) (r report, err error) {
	start := time.Now()
	book := rig.NewLedger()
	// A destination with troubles of its own, so that crashes hit retries as well.
	sink := &rig.Sink{Every: 97, Fault: http.StatusInternalServerError, Received: book.Deliver}
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
		Persist: true, Acknowledged: book.Acknowledge,
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
		want := book.Tally().Acknowledged + 1 + rand.Int64N(int64(o.Each))
		if err := book.Await(ctx, idle, func(t rig.Tally) bool { return t.Acknowledged >= want }); err != nil {
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
	awaited := book.Await(ctx, o.Drain, func(t rig.Tally) bool { return t.Lost == 0 })
	if ctx.Err() != nil {
		return r, awaited
	}
	r.Tally = book.Tally()
	r.Broken, r.Faults, r.Elapsed = end.result.Broken, sink.Faults(), time.Since(start)
	if r.Strangers > 0 {
		return r, fmt.Errorf("%d deliveries name no delivery id", r.Strangers)
	}
	return r, sink.Err()
}
