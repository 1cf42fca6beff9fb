package embedded

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// Take leases the delivery to a provider that has been due longest, waiting for one if need be.
func (q *Queue) Take(ctx context.Context, provider string) (bellhop.Lease, error) {
	if err := record.CheckProvider(provider); err != nil {
		return nil, fmt.Errorf("taking a delivery: %w", err)
	}
	l := q.lanes.open(provider)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		lease, ch, err := q.take(l)
		if lease != nil || err != nil {
			return lease, err
		}
		select {
		case <-ch:
		case <-ctx.Done():
			l.leave(ch)
			return nil, ctx.Err()
		case <-q.closing:
			l.leave(ch)
			return nil, errStopped
		}
	}
}

// take leases what is due, or returns what to wait for.
func (q *Queue) take(l *lane) (bellhop.Lease, chan struct{}, error) {
	if err := q.begin(); err != nil {
		return nil, nil, err
	}
	defer q.end()

	l.mu.Lock()
	now := q.now().UnixNano()
	e, ok, wake, err := l.next(q.db, now)
	if err != nil {
		l.wake() // let another one try and tell
		l.mu.Unlock()
		return nil, nil, fmt.Errorf("taking a delivery to %s: %w", l.name, err)
	}
	if !ok {
		ch := l.wait(wake, now)
		l.mu.Unlock()
		return nil, ch, nil
	}
	lease := &lease{q: q, lane: l, entry: e}
	l.held[e.event] = lease
	l.wake() // there may be more
	l.mu.Unlock()

	if err := lease.load(); err != nil {
		l.mu.Lock()
		l.letGo(e.event, &e)
		l.mu.Unlock()
		return nil, nil, fmt.Errorf("taking a delivery to %s: %w", l.name, err)
	}
	return lease, nil, nil
}

// lease is a delivery in the hands of a caller.
type lease struct {
	q    *Queue
	lane *lane
	entry
	d record.Delivery

	// Both are guarded by lane.mu. No replay is set once the lease is settled.
	settled bool
	replay  *replay // an operator wants the event delivered again while it is being delivered
}

// replay is a new beginning for a delivery.
type replay struct {
	route *string // nil for the one it had
	at    int64
}

func (s *lease) load() (err error) {
	if s.fresh {
		s.d = record.Delivery{
			Route: s.route, Accepted: s.due, Started: s.due, Due: s.due, Since: s.due, Size: s.size,
		}
		return nil
	}
	s.d, err = s.q.readDelivery(spaceAgain, s.lane.name, s.event)
	return err
}

// readDelivery reads a delivery's record from a space; ErrNotFound if it is not there.
func (q *Queue) readDelivery(space byte, provider, event string) (record.Delivery, error) {
	v, closer, err := q.db.Get(laneKey(space, provider, event))
	if errors.Is(err, pebble.ErrNotFound) {
		return record.Delivery{}, fmt.Errorf("delivery %s: %w", bellhop.DeliveryID(event, provider), bellhop.ErrNotFound)
	}
	if err != nil {
		return record.Delivery{}, fmt.Errorf("reading delivery %s: %w", bellhop.DeliveryID(event, provider), err)
	}
	d, err := decodeIn(space, v)
	if err != nil {
		err = fmt.Errorf("reading delivery %s: %w", bellhop.DeliveryID(event, provider), err)
	}
	return d, closing(closer, err)
}

func (s *lease) space() byte {
	if s.fresh {
		return spaceFresh
	}
	return spaceAgain
}

// Delivery is the delivery as it was when it was taken.
func (s *lease) Delivery() *bellhop.Delivery {
	return s.d.Show(bellhop.Waiting, s.event, s.lane.name)
}

// Event reads the delivery's event.
func (s *lease) Event(ctx context.Context) (*bellhop.Event, error) {
	return s.q.Event(ctx, s.event)
}

// Settle ends the lease. The outcome reaches the disk soon: after a crash a just settled delivery may
// be taken once more.
func (s *lease) Settle(_ context.Context, err error, o bellhop.Outcome) error {
	q, l := s.q, s.lane
	if err := q.begin(); err != nil {
		return fmt.Errorf("settling delivery %s: %w", bellhop.DeliveryID(s.event, l.name), err)
	}
	defer q.end()

	l.mu.Lock()
	if s.settled {
		l.mu.Unlock()
		return fmt.Errorf("settling delivery %s: it is settled already", bellhop.DeliveryID(s.event, l.name))
	}
	s.settled = true
	again := s.replay
	if again == nil && bellhop.IsStopping(err) {
		l.letGo(s.event, &s.entry)
		l.mu.Unlock()
		return nil
	}
	l.mu.Unlock()

	d, state := s.d.After(err, o, q.now())
	to := spaceOf(state)
	if again != nil {
		to = spaceAgain
		restart(&d, again)
	}
	apply := q.applySoon
	if err == nil && o.Memo != nil {
		q.memos.RLock()
		defer q.memos.RUnlock()
		apply = func(b *pebble.Batch) error {
			if err := remember(b, l.name, o.Memo); err != nil {
				return errors.Join(err, b.Close())
			}
			return q.applySoon(b)
		}
	}
	werr := q.move(l.name, s.event, s.space(), &s.d, to, &d, apply)
	if werr != nil {
		to, werr = s.space(), fmt.Errorf("settling delivery %s: %w", bellhop.DeliveryID(s.event, l.name), werr)
	} else if to == spaceDone {
		q.history.finished(s.event, 1)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.settled.Broadcast()
	switch {
	case werr != nil:
		l.letGo(s.event, &s.entry)
	case to == spaceAgain:
		l.waitAgain(s.event, &d)
	default:
		l.depth--
		if to == spaceDead {
			l.dead++
		}
		l.letGo(s.event, nil)
	}
	return werr
}

// restart begins a delivery anew.
func restart(d *record.Delivery, r *replay) {
	d.Restart(r.at)
	if r.route != nil {
		d.Route = *r.route
	}
}

// move writes a delivery from one space to another with all that hangs on it.
func (q *Queue) move(provider, event string, from byte, was *record.Delivery, to byte, is *record.Delivery, apply func(*pebble.Batch) error) error {
	b := q.db.NewBatch()
	err := leave(b, provider, event, from, was)
	if err == nil && to != 0 {
		err = enter(b, provider, event, to, is)
	}
	if err != nil {
		return errors.Join(err, b.Close())
	}
	return apply(b)
}

// leave deletes a delivery from its space. A from of 0 means that it is in none.
func leave(b *pebble.Batch, provider, event string, from byte, d *record.Delivery) error {
	if from == 0 {
		return nil
	}
	if err := b.Delete(laneKey(from, provider, event), nil); err != nil || from != spaceAgain {
		return err
	}
	if err := b.Delete(laneKey(spaceDue, provider, timed(d.Due, event)), nil); err != nil {
		return err
	}
	return b.Delete(laneKey(spaceBegun, provider, timed(d.Started, event)), nil)
}

func enter(b *pebble.Batch, provider, event string, to byte, d *record.Delivery) error {
	if err := b.Set(laneKey(to, provider, event), record.EncodeDelivery(d), nil); err != nil || to != spaceAgain {
		return err
	}
	if err := b.Set(laneKey(spaceDue, provider, timed(d.Due, event)), nil, nil); err != nil {
		return err
	}
	return b.Set(laneKey(spaceBegun, provider, timed(d.Started, event)), nil, nil)
}

// waitAgain lets go of a delivery that is in space r now.
func (l *lane) waitAgain(event string, d *record.Delivery) {
	l.begun = min(l.begun, timed(d.Started, event))
	l.letGo(event, &entry{pos: timed(d.Due, event), event: event, due: d.Due})
}
