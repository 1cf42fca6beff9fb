package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// scenario is something that happens under load.
type scenario struct {
	name string
	// nats marks what needs it. The embedded engine promises nothing about a pause after a kill, and so
	// retry-after is among them.
	nats bool
	// disk has each server store on a file system of its own, which can be filled.
	disk bool
	// once has events come once only: in ordinary operation there is no excuse for a duplicate.
	once bool
	// sluggish has a provider take long over some requests, longer than the servers wait for a sign of life.
	sluggish bool
	// fail makes the fault and heals it.
	fail func(ctx context.Context, w *world) error
}

var scenarios = []scenario{
	{name: "steady", once: true, fail: func(context.Context, *world) error { return nil }},
	{name: "rolling", once: true, fail: rolling},
	{name: "kill", fail: kill},
	{name: "leader", nats: true, fail: leader},
	{name: "frozen", nats: true, fail: frozen},
	{name: "quorum", nats: true, fail: quorum},
	{name: "partition", nats: true, fail: partition},
	{name: "disk", nats: true, disk: true, fail: disk},
	{name: "retry-after", nats: true, fail: retryAfter},
	{name: "upgrade", nats: true, once: true, sluggish: true, fail: upgrade},
	{name: "stepdown", nats: true, once: true, sluggish: true, fail: stepDown},
	{name: "latency", nats: true, once: true, sluggish: true, fail: latency},
}

func rolling(ctx context.Context, w *world) error {
	for _, r := range w.replicas {
		if err := r.daemon.Stop(); err != nil {
			return err
		}
		if err := r.start(ctx); err != nil {
			return err
		}
		// As a Deployment's minReadySeconds: sends are under way again.
		if err := pause(ctx, w.outage/4); err != nil {
			return err
		}
	}
	return nil
}

func kill(ctx context.Context, w *world) error {
	return w.killEach(ctx, w.outage/3)
}

// killEach leaves each Bellhop dead for some time, so that others take over what it had, whichever that was.
func (w *world) killEach(ctx context.Context, dead time.Duration) error {
	for _, r := range w.replicas {
		if err := r.daemon.Kill(); err != nil {
			return err
		}
		if err := pause(ctx, dead); err != nil {
			return err
		}
		if err := r.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

func leader(ctx context.Context, w *world) error {
	s, err := w.cluster.Leader(ctx, eventsStream)
	if err != nil {
		return err
	}
	if err := s.Kill(); err != nil {
		return err
	}
	if err := pause(ctx, w.outage); err != nil {
		return err
	}
	return s.Start(ctx)
}

func frozen(ctx context.Context, w *world) error {
	s, err := w.cluster.Leader(ctx, eventsStream)
	if err != nil {
		return err
	}
	if err := s.Freeze(); err != nil {
		return err
	}
	return errors.Join(pause(ctx, w.outage), s.Thaw())
}

func quorum(ctx context.Context, w *world) error {
	two := w.cluster.Servers[:2]
	for _, s := range two {
		if err := s.Stop(); err != nil {
			return err
		}
	}
	if err := pause(ctx, w.outage); err != nil {
		return err
	}
	for _, s := range two {
		if err := s.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

func partition(ctx context.Context, w *world) error {
	p := w.replicas[0].proxy
	for _, cut := range []func(){p.Blackhole, p.Reset} {
		cut()
		if err := pause(ctx, w.outage); err != nil {
			return err
		}
		p.Heal()
		if err := pause(ctx, w.outage/2); err != nil {
			return err
		}
	}
	return nil
}

// upgrade is what a StatefulSet does: the next server follows once the one before is healthy again.
func upgrade(ctx context.Context, w *world) error {
	for _, s := range w.cluster.Servers {
		if err := s.Retire(); err != nil {
			return err
		}
		if err := s.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stepDown has each leader step down several times, one after the other, as operators do by `nats stream cluster
// step-down` and `nats consumer cluster step-down`.
func stepDown(ctx context.Context, w *world) error {
	conn, err := nats.Connect(w.cluster.URL())
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	stream, err := js.Stream(ctx, eventsStream)
	if err != nil {
		return err
	}
	leaders := []string{"STREAM.LEADER.STEPDOWN." + eventsStream, "STREAM.LEADER.STEPDOWN." + recordsStream}
	consumers := stream.ConsumerNames(ctx)
	for name := range consumers.Name() {
		leaders = append(leaders, "CONSUMER.LEADER.STEPDOWN."+eventsStream+"."+name)
	}
	if err := consumers.Err(); err != nil {
		return err
	}
	for range 5 {
		for _, leader := range leaders {
			m, err := conn.RequestWithContext(ctx, "$JS.API."+leader, nil)
			if err == nil && !bytes.Contains(m.Data, []byte(`"success":true`)) {
				err = fmt.Errorf("the answer is %s", m.Data)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", leader, err)
			}
			if err := pause(ctx, w.outage/8); err != nil {
				return err
			}
		}
	}
	return nil
}

// latency makes one Bellhop's way to NATS a long one.
func latency(ctx context.Context, w *world) error {
	p := w.replicas[0].proxy
	p.Slow(30 * time.Millisecond)
	defer p.Heal()
	return pause(ctx, 3*w.outage)
}

// disk restarts the server in the end: one that ran out of space turns JetStream off, and an operator has to
// make room and start it again.
func disk(ctx context.Context, w *world) error {
	s, err := w.cluster.Leader(ctx, eventsStream)
	if err != nil {
		return err
	}
	if err := s.FillDisk(); err != nil {
		return err
	}
	if err := pause(ctx, w.outage); err != nil {
		return err
	}
	if err := s.Stop(); err != nil {
		return err
	}
	if err := s.FreeDisk(); err != nil {
		return err
	}
	return s.Start(ctx)
}

// underWay is how long after the first 429 requests may arrive that were sent before it was read.
const underWay = 250 * time.Millisecond

// retryAfter counts what comes to the provider while it wants to be left alone, the while in which the others
// learn that the one that was told is dead included.
func retryAfter(ctx context.Context, w *world) error {
	d := w.destinations[held]
	asked := w.outage.Truncate(time.Second) + time.Second
	began := time.Now()
	d.sink.Hold(asked)
	told, err := d.next(ctx, began)
	if err != nil {
		return err
	}
	// One that dies before it has read the answer was told nothing.
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	if err := w.killEach(ctx, w.outage/6); err != nil {
		return err
	}
	if err := pause(ctx, time.Until(told.Add(asked))); err != nil {
		return err
	}
	d.sink.Hold(0)
	w.window = window{asked: asked, early: d.between(told, underWay, asked)}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
