package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// A Move hands over so much at a time: enough to share a disk's or a cluster's round trip, little enough for memory.
const (
	moveParts = 256
	moveBytes = 8 << 20
)

// Counts are how much a store holds.
type Counts struct {
	Events int
	// Deliveries are those of each provider by state.
	Deliveries map[string]map[bellhop.DeliveryState]int
	// Keys are the duplicate keys by the minute from which on they may be forgotten.
	Keys map[time.Time]int
}

// Move copies what from holds to to, and counts what is there then: an error if that is not the same. Nobody may
// serve from either, and both are best opened to Preserve. From is left as it is. After an interruption Move goes on
// where it was; a store with events of its own is not moved to, nor one that served since it was moved to.
func Move(ctx context.Context, from, to bellhop.Queue) (Counts, error) {
	if err := idle(ctx, from); err != nil {
		return Counts{}, fmt.Errorf("moving from a queue: %w", err)
	}
	if err := idle(ctx, to); err != nil {
		return Counts{}, fmt.Errorf("moving to a queue: %w", err)
	}
	if err := unserved(ctx, from, to); err != nil {
		return Counts{}, err
	}
	moved, err := copyAll(ctx, from, to)
	if err != nil {
		return Counts{}, err
	}
	if err := verify(ctx, moved, to); err != nil {
		return Counts{}, err
	}
	return moved, nil
}

// verify returns an error unless the queue holds what was moved. It looks more than once: the servers of a cluster may
// be a moment behind each other.
func verify(ctx context.Context, moved Counts, to bellhop.Queue) (err error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range 3 {
		var arrived Counts
		for s, err := range to.Export(ctx) {
			if err != nil {
				return fmt.Errorf("counting what was moved: %w", err)
			}
			arrived.add(s)
		}
		if err = moved.compare(arrived, time.Now()); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// idle returns an error while anybody serves from q.
func idle(ctx context.Context, q bellhop.Queue) error {
	if err := q.Healthy(); err != nil {
		return err
	}
	replicas, err := q.Replicas(ctx)
	if err != nil {
		return err
	}
	if len(replicas) > 0 {
		return fmt.Errorf("%s serves from it: stop all that do, and move again; one that was killed is forgotten after %s",
			replicas[0].Name, bellhop.ReplicaLifetime)
	}
	return nil
}

// unserved returns an error if to has had events since it got those of from.
func unserved(ctx context.Context, from, to bellhop.Queue) error {
	if from.ID() != to.ID() {
		return nil // Import refuses the id if there are any events
	}
	last, _, err := to.Events(ctx, bellhop.Page{Limit: 1})
	if err != nil {
		return fmt.Errorf("looking for what was moved before: %w", err)
	}
	for _, e := range last {
		if _, err := from.Event(ctx, e.ID); errors.Is(err, bellhop.ErrNotFound) {
			return fmt.Errorf("the queue to move to has served since it was moved to (event %s): what waited there may be delivered, and would be sent again; give another", e.ID)
		} else if err != nil {
			return fmt.Errorf("looking for what was moved before: %w", err)
		}
	}
	return nil
}

func copyAll(ctx context.Context, from, to bellhop.Queue) (Counts, error) {
	var moved Counts
	var parts []*bellhop.Stored
	total, size := 0, 0
	flush := func() error {
		err := to.Import(ctx, parts...)
		clear(parts)
		parts, size = parts[:0], 0
		return err
	}
	for s, err := range from.Export(ctx) {
		if err == nil && (len(parts) == moveParts || size > moveBytes) {
			err = flush()
		}
		if err != nil {
			return moved, fmt.Errorf("moving, %d events so far; move again to go on: %w", moved.Events, err)
		}
		moved.add(s)
		parts, total = append(parts, s), total+1
		if s.Event != nil {
			size += len(s.Event.Raw)
		}
	}
	if total <= 1 { // its id
		return moved, errors.New("the queue to move from holds nothing: give the one that served")
	}
	if err := flush(); err != nil {
		return moved, fmt.Errorf("moving, %d events so far; move again to go on: %w", moved.Events, err)
	}
	return moved, nil
}

func (c *Counts) add(s *bellhop.Stored) {
	if s.Key != nil {
		if c.Keys == nil {
			c.Keys = make(map[time.Time]int)
		}
		c.Keys[s.Key.Expires.UTC().Truncate(time.Minute)]++
	}
	if s.Event == nil {
		return
	}
	c.Events++
	for _, d := range s.Deliveries {
		if c.Deliveries == nil {
			c.Deliveries = make(map[string]map[bellhop.DeliveryState]int)
		}
		if c.Deliveries[d.Provider] == nil {
			c.Deliveries[d.Provider] = make(map[bellhop.DeliveryState]int)
		}
		c.Deliveries[d.Provider][d.State]++
	}
}

// known are the keys that are known at a time for certain, and how many there are.
func (c *Counts) known(now time.Time) (keys map[time.Time]int, n int) {
	keys = maps.Clone(c.Keys)
	maps.DeleteFunc(keys, func(until time.Time, _ int) bool { return !until.After(now) })
	for _, of := range keys {
		n += of
	}
	return keys, n
}

// compare returns an error that names what differs. Keys are forgotten on the way: those count that are known now.
func (c *Counts) compare(arrived Counts, now time.Time) error {
	if c.Events != arrived.Events {
		return fmt.Errorf("of %d events that were moved, %d are there", c.Events, arrived.Events)
	}
	same := func(a, b map[bellhop.DeliveryState]int) bool { return maps.Equal(a, b) }
	if !maps.EqualFunc(c.Deliveries, arrived.Deliveries, same) {
		return fmt.Errorf("deliveries that were moved: %v; that are there: %v", c.Deliveries, arrived.Deliveries)
	}
	want, n := c.known(now)
	if got, m := arrived.known(now); !maps.Equal(want, got) {
		return fmt.Errorf("of %d duplicate keys that were moved, %d are there, or not for as long", n, m)
	}
	return nil
}
