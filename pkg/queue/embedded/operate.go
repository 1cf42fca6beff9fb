package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// Pause holds back a provider's deliveries at once, and returns when that is durable. They are held back all the
// same if it cannot be made so.
func (q *Queue) Pause(_ context.Context, provider string, until time.Time) error {
	if err := record.CheckProvider(provider); err != nil {
		return fmt.Errorf("pausing: %w", err)
	}
	if err := q.begin(); err != nil {
		return fmt.Errorf("pausing %s: %w", provider, err)
	}
	defer q.end()
	l := q.lanes.open(provider)
	l.changes.Lock()
	defer l.changes.Unlock()

	l.mu.Lock()
	ns := record.Nanos(until)
	if ns != 0 {
		ns = max(ns, l.paused) // written once more, since it may not be durable
	}
	l.paused = ns
	l.wake() // whoever wakes waits for the new end
	l.mu.Unlock()

	b := q.db.NewBatch()
	key := eventKey(spacePause, provider)
	var err error
	if ns == 0 {
		err = b.Delete(key, nil)
	} else {
		err = b.Set(key, appendTime([]byte{record.Format1}, ns), nil)
	}
	if err != nil {
		err = errors.Join(err, b.Close())
	} else {
		err = q.durably(b, func(error) {})
	}
	if err != nil {
		return fmt.Errorf("pausing %s: %w", provider, err)
	}
	return nil
}

// Stats are a provider's numbers, kept in memory; the age of the oldest costs up to two short reads.
func (q *Queue) Stats(_ context.Context, provider string) (bellhop.Stats, error) {
	if err := q.begin(); err != nil {
		return bellhop.Stats{}, err
	}
	defer q.end()
	l := q.lanes.get(provider)
	if l == nil {
		return bellhop.Stats{}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := bellhop.Stats{Depth: l.depth, Dead: l.dead}
	if l.paused > q.now().UnixNano() {
		s.PausedUntil = record.Moment(l.paused)
	}
	if l.depth == 0 {
		return s, nil
	}
	oldest, err := l.oldest(q.db)
	if err != nil {
		return s, fmt.Errorf("looking for the oldest delivery to %s: %w", provider, err)
	}
	s.Oldest = record.Moment(oldest)
	return s, nil
}

// oldest is when the oldest waiting delivery began to count; 0 if none waits.
func (l *lane) oldest(db *pebble.DB) (int64, error) {
	var oldest int64
	consider := func(t int64) {
		if oldest == 0 || t < oldest {
			oldest = t
		}
	}
	if err := l.fill(db, &l.fresh); err != nil {
		return 0, err
	}
	if f := l.fresh.first(); f != nil {
		consider(f.due)
	}
	for _, s := range l.held {
		if s != nil && s.fresh {
			consider(s.due)
		}
	}
	if l.begun == noneBegun {
		return oldest, nil
	}
	prefix := lanePrefix(spaceBegun, l.name)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: append(slices.Clone(prefix), l.begun...), UpperBound: after(prefix)})
	if err != nil {
		return 0, err
	}
	// What comes before is gone: the next look begins here.
	l.begun = noneBegun
	if it.First() {
		l.begun = string(it.Key()[len(prefix):])
		t, ok := timeOf([]byte(l.begun))
		if !ok {
			return 0, closing(it, record.ErrDamaged)
		}
		consider(t)
	}
	return oldest, closing(it, it.Error())
}

// Providers lists the providers with deliveries waiting or dead.
func (q *Queue) Providers(context.Context) ([]string, error) {
	if err := q.begin(); err != nil {
		return nil, err
	}
	defer q.end()
	var names []string
	for _, l := range q.lanes.all() {
		l.mu.Lock()
		if l.depth+l.dead > 0 {
			names = append(names, l.name)
		}
		l.mu.Unlock()
	}
	return names, nil
}

// Retry makes dead deliveries due now.
func (q *Queue) Retry(ctx context.Context, ids ...string) error {
	return q.eachDead(ctx, "retrying", ids, func(l *lane, event string, d record.Delivery) error {
		is := d
		is.Restart(q.now().UnixNano())
		return q.change(l, event, spaceDead, &d, spaceAgain, &is)
	})
}

// Drop forgets dead deliveries.
func (q *Queue) Drop(ctx context.Context, ids ...string) error {
	return q.eachDead(ctx, "dropping", ids, func(l *lane, event string, d record.Delivery) error {
		return q.change(l, event, spaceDead, &d, 0, nil)
	})
}

// eachDead does something with dead deliveries, all of them, and returns what went wrong.
func (q *Queue) eachDead(ctx context.Context, doing string, ids []string, do func(*lane, string, record.Delivery) error) error {
	if err := q.begin(); err != nil {
		return err
	}
	defer q.end()
	var errs []error
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			errs = append(errs, err)
			break
		}
		if err := q.oneDead(id, do); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", doing, err))
		}
	}
	return errors.Join(errs...)
}

func (q *Queue) oneDead(id string, do func(*lane, string, record.Delivery) error) error {
	event, provider, ok := record.SplitDeliveryID(id)
	l := q.lanes.get(provider)
	if !ok || l == nil {
		return fmt.Errorf("delivery %.80q is not dead: %w", id, bellhop.ErrNotFound)
	}
	l.changes.Lock()
	defer l.changes.Unlock()
	d, err := q.readDelivery(spaceDead, provider, event)
	if errors.Is(err, bellhop.ErrNotFound) {
		return fmt.Errorf("delivery %.80q is not dead: %w", id, bellhop.ErrNotFound)
	}
	if err != nil {
		return err
	}
	return do(l, event, d)
}

// change moves a delivery that is not held from one space to another, durably. The caller holds l.changes;
// a from of 0 means that there was none, a to of 0 that there is none any more.
func (q *Queue) change(l *lane, event string, from byte, was *record.Delivery, to byte, is *record.Delivery) error {
	l.mu.Lock()
	l.held[event] = nil
	l.mu.Unlock()

	return q.move(l.name, event, from, was, to, is, func(b *pebble.Batch) error {
		return q.durably(b, func(err error) {
			if err == nil {
				q.history.finished(event, unfinished(from)-unfinished(to))
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			if err != nil {
				delete(l.held, event)
				return
			}
			l.depth += waiting(to) - waiting(from)
			l.dead += dead(to) - dead(from)
			if to == spaceAgain {
				l.waitAgain(event, is)
			} else {
				l.letGo(event, nil)
			}
		})
	})
}

// What a delivery in a space counts for.
func waiting(space byte) int64 { return count(space == spaceFresh || space == spaceAgain) }
func dead(space byte) int64    { return count(space == spaceDead) }

func unfinished(space byte) int64 { return waiting(space) + dead(space) }

func count(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Replay delivers a stored event again. What still waits begins anew; what is just being delivered is
// delivered once more after that.
func (q *Queue) Replay(ctx context.Context, eventID string, to []bellhop.Target) ([]string, error) {
	if err := record.CheckEventID(eventID); err != nil {
		return nil, fmt.Errorf("replaying: %w: %w", err, bellhop.ErrNotFound)
	}
	if err := record.CheckTargets(to); err != nil {
		return nil, fmt.Errorf("replaying event %s: %w", eventID, err)
	}
	if err := q.begin(); err != nil {
		return nil, err
	}
	defer q.end()

	q.replaying.Lock() // the event's targets are read and written
	defer q.replaying.Unlock()
	s := q.history.hold(eventID, 0)
	defer q.history.release(s)

	stored, err := q.readEvent(eventID)
	if err != nil {
		return nil, fmt.Errorf("replaying: %w", err)
	}
	if err := q.addTargets(stored, to); err != nil {
		return nil, fmt.Errorf("replaying event %s: %w", eventID, err)
	}
	ids := make([]string, len(to))
	for i, t := range to {
		if err := ctx.Err(); err != nil {
			return ids[:i], err
		}
		if err := q.replayTo(stored, t); err != nil {
			return ids[:i], fmt.Errorf("replaying event %s to %s: %w", eventID, t.Provider, err)
		}
		ids[i] = bellhop.DeliveryID(eventID, t.Provider)
	}
	return ids, nil
}

// addTargets records the targets that the event did not have.
func (q *Queue) addTargets(stored *record.Event, to []bellhop.Target) error {
	targets := slices.Clone(stored.Targets)
	for _, t := range to {
		if !slices.ContainsFunc(targets, func(o bellhop.Target) bool { return o.Provider == t.Provider }) {
			targets = append(targets, t)
		}
	}
	if len(targets) == len(stored.Targets) {
		return nil
	}
	var body, buf []byte
	size, plain := stored.Size, stored.Plain
	if stored.Size <= inlineBody {
		body, plain = record.Pack(&buf, stored.Event.Raw)
		size = int64(len(body))
	}
	record, err := record.AppendEvent(nil, &stored.Event, size, plain, stored.Accepted, targets)
	if err != nil {
		return err
	}
	record = append(record, body...)
	b := q.db.NewBatch()
	if err := b.Set(eventKey(spaceEvent, stored.Event.ID), record, nil); err != nil {
		return errors.Join(err, b.Close())
	}
	return q.applySoon(b) // in the log before the deliveries, so as durable as they are
}

func (q *Queue) replayTo(stored *record.Event, t bellhop.Target) error {
	l := q.lanes.open(t.Provider)
	l.changes.Lock()
	defer l.changes.Unlock()
	event := stored.Event.ID
	again := &replay{route: &t.Route, at: q.now().UnixNano()}

	l.mu.Lock()
	for {
		s, held := l.held[event]
		if !held {
			break
		}
		if s == nil { // a Put that is not done yet, or an operator's change that is not durable yet
			l.mu.Unlock()
			return fmt.Errorf("it is being stored: %w", bellhop.ErrUnavailable)
		}
		if !s.settled {
			s.replay = again
			l.mu.Unlock()
			return nil
		}
		l.settled.Wait()
	}
	l.held[event] = nil // so that nobody takes it while it is looked at
	inFresh, inAgain := l.fresh.take(event), l.again.take(event)
	l.mu.Unlock()

	from, was, err := q.locate(t.Provider, event)
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.letGo(event, inFresh)
		l.letGo(event, inAgain)
		return err
	}
	is := record.Delivery{Accepted: stored.Accepted, Size: stored.Size}
	if from != 0 {
		is = was
	}
	restart(&is, again)
	return q.change(l, event, from, &was, spaceAgain, &is)
}

// locate finds the space a delivery is in, 0 if in none.
func (q *Queue) locate(provider, event string) (space byte, d record.Delivery, err error) {
	for _, space := range deliverySpaces {
		d, err := q.readDelivery(space, provider, event)
		if err == nil {
			return space, d, nil
		}
		if !errors.Is(err, bellhop.ErrNotFound) {
			return 0, record.Delivery{}, err
		}
	}
	return 0, record.Delivery{}, nil
}
