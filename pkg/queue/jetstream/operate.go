package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// Stats are a provider's numbers. They cost the servers two short looks, however many deliveries there are.
func (q *Queue) Stats(ctx context.Context, provider string) (bellhop.Stats, error) {
	if err := record.CheckProvider(provider); err != nil {
		return bellhop.Stats{}, err
	}
	if err := q.start(); err != nil {
		return bellhop.Stats{}, err
	}
	defer q.end()
	q.settling.wait(ctx)
	depth, first, err := q.count(ctx, q.names.waiting(), q.names.delivery(kindWait, provider, anyone))
	if err != nil {
		return bellhop.Stats{}, err
	}
	dead, _, err := q.count(ctx, q.names.records(), q.names.delivery(kindDead, provider, anyone))
	if err != nil {
		return bellhop.Stats{}, err
	}
	s := bellhop.Stats{Depth: depth, Dead: dead}
	if first != nil {
		p, err := decodePointer("", first.Data)
		if err != nil {
			return bellhop.Stats{}, fmt.Errorf("reading the oldest delivery to %s: %w", provider, err)
		}
		s.Oldest = record.Moment(p.delivery.Started)
	}
	if until := q.pauses.get(provider).until; until > time.Now().UnixNano() {
		s.PausedUntil = record.Moment(until)
	}
	return s, nil
}

// Providers lists the providers with deliveries waiting or dead.
func (q *Queue) Providers(ctx context.Context) ([]string, error) {
	if err := q.start(); err != nil {
		return nil, err
	}
	defer q.end()
	q.settling.wait(ctx)
	known, err := q.listAll(ctx, q.names.records(), []string{q.names.known(anyone)})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range known {
		provider := last(m.Subject)
		n, _, err := q.count(ctx, q.names.waiting(), q.names.delivery(kindWait, provider, anyone))
		if err == nil && n == 0 {
			n, _, err = q.count(ctx, q.names.records(), q.names.delivery(kindDead, provider, anyone))
		}
		if err != nil {
			return nil, err
		}
		if n > 0 {
			names = append(names, provider)
		}
	}
	slices.Sort(names)
	return names, nil
}

// deadOne is a dead delivery.
type deadOne struct {
	provider, event string
	seq             uint64
	delivery        record.Delivery
}

// readDead reads a dead delivery; errNone if it is not dead.
func (q *Queue) readDead(ctx context.Context, provider, event string) (*deadOne, error) {
	m, err := q.latest(ctx, q.names.records(), q.names.delivery(kindDead, provider, event))
	if err != nil {
		return nil, err
	}
	d, err := record.DecodeDelivery(m.Data)
	if err != nil {
		return nil, fmt.Errorf("reading delivery %s: %w", bellhop.DeliveryID(event, provider), err)
	}
	return &deadOne{provider, event, m.Seq, d}, nil
}

// bury takes a dead delivery out of the records.
func (q *Queue) bury(ctx context.Context, d *deadOne) error {
	return q.remove(ctx, q.names.records(), d.seq)
}

// Retry makes dead deliveries due now.
func (q *Queue) Retry(ctx context.Context, ids ...string) error {
	return q.eachDead(ctx, "retrying", ids, func(d *deadOne) error {
		e, err := q.readPost(ctx, d.event)
		if err != nil {
			return err
		}
		is := d.delivery
		is.Restart(time.Now().UnixNano())
		if err := q.restart(ctx, e.ids()[0], d.event, d.provider, &is, strconv.FormatUint(d.seq, 10)); err != nil {
			return err
		}
		return q.bury(ctx, d)
	})
}

// restart publishes the record of a delivery that begins anew, and what makes it wait. The same again under the same
// reason changes nothing.
func (q *Queue) restart(ctx context.Context, post, event, provider string, d *record.Delivery, reason string) error {
	if err := q.record(ctx, provider, event, d); err != nil {
		return err
	}
	w := pointer{post: post, recorded: true, delivery: record.Delivery{
		Route: d.Route, Accepted: d.Accepted, Started: d.Started, Due: d.Due, Since: d.Since,
	}}
	_, err := q.publish(ctx, q.names.delivery(kindWait, provider, event), w.encode(event), bellhop.DeliveryID(event, provider)+" "+reason)
	return err
}

// record publishes what became of a delivery that is not done.
func (q *Queue) record(ctx context.Context, provider, event string, d *record.Delivery) error {
	future, err := q.sendRecord(q.names.delivery(kindTried, provider, event), encodeTried(stillWaiting, d), true)
	if err != nil {
		return err
	}
	_, err = await(ctx, future)
	return err
}

// Drop forgets dead deliveries.
func (q *Queue) Drop(ctx context.Context, ids ...string) error {
	return q.eachDead(ctx, "dropping", ids, func(d *deadOne) error {
		// A trace stays, so that the sender's second try does not bring it back.
		if err := q.record(ctx, d.provider, d.event, &d.delivery); err != nil {
			return err
		}
		return q.bury(ctx, d)
	})
}

// eachDead does something with dead deliveries, all of them, and returns what went wrong.
func (q *Queue) eachDead(ctx context.Context, doing string, ids []string, do func(*deadOne) error) error {
	if err := q.start(); err != nil {
		return err
	}
	defer q.end()
	q.settling.wait(ctx)
	var errs []error
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			errs = append(errs, err)
			break
		}
		err := fmt.Errorf("delivery %.80q is not dead: %w", id, bellhop.ErrNotFound)
		if event, provider, ok := record.SplitDeliveryID(id); ok && record.CheckEventID(event) == nil && record.CheckProvider(provider) == nil {
			var d *deadOne
			if d, err = q.readDead(ctx, provider, event); errors.Is(err, errNone) {
				err = fmt.Errorf("delivery %.80q is not dead: %w", id, bellhop.ErrNotFound)
			} else if err == nil {
				err = do(d)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", doing, err))
		}
	}
	return errors.Join(errs...)
}

// Replay delivers a stored event again. What still waits begins anew; what is just being delivered is delivered once
// more after that.
func (q *Queue) Replay(ctx context.Context, eventID string, to []bellhop.Target) ([]string, error) {
	if err := record.CheckEventID(eventID); err != nil {
		return nil, fmt.Errorf("replaying: %w: %w", err, bellhop.ErrNotFound)
	}
	if err := record.CheckTargets(to); err != nil {
		return nil, fmt.Errorf("replaying event %s: %w", eventID, err)
	}
	if err := q.start(); err != nil {
		return nil, err
	}
	defer q.end()
	q.settling.wait(ctx)
	p, err := q.readPost(ctx, eventID)
	if err != nil {
		return nil, fmt.Errorf("replaying: %w", err)
	}
	ids := make([]string, len(to))
	for i, t := range to {
		if err := q.replay(ctx, p, eventID, t); err != nil {
			return ids[:i], fmt.Errorf("replaying event %s to %s: %w", eventID, t.Provider, err)
		}
		ids[i] = bellhop.DeliveryID(eventID, t.Provider)
	}
	return ids, nil
}

func (q *Queue) replay(ctx context.Context, p *post, event string, t bellhop.Target) error {
	dead, err := q.readDead(ctx, t.Provider, event)
	if err != nil && !errors.Is(err, errNone) {
		return err
	}
	is := record.Delivery{Accepted: p.items[0].Accepted}
	if dead != nil {
		is = dead.delivery
	} else if m, err := q.latest(ctx, q.names.records(), q.names.delivery(kindTried, t.Provider, event)); err == nil {
		if _, is, err = decodeTried(m.Data); err != nil {
			return err
		}
	} else if !errors.Is(err, errNone) {
		return err
	}
	is.Route = t.Route
	is.Restart(time.Now().UnixNano())
	if _, err := q.publish(ctx, q.names.known(t.Provider), nil, ""); err != nil {
		return err
	}
	if l := q.lanes.get(t.Provider); l != nil {
		l.replayed(event, &is)
	}
	if err := q.restart(ctx, p.ids()[0], event, t.Provider, &is, strconv.FormatInt(is.Started, 10)); err != nil {
		return err
	}
	if dead != nil {
		return q.bury(ctx, dead)
	}
	return nil
}
