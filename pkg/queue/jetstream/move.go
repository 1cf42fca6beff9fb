package jetstream

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// Export yields all that is stored, events as they are read.
func (q *Queue) Export(ctx context.Context) iter.Seq2[*bellhop.Stored, error] {
	return record.Exported(func(yield func(*bellhop.Stored) bool) error { return q.export(ctx, yield) })
}

func (q *Queue) export(ctx context.Context, yield func(*bellhop.Stored) bool) error {
	if err := q.start(); err != nil {
		return err
	}
	defer q.end()
	q.settling.wait(ctx)
	if !yield(&bellhop.Stored{ID: q.ID()}) {
		return nil
	}
	for _, part := range []struct {
		stream, subject string
		read            func(context.Context, []*stored, func(*bellhop.Stored) bool) (bool, error)
	}{
		{q.names.records(), q.names.pause(anyone), exportPauses},
		{q.names.records(), q.names.subject("memo", anyone, anyone), exportMemos},
		{q.names.events(), q.names.event(anyone, anyone), q.exportEvents},
		{q.names.events(), q.names.keys(), q.exportKeys},
	} {
		for found, err := range q.pages(ctx, part.stream, part.subject, 0, window) {
			if err != nil {
				return err
			}
			if goOn, err := part.read(ctx, found, yield); err != nil || !goOn {
				return err
			}
		}
	}
	return nil
}

func exportPauses(_ context.Context, found []*stored, yield func(*bellhop.Stored) bool) (bool, error) {
	for _, m := range found {
		until, ok := pausedUntil(m.Data)
		if !ok {
			return false, record.ErrDamaged
		}
		if until != 0 && !yield(&bellhop.Stored{Provider: last(m.Subject), PausedUntil: record.Moment(until)}) {
			return false, nil
		}
	}
	return true, nil
}

func exportMemos(_ context.Context, found []*stored, yield func(*bellhop.Stored) bool) (bool, error) {
	for _, m := range found {
		provider, memo, err := decodeMemo(m)
		if err != nil {
			return false, err
		}
		if !yield(&bellhop.Stored{Provider: provider, Memo: &memo}) {
			return false, nil
		}
	}
	return true, nil
}

func (q *Queue) exportEvents(ctx context.Context, found []*stored, yield func(*bellhop.Stored) bool) (bool, error) {
	posts := make([]*post, len(found))
	var es []listed
	for i, m := range found {
		var err error
		if posts[i], err = q.names.post(m); err != nil {
			return false, err
		}
		es = append(es, posts[i].listing(m.Seq)...)
	}
	vs, err := q.views(ctx, "", es)
	if err != nil {
		return false, err
	}
	for _, p := range posts {
		key := p.duplicateKey(time.Now().UnixNano())
		for _, id := range p.ids() {
			e, err := q.unpack(ctx, p, id)
			if err != nil {
				return false, err
			}
			s := &bellhop.Stored{Event: e}
			for _, v := range vs[id] {
				if d := v.show(); d != nil {
					s.Deliveries = append(s.Deliveries, d)
				}
				if v.isCutOff() { // nobody would complete it elsewhere: the sender, who had no answer, begins anew
					key = nil
				}
			}
			if !yield(s) {
				return false, nil
			}
		}
		if key != nil && !yield(&bellhop.Stored{Key: key}) {
			return false, nil
		}
	}
	return true, nil
}

func (q *Queue) exportKeys(_ context.Context, found []*stored, yield func(*bellhop.Stored) bool) (bool, error) {
	for _, m := range found {
		p, err := q.names.post(m)
		if err != nil {
			return false, err
		}
		if k := p.duplicateKey(time.Now().UnixNano()); k != nil && !yield(&bellhop.Stored{Key: k}) {
			return false, nil
		}
	}
	return true, nil
}

// Import publishes what leads to the events, then the events: where an event is, all of it is. Their keys come last:
// what is recognised as a duplicate is there.
func (q *Queue) Import(ctx context.Context, parts ...*bellhop.Stored) error {
	if err := record.CheckStored(parts); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := q.start(); err != nil {
		return fmt.Errorf("importing: %w", err)
	}
	defer q.end()
	if err := q.importAll(ctx, parts); err != nil {
		return fmt.Errorf("importing: %w", err)
	}
	return nil
}

func (q *Queue) importAll(ctx context.Context, parts []*bellhop.Stored) error {
	var arrivals []*nats.Msg
	var keys []*bellhop.DuplicateKey
	var acks acks
	there, err := q.areStored(ctx, parts)
	if err != nil {
		return err
	}
	for i, s := range parts {
		var err error
		switch {
		case s.ID != "":
			err = q.adopt(ctx, s.ID)
		case s.Memo != nil:
			err = q.remember(ctx, s.Provider, s.Memo)
		case s.Key != nil:
			keys = append(keys, s.Key)
		case s.Event == nil:
			err = q.Pause(ctx, s.Provider, s.PausedUntil)
		default:
			if there[i] {
				break
			}
			p := &bellhop.Post{Items: []bellhop.Item{{Event: s.Event, To: record.TargetsOf(s)}}}
			var message []byte
			if message, err = q.encode(ctx, p, record.AcceptedOf(s)); err == nil {
				// Nobody's: it has pointers, if any of it waits.
				arrivals = append(arrivals, &nats.Msg{Subject: q.names.event(nobody, s.Event.ID), Data: message})
				err = q.importDeliveries(ctx, s, &acks)
			}
		}
		if err != nil {
			return err
		}
	}
	if err := acks.wait(ctx); err != nil {
		return err
	}
	for _, m := range arrivals {
		if err := acks.add(q.send(m, "")); err != nil {
			return err
		}
	}
	if err := acks.wait(ctx); err != nil {
		return err
	}
	return q.importKeys(ctx, keys)
}

// importKeys publishes the duplicate keys, all at once, of which those that are known stay as they are. They are
// messages of their own: an imported event is one of a post that may have several, or is not stored any more. The server
// counts its window from now on, the message says when the key's time is over.
func (q *Queue) importKeys(ctx context.Context, keys []*bellhop.DuplicateKey) error {
	now, errs := time.Now(), make([]error, len(keys))
	var longest time.Duration
	for _, k := range keys {
		longest = max(longest, k.Expires.Sub(now))
	}
	const day = 24 * time.Hour // what remains grows from batch to batch
	if longest = (longest + day - 1).Truncate(day); q.lacks(longest) {
		q.lengthen(ctx, longest)
	}
	var published sync.WaitGroup
	for i, k := range keys {
		published.Go(func() {
			is := &post{isKey: true}
			for _, id := range k.IDs {
				is.items = append(is.items, &record.Event{Event: bellhop.Event{ID: id}, Accepted: now.UnixNano()})
			}
			_, err := q.claim(ctx, &nats.Msg{Subject: q.names.key(k.Key), Data: encodeKey(k)}, k.Key, is)
			if !errors.Is(err, errNone) { // else the server knows it, though not by what
				errs[i] = err
			}
		})
	}
	published.Wait()
	return errors.Join(errs...)
}

// areStored reports of each part whether it is an event that is there. The leader is asked for all at once.
func (q *Queue) areStored(ctx context.Context, parts []*bellhop.Stored) ([]bool, error) {
	there, errs := make([]bool, len(parts)), make([]error, len(parts))
	var asked sync.WaitGroup
	for i, s := range parts {
		if s.Event != nil {
			asked.Go(func() { there[i], errs[i] = q.isStored(ctx, s.Event.ID) })
		}
	}
	asked.Wait()
	return there, errors.Join(errs...)
}

// isStored reports whether an event is there, the first of its post or a later one.
func (q *Queue) isStored(ctx context.Context, id string) (bool, error) {
	for _, at := range []struct{ stream, subject string }{
		{q.names.events(), q.names.event(anyone, id)}, {q.names.records(), q.names.alias(id)},
	} {
		if _, err := q.latest(ctx, at.stream, at.subject); !errors.Is(err, errNone) {
			return err == nil, err
		}
	}
	return false, nil
}

func (q *Queue) importDeliveries(ctx context.Context, s *bellhop.Stored, acks *acks) error {
	event := s.Event.ID
	for _, shown := range s.Deliveries {
		d := record.Hidden(shown)
		if err := acks.add(q.send(&nats.Msg{Subject: q.names.known(shown.Provider)}, "")); err != nil {
			return err
		}
		var err error
		switch shown.State {
		case bellhop.Delivered:
			err = acks.add(q.sendRecord(kindDone, shown.Provider, event, encodeDone(isDelivered, &d)))
		case bellhop.Dead:
			err = acks.add(q.sendRecord(kindDead, shown.Provider, event, record.EncodeDelivery(&d)))
		default:
			w := pointer{home: nobody, post: event, again: !d.Fresh(), delivery: d}
			w.delivery.Log, w.delivery.Err = nil, ""
			m, id := w.message(q.names.pointer(shown.Provider, event), shown.Provider, event, nil), digest(event, shown.Provider, "import")
			if !w.again {
				err = acks.add(q.send(m, id))
				break
			}
			var ack *jetstream.PubAck
			if ack, err = q.publish(ctx, m, id); err == nil {
				r := retry{Delivery: d, seq: ack.Sequence}
				err = acks.add(q.sendRecord(kindRetry, shown.Provider, event, r.encode()))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// adopt gives the store the id of another whose content it is about to hold.
func (q *Queue) adopt(ctx context.Context, id string) error {
	if id == q.ID() {
		return nil
	}
	n, _, err := q.count(ctx, q.names.events(), q.names.event(anyone, anyone), 0)
	if err != nil {
		return err
	}
	if n > 0 {
		return fmt.Errorf("the streams of prefix %s have events of their own: give another ?prefix=", q.names)
	}
	if _, err := q.publish(ctx, &nats.Msg{Subject: q.names.id(), Data: []byte(id)}, ""); err != nil {
		return err
	}
	q.id.Store(&id)
	return nil
}

// acks are acknowledgements that are waited for.
type acks []jetstream.PubAckFuture

func (a *acks) add(ack jetstream.PubAckFuture, err error) error {
	if err == nil {
		*a = append(*a, ack)
	}
	return err
}

// wait waits for all and forgets them.
func (a *acks) wait(ctx context.Context) error {
	for _, ack := range *a {
		if _, err := await(ctx, ack); err != nil {
			return err
		}
	}
	*a = nil
	return nil
}
