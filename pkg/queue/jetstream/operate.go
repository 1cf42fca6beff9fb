package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// Stats are a provider's numbers. They cost the servers a few short looks.
func (q *Queue) Stats(ctx context.Context, provider string) (bellhop.Stats, error) {
	if err := record.CheckProvider(provider); err != nil {
		return bellhop.Stats{}, err
	}
	if err := q.start(); err != nil {
		return bellhop.Stats{}, err
	}
	defer q.end()
	q.settling.wait(ctx)
	b, err := q.backlog(ctx, provider)
	if err != nil {
		return bellhop.Stats{}, err
	}
	dead, _, err := q.count(ctx, q.names.records(), q.names.delivery(kindDead, provider, anyone), 0)
	if err != nil {
		return bellhop.Stats{}, err
	}
	s := bellhop.Stats{Depth: b.depth, Dead: dead}
	if b.first != nil {
		p, err := pointerOf(provider, "", b.first.Header)
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
	known, err := q.everKnown(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, provider := range known {
		b, err := q.backlog(ctx, provider)
		if err != nil {
			return nil, err
		}
		n := b.depth
		if n == 0 {
			if n, _, err = q.count(ctx, q.names.records(), q.names.delivery(kindDead, provider, anyone), 0); err != nil {
				return nil, err
			}
		}
		if n > 0 {
			names = append(names, provider)
		}
	}
	slices.Sort(names)
	return names, nil
}

// everKnown are the providers that were ever the target of an event.
func (q *Queue) everKnown(ctx context.Context) ([]string, error) {
	known, err := q.listAll(ctx, q.names.records(), []string{q.names.known(anyone)})
	if err != nil {
		return nil, err
	}
	names := make([]string, len(known))
	for i, m := range known {
		names[i] = last(m.Subject)
	}
	return names, nil
}

// backlog is what waits for a provider.
type backlog struct {
	depth int64
	first *stored // the oldest message of it, nil if nothing waits
	floor uint64  // all up to that sequence is done
}

func (q *Queue) backlog(ctx context.Context, provider string) (b backlog, err error) {
	is, err := q.progress(ctx, provider)
	if err != nil {
		return b, err
	}
	given := uint64(0) // up to where deliveries were ever given to a replica
	if is != nil {
		given, b.floor = is.Delivered.Stream, is.AckFloor.Stream
	}
	if b.depth, b.first, err = q.count(ctx, q.names.events(), q.names.deliveries(provider), given); err != nil || is == nil || is.NumAckPending == 0 {
		return b, err
	}
	b.depth += int64(is.NumAckPending)
	b.first, err = q.next(ctx, q.names.events(), q.names.deliveries(provider), b.floor)
	return b, err
}

// progress is how far a provider's deliveries are; nil if none was ever asked for.
func (q *Queue) progress(ctx context.Context, provider string) (*jetstream.ConsumerInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, q.o.patience)
	defer cancel()
	c, err := q.js.Consumer(ctx, q.names.events(), consumer(provider))
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("asking for consumer %s of stream %s: %w", consumer(provider), q.names.events(), err)
	}
	return c.CachedInfo(), nil
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
		p, err := q.readPost(ctx, d.event)
		if err != nil {
			return err
		}
		if _, err := q.restart(ctx, p, d.event, d.provider, &d.delivery, strconv.FormatUint(d.seq, 10)); err != nil {
			return err
		}
		return q.bury(ctx, d)
	})
}

// restart publishes a message with which a delivery begins anew, and then the record that makes the one before void. The
// same again for the same reason changes nothing, and returns nil.
func (q *Queue) restart(ctx context.Context, p *post, event, provider string, was *record.Delivery, reason string) (*anew, error) {
	is := *was
	is.Restart(max(time.Now().UnixNano(), was.Started+1))
	w := pointer{home: p.home, post: p.ids()[0], again: true, delivery: is}
	w.delivery.Log, w.delivery.Err, w.delivery.Note = nil, "", ""
	ack, err := q.publish(ctx, w.message(q.names.pointer(provider, event), provider, event, nil), digest(event, provider, reason))
	if err != nil || ack.Duplicate {
		return nil, err
	}
	r := retry{Delivery: is, seq: ack.Sequence}
	if err := q.record(ctx, kindRetry, provider, event, r.encode()); err != nil {
		return nil, err
	}
	q.tidy(ctx, provider, event) // it may be delivered already
	return &anew{is.Started, ack.Sequence}, nil
}

// record publishes what became of a delivery, and waits.
func (q *Queue) record(ctx context.Context, kind, provider, event string, message []byte) error {
	future, err := q.sendRecord(kind, provider, event, message)
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
		if err := q.record(ctx, kindDone, d.provider, d.event, encodeDone(isDropped, &d.delivery)); err != nil {
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

// Replay delivers a stored event again. What waits and was not tried since it began is left as it is; what this replica
// is just delivering is delivered once more after that; all else begins anew, and may come once before that if another
// replica is just delivering it or about to.
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
	v, err := q.lookUp(ctx, t.Provider, event)
	if err != nil {
		return err
	}
	l := q.lanes.get(t.Provider)
	if waits, err := q.waits(ctx, p, v, l.holding(event)); err != nil || waits {
		return err
	}
	was := record.Delivery{Accepted: p.items[0].Accepted, Started: p.items[0].Accepted}
	for _, d := range v.records() {
		was = *d
	}
	was.Route = t.Route
	if _, err := q.publish(ctx, &nats.Msg{Subject: q.names.known(t.Provider)}, ""); err != nil {
		return err
	}
	var here *entry
	if l != nil {
		here = l.withdraw(event)
	}
	by, err := q.restart(ctx, p, event, t.Provider, &was, strconv.FormatInt(time.Now().UnixNano(), 10))
	if err != nil {
		if here != nil {
			l.putBack(here)
		}
		return err
	}
	before := "" // the message that had the delivery, if it waited to be tried again or is just being delivered
	if v.retry != nil && !v.isOver() {
		before = v.retry.reply
	}
	if here != nil {
		before = here.msg.Reply()
	}
	if l != nil {
		if e := l.supersede(event, by); e != nil {
			before = e.msg.Reply()
		}
	}
	switch {
	case before != "":
		if err := q.acknowledge(ctx, before); err != nil {
			q.logger.Debug("giving up a delivery for its replay", "provider", t.Provider, "event", event, "error", err) // it comes again, and is void
		}
	case v.retry != nil && !v.isOver(): // imported, and nobody was ever given it
		return q.remove(ctx, q.names.events(), v.retry.seq)
	}
	return nil
}

// waits reports whether a delivery waits that was not tried since it began. What is being delivered here began at held; 0
// if nothing of it is.
func (q *Queue) waits(ctx context.Context, p *post, v *view, held int64) (bool, error) {
	subject, tried := q.names.pointer(v.provider, v.event), uint64(0)
	switch {
	case v.isUntried():
		if held != 0 {
			return false, nil
		}
		if v.provider == p.home {
			subject = q.names.event(v.provider, v.event)
		}
	case v.retry == nil || v.dead != nil || v.isOver():
		return false, nil
	case v.retry.reply == "" && v.retry.Untried():
		return v.retry.Started > held, nil
	case v.retry.Started < held:
		return false, nil
	default: // who was trying it when it began anew has written over the record of that, but there is another message
		tried = v.retry.seq
	}
	m, err := q.latest(ctx, q.names.events(), subject)
	if errors.Is(err, errNone) {
		return false, nil
	}
	return err == nil && m.Seq > tried, err
}
