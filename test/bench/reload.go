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

// reload adds endpoints to 1,000, one a round, while the others are sent to.
func (b *bench) reload(ctx context.Context) (err error) {
	const endpoints, providers, rounds, perSecond = 1_000, 100, 10, 500
	server := httptest.NewServer(&rig.Sink{})
	defer server.Close()
	c := rig.Configuration{Keys: rig.NewKeys(endpoints), Providers: slices.Repeat([]string{server.URL}, providers)}
	d, err := b.start(ctx, "reload", &c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()

	var urls []string
	for _, key := range c.Keys[:16] {
		urls = append(urls, d.HookURL(key))
	}
	others, err := newHooks(urls, c.Keys[:16], 4)
	if err != nil {
		return err
	}
	const enough = 1_000_000
	l := rig.Load{Hooks: others, Connections: 16, Count: enough, For: 5 * time.Minute, Rate: perSecond, First: b.deliveries(enough)}
	loading, endLoad := context.WithCancel(ctx)
	defer endLoad()
	type outcome struct {
		result rig.Result
		err    error
	}
	ended := make(chan outcome, 1)
	go func() {
		result, err := l.Run(loading)
		ended <- outcome{result, err}
	}()

	var times []time.Duration
	for range rounds {
		key := rig.NewKeys(1)[0]
		c.Keys = append(c.Keys, key)
		took, err := b.firstEffect(ctx, d, &c, key)
		if err != nil {
			return err
		}
		times = append(times, took)
	}
	endLoad()
	end := <-ended
	if end.err != nil {
		return end.err
	}
	fmt.Printf("load meanwhile: %v\n", end.result)
	slices.Sort(times)
	b.report("reload of 1,000 endpoints and 100 providers", rig.Percentile(times, 100) <= 300*time.Millisecond, "within 300ms", "median %v, max %v of %d",
		rig.Percentile(times, 50), rig.Percentile(times, 100), rounds)
	refused := end.result.Refused() + end.result.Broken
	b.report("refused during reloads", refused == 0, "0", "%d of %d", refused, end.result.Acknowledged+refused)
	return nil
}

// firstEffect writes the configuration and returns the time until the new key's endpoint accepts. It counts
// from when the files are all in place; writing them is not Bellhop's.
func (b *bench) firstEffect(ctx context.Context, d *rig.Daemon, c *rig.Configuration, key []byte) (time.Duration, error) {
	hook, err := rig.NewHook(d.HookURL(key), key, pushSize, 1)
	if err != nil {
		return 0, err
	}
	if err := c.Write(filepath.Join(b.dir, "reload")); err != nil {
		return 0, err
	}
	swapped := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for time.Since(swapped) < 30*time.Second {
		l := rig.Load{Hooks: []*rig.Hook{hook}, Connections: 1, Count: 1, For: time.Minute, First: b.deliveries(1)}
		result, err := l.Run(ctx)
		if err != nil {
			return 0, err
		}
		if result.Acknowledged == 1 {
			return time.Since(swapped), nil
		}
		if result.Statuses[404] != 1 {
			return 0, fmt.Errorf("the new endpoint: %v", result)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return 0, errors.New("the new endpoint is not there 30 s after the swap")
}
