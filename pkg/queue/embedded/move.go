package embedded

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// Export yields all that is stored, kind by kind. Each is yielded as it is read.
func (q *Queue) Export(ctx context.Context) iter.Seq2[*bellhop.Stored, error] {
	return record.Exported(func(yield func(*bellhop.Stored) bool) error { return q.export(ctx, yield) })
}

func (q *Queue) export(ctx context.Context, yield func(*bellhop.Stored) bool) error {
	if err := q.begin(); err != nil {
		return err
	}
	defer q.end()
	more := yield(&bellhop.Stored{ID: q.ID()})
	for _, part := range []struct {
		space byte
		read  func(key, value []byte) (*bellhop.Stored, error)
	}{
		{spacePause, exportPause}, {spaceMemo, exportMemo}, {spaceEvent, q.exportEvent}, {spaceKey, q.exportKey},
	} {
		it, err := q.space(part.space)
		if err != nil {
			return err
		}
		for ok := it.First(); ok && more; ok = it.Next() {
			if err := ctx.Err(); err != nil {
				return closing(it, err)
			}
			s, err := part.read(it.Key(), it.Value())
			if err != nil {
				return closing(it, err)
			}
			more = s == nil || yield(s)
		}
		if err := closing(it, it.Error()); err != nil {
			return err
		}
	}
	return nil
}

func exportPause(key, value []byte) (*bellhop.Stored, error) {
	until, err := decodePause(value)
	return &bellhop.Stored{Provider: string(key[1:]), PausedUntil: record.Moment(until)}, err
}

func exportMemo(key, value []byte) (*bellhop.Stored, error) {
	provider, name, ok := splitLaneKey(key)
	if !ok {
		return nil, record.ErrDamaged
	}
	memo, err := record.DecodeMemo(value)
	if err != nil {
		return nil, fmt.Errorf("reading a memo of %s: %w", provider, err)
	}
	memo.Key = string(name)
	return &bellhop.Stored{Provider: string(provider), Memo: &memo}, nil
}

func (q *Queue) exportEvent(key, _ []byte) (*bellhop.Stored, error) {
	stored, err := q.readEvent(string(key[1:]))
	if err != nil {
		return nil, err
	}
	out := &bellhop.Stored{Event: &stored.Event}
	for _, t := range stored.Targets {
		space, d, err := q.locate(t.Provider, stored.Event.ID)
		if err != nil {
			return nil, err
		}
		if space != 0 {
			out.Deliveries = append(out.Deliveries, d.Show(stateOf(space), stored.Event.ID, t.Provider))
		}
	}
	return out, nil
}

// exportKey returns nil if the key's time is over.
func (q *Queue) exportKey(key, value []byte) (*bellhop.Stored, error) {
	expires, ids, err := decodeKeyRecord(value)
	if err != nil || expires <= q.now().UnixNano() {
		return nil, err
	}
	return &bellhop.Stored{Key: &bellhop.DuplicateKey{Key: string(key[1:]), IDs: ids, Expires: record.Moment(expires)}}, nil
}

// Import writes the parts in one batch.
func (q *Queue) Import(ctx context.Context, parts ...*bellhop.Stored) error {
	if err := record.CheckStored(parts); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := q.begin(); err != nil {
		return fmt.Errorf("importing: %w", err)
	}
	defer q.end()
	q.memos.RLock()
	defer q.memos.RUnlock()
	b := q.db.NewIndexedBatch()
	var arrivals []*arrival
	for _, s := range parts {
		a, err := q.importPart(ctx, b, s)
		if err != nil {
			return errors.Join(fmt.Errorf("importing: %w", err), b.Close())
		}
		if a != nil {
			arrivals = append(arrivals, a)
		}
	}
	for _, a := range arrivals {
		a.hold(q)
	}
	err := q.applyDurably(b)
	for _, a := range arrivals {
		a.land(q, err)
	}
	if err != nil {
		return fmt.Errorf("importing: %w", err)
	}
	return nil
}

// importPart adds a part to the batch. It returns an event that is new.
func (q *Queue) importPart(ctx context.Context, b *pebble.Batch, s *bellhop.Stored) (*arrival, error) {
	switch {
	case s.ID != "":
		return nil, q.adopt(s.ID)
	case s.Memo != nil:
		return nil, remember(b, s.Provider, s.Memo)
	case s.Event != nil:
		return newArrival(b, s)
	case s.Key != nil:
		return nil, q.importKey(b, s.Key)
	default:
		return nil, q.Pause(ctx, s.Provider, s.PausedUntil)
	}
}

// importKey adds a duplicate key to the batch, unless it is known.
func (q *Queue) importKey(b *pebble.Batch, k *bellhop.DuplicateKey) error {
	now := q.now().UnixNano()
	known, _, err := lookUpKey(b, string(eventKey(spaceKey, k.Key)))
	if err != nil || known > now {
		return err
	}
	expires := record.Nanos(k.Expires)
	return q.setKey(b, k.Key, appendKeyRecord(nil, expires, k.IDs), expires, now)
}

// adopt gives the store the id of another whose content it is about to hold.
func (q *Queue) adopt(id string) error {
	if id == q.ID() {
		return nil
	}
	it, err := q.space(spaceEvent)
	if err != nil {
		return err
	}
	used := it.First()
	if err := closing(it, it.Error()); err != nil {
		return err
	}
	if used {
		return fmt.Errorf("the store in %s has events of its own: give an empty one", q.dir)
	}
	if err := q.db.Set([]byte{spaceID}, []byte(id), pebble.Sync); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.id = id
	return nil
}

// arrival is an event on its way to the disk with its deliveries, whatever became of them elsewhere.
type arrival struct {
	id         string
	accepted   int64
	size       int64
	segment    *segment
	deliveries []arriving
}

type arriving struct {
	provider string
	space    byte
	d        record.Delivery
}

// newArrival adds an event to the batch; nil if it is there already.
func newArrival(b *pebble.Batch, s *bellhop.Stored) (*arrival, error) {
	a := &arrival{id: s.Event.ID, accepted: record.AcceptedOf(s)}
	switch _, closer, err := b.Get(eventKey(spaceEvent, a.id)); {
	case err == nil:
		return nil, closer.Close()
	case !errors.Is(err, pebble.ErrNotFound):
		return nil, err
	}
	packed := record.Packs.Get().(*[]byte)
	defer record.Packs.Put(packed)
	body, plain := record.Pack(packed, s.Event.Raw)
	r, err := record.AppendEvent(nil, s.Event, int64(len(body)), plain, a.accepted, record.TargetsOf(s))
	if err != nil {
		return nil, err
	}
	if err := setEvent(b, a.id, r, body); err != nil {
		return nil, err
	}
	a.size = int64(len(r) + len(body))
	for _, delivery := range s.Deliveries {
		d := record.Hidden(delivery)
		d.Size = a.size
		in := arriving{delivery.Provider, spaceOf(delivery.State), d}
		if in.space == spaceAgain && d.Fresh() {
			in.space = spaceFresh
			err = b.Set(laneKey(spaceFresh, in.provider, a.id), appendFresh(nil, d.Accepted, a.size, d.Route), nil)
		} else {
			err = enter(b, in.provider, a.id, in.space, &d)
		}
		if err != nil {
			return nil, err
		}
		a.deliveries = append(a.deliveries, in)
	}
	return a, nil
}

// hold keeps the event's deliveries from being taken, and its segment from being dropped, until it is durable.
func (a *arrival) hold(q *Queue) {
	a.segment = q.history.hold(a.id, a.accepted)
	for _, in := range a.deliveries {
		l := q.lanes.open(in.provider)
		l.mu.Lock()
		l.held[a.id] = nil
		l.mu.Unlock()
	}
}

// land counts the event in, unless it could not be written.
func (a *arrival) land(q *Queue, err error) {
	if err == nil {
		done := int64(len(a.deliveries))
		q.history.stored(a.segment, a.size, a.accepted, done)
		for _, in := range a.deliveries {
			done -= unfinished(in.space)
		}
		q.history.finished(a.id, done)
	}
	q.history.release(a.segment)
	for _, in := range a.deliveries {
		l := q.lanes.open(in.provider)
		l.mu.Lock()
		switch {
		case err != nil:
			delete(l.held, a.id)
		case in.space == spaceAgain:
			l.waitAgain(a.id, &in.d)
		case in.space == spaceFresh:
			l.letGo(a.id, &entry{pos: a.id, event: a.id, due: in.d.Due, fresh: true, route: in.d.Route, size: a.size})
		default:
			l.letGo(a.id, nil)
		}
		if err == nil {
			l.depth += waiting(in.space)
			l.dead += dead(in.space)
		}
		l.mu.Unlock()
	}
}
