package main

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"time"

	"github.com/bellhop-dev/bellhop/test/rig"
)

const pushSize = 8 << 10

// holdBack is a destination that asks for a long pause at once, so that accepting is measured alone: events
// are routed and queued, nothing is sent.
func holdBack() *httptest.Server {
	sink := &rig.Sink{}
	sink.Hold(time.Hour)
	return httptest.NewServer(sink)
}

// start writes the configuration and starts the program with a queue of its own, or the one that env names.
func (b *bench) start(ctx context.Context, name string, c *rig.Configuration, env ...string) (*rig.Daemon, error) {
	dir := filepath.Join(b.dir, name)
	if err := c.Write(dir); err != nil {
		return nil, err
	}
	return rig.StartDaemon(ctx, rig.DaemonOptions{Program: b.program, Dir: dir, Log: b.log, Env: env})
}

// contender is one side of a comparison.
type contender struct {
	name string
	// run goes as fast as it can for a time, and returns the rate, in events a second.
	run func(ctx context.Context, d time.Duration) (float64, error)
}

// server is a contender that is sent to. Every push must be accepted.
func (b *bench) server(name string, hooks []*rig.Hook) contender {
	return contender{name, func(ctx context.Context, d time.Duration) (float64, error) {
		const enough = 10_000_000
		l := rig.Load{Hooks: hooks, Connections: b.connections, Count: enough, For: d, First: b.deliveries(enough)}
		result, err := l.Run(ctx)
		if err == nil && result.Refused() > 0 {
			err = fmt.Errorf("not all were accepted: %v", result)
		}
		return result.PerSecond(), err
	}}
}

// compare runs rounds of both in turn, the first to go alternating, and returns the median of the rounds'
// ratios and of the rates.
func (b *bench) compare(ctx context.Context, base, subject contender) (ratio, baseRate, rate float64, err error) {
	var ratios, bases, rates []float64
	for round := range b.rounds + 1 {
		var measured [2]float64
		for i := range 2 {
			which := (i + round) % 2
			d := b.round
			if round == 0 {
				d = b.round / 3 // the first round warms up and does not count
			}
			c := []contender{base, subject}[which]
			measured[which], err = c.run(ctx, d)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return 0, 0, 0, fmt.Errorf("%s: %w", c.name, err)
			}
		}
		if round == 0 {
			continue
		}
		fmt.Printf("round %d: %s %.0f/s, %s %.0f/s, ratio %.3f\n", round, base.name, measured[0], subject.name, measured[1], measured[1]/measured[0])
		bases, rates = append(bases, measured[0]), append(rates, measured[1])
		ratios = append(ratios, measured[1]/measured[0])
	}
	return median(ratios), median(bases), median(rates), nil
}

func median(xs []float64) float64 {
	xs = slices.Sorted(slices.Values(xs))
	if len(xs) == 0 {
		return 0
	}
	return (xs[(len(xs)-1)/2] + xs[len(xs)/2]) / 2
}

// accept holds Bellhop against the reference server.
func (b *bench) accept(ctx context.Context) (err error) {
	sink := holdBack()
	defer sink.Close()
	c := rig.Configuration{Keys: rig.NewKeys(1), Providers: []string{sink.URL}}
	d, err := b.start(ctx, "accept", &c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	referenceURL, stop, err := b.startReference(ctx, c.Keys[0], "-log", filepath.Join(b.dir, "reference.log"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	reference, err := newHooks([]string{referenceURL}, c.Keys, 256)
	if err != nil {
		return err
	}
	bellhop, err := newHooks([]string{d.HookURL(c.Keys[0])}, c.Keys, 256)
	if err != nil {
		return err
	}
	ratio, referenceRate, rate, err := b.compare(ctx, b.server("reference", reference), b.server("bellhop", bellhop))
	if err != nil {
		return err
	}
	b.report("accepting, against the reference", ratio >= 0.7, "at least 0.7", "%.3f (%.0f/s to %.0f/s)", ratio, rate, referenceRate)
	return nil
}

func newHooks(urls []string, keys [][]byte, variants int) ([]*rig.Hook, error) {
	hooks := make([]*rig.Hook, len(urls))
	for i, u := range urls {
		var err error
		if hooks[i], err = rig.NewHook(u, keys[i], pushSize, variants); err != nil {
			return nil, err
		}
	}
	return hooks, nil
}

// many holds a large configuration against a small one. The load of the large one goes to 64 of its
// endpoints, each with its own key and provider.
func (b *bench) many(ctx context.Context) (err error) {
	const endpoints, providers, used = 10_000, 1_000, 64
	sink := holdBack()
	defer sink.Close()
	one := rig.Configuration{Keys: rig.NewKeys(1), Providers: []string{sink.URL}}
	large := rig.Configuration{Keys: rig.NewKeys(endpoints), Providers: slices.Repeat([]string{sink.URL}, providers)}

	dOne, err := b.start(ctx, "one", &one)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dOne.Stop()) }()
	began := time.Now()
	dLarge, err := b.start(ctx, "large", &large)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dLarge.Stop()) }()
	fmt.Printf("%d endpoints and %d providers were written, loaded and ready in %v\n", endpoints, providers, time.Since(began).Round(time.Millisecond))

	few, err := newHooks([]string{dOne.HookURL(one.Keys[0])}, one.Keys, 256)
	if err != nil {
		return err
	}
	var urls []string
	var keys [][]byte
	for i := range used {
		key := large.Keys[i*endpoints/used]
		keys, urls = append(keys, key), append(urls, dLarge.HookURL(key))
	}
	lots, err := newHooks(urls, keys, 4)
	if err != nil {
		return err
	}
	ratio, oneRate, rate, err := b.compare(ctx, b.server("one", few), b.server("10,000", lots))
	if err != nil {
		return err
	}
	b.report("10,000 endpoints and 1,000 providers, against one", ratio >= 0.95, "at least 0.95", "%.3f (%.0f/s to %.0f/s)", ratio, rate, oneRate)
	return nil
}
