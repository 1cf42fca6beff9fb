package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/bellhop-dev/bellhop/test/rig"
)

// settle is how long a process is left alone before its memory is read, so that what it had to do at start
// or under load is collected.
const settle = 5 * time.Second

// memory measures the resident memory, idle and behind a backlog whose destination is paused.
func (b *bench) memory(ctx context.Context) (err error) {
	sink := holdBack()
	defer sink.Close()
	c := rig.Configuration{Keys: rig.NewKeys(1), Providers: []string{sink.URL}}
	d, err := b.start(ctx, "memory", &c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()

	idle, err := resident(ctx, d, settle)
	if err != nil {
		return err
	}
	b.report("resident, idle", idle < 40<<20, "under 40 MiB", "%.1f MiB", mebibytes(idle))

	hook, err := rig.NewHook(d.HookURL(c.Keys[0]), c.Keys[0], pushSize, 256)
	if err != nil {
		return err
	}
	l := rig.Load{Hooks: []*rig.Hook{hook}, Connections: b.connections, Count: b.backlog, For: 5 * time.Minute, First: b.deliveries(b.backlog)}
	watching, endWatch := context.WithCancel(ctx)
	peaks := make(chan int64, 1)
	go func() { peaks <- peak(watching, d) }()
	result, err := l.Run(ctx)
	endWatch()
	highest := <-peaks
	if err != nil {
		return err
	}
	fmt.Printf("filling: %v\n", result)
	if result.Refused() > 0 {
		return fmt.Errorf("not all were accepted: %v", result)
	}
	full, err := resident(ctx, d, settle)
	if err != nil {
		return err
	}
	b.report(fmt.Sprintf("resident, backlog of %d", result.Acknowledged), full < 200<<20, "under 200 MiB", "%.1f MiB (peak under load %.1f MiB)",
		mebibytes(full), mebibytes(highest))

	// The same backlog after a restart.
	if err := d.Stop(); err != nil {
		return err
	}
	began := time.Now()
	if d, err = b.restart(ctx, d, "memory"); err != nil {
		return err
	}
	ready := time.Since(began)
	reopened, err := resident(ctx, d, settle)
	if err != nil {
		return err
	}
	b.report("resident, backlog after a restart", reopened < 200<<20, "under 200 MiB", "%.1f MiB (ready after %v)", mebibytes(reopened), ready.Round(time.Millisecond))
	return nil
}

// restart starts the program on what an earlier one left.
func (b *bench) restart(ctx context.Context, before *rig.Daemon, name string) (*rig.Daemon, error) {
	d, err := rig.StartDaemon(ctx, rig.DaemonOptions{
		Program: b.program, Dir: filepath.Join(b.dir, name), Log: b.log, Receiver: before.Receiver, Admin: before.Admin,
	})
	if err != nil {
		return before, err
	}
	return d, nil
}

func resident(ctx context.Context, d *rig.Daemon, after time.Duration) (int64, error) {
	t := time.NewTimer(after)
	defer t.Stop()
	select {
	case <-t.C:
		return d.Resident()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// peak is the highest resident memory seen until ctx ends.
func peak(ctx context.Context, d *rig.Daemon) (highest int64) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if now, err := d.Resident(); err == nil {
				highest = max(highest, now)
			}
		case <-ctx.Done():
			return highest
		}
	}
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
