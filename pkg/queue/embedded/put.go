package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// patience is how long a Put that is under way when trouble begins waits for a good end all the same.
const patience = time.Second

// Put stores a post in one batch: events, bodies, waiting deliveries, duplicate key. Pebble's log makes one
// fsync of the batches that come while the one before is being written.
//
// When the disk troubles, Put does not wait for its end: it returns ErrUnavailable, and the post may be
// stored later all the same. The sender's second try is a duplicate then.
func (q *Queue) Put(ctx context.Context, p *bellhop.Post) (bellhop.Receipt, error) {
	if err := record.CheckPost(p); err != nil {
		return bellhop.Receipt{}, err
	}
	if err := ctx.Err(); err != nil {
		return bellhop.Receipt{}, err
	}
	if err := q.begin(); err != nil {
		return bellhop.Receipt{}, fmt.Errorf("%w: %w", bellhop.ErrUnavailable, err)
	}
	ended := false // the operation goes on behind a Put that returned early
	defer func() {
		if !ended {
			q.end()
		}
	}()
	if err := q.disk.healthy(); err != nil {
		return bellhop.Receipt{}, err
	}

	now := q.now().UnixNano()
	var key string
	var mine *flight
	if p.Key != "" && p.Window > 0 {
		key = string(eventKey(spaceKey, p.Key))
		var err error
		var ids []string
		if mine, ids, err = q.claimKey(ctx, key, now); err != nil {
			return bellhop.Receipt{}, err
		}
		if mine == nil {
			return bellhop.Receipt{Duplicate: true, IDs: ids}, nil
		}
	}

	w, err := q.write(p, now)
	if err != nil {
		if mine != nil {
			q.flights.land(key, mine, err)
		}
		return bellhop.Receipt{}, err
	}
	q.disk.accepted(w.batch.Len())
	done := make(chan error, 1)
	ended = true
	go func() {
		defer q.end()
		err := q.commit(w)
		if mine != nil {
			q.flights.land(key, mine, err)
		}
		done <- err
	}()
	if err := q.await(done); err != nil {
		return bellhop.Receipt{}, err
	}
	return bellhop.Receipt{IDs: w.ids}, nil
}

// claimKey begins a flight with a duplicate key. A nil flight means a duplicate of the events with these ids.
func (q *Queue) claimKey(ctx context.Context, key string, now int64) (*flight, []string, error) {
	for {
		mine, other := q.flights.board(key)
		if mine != nil {
			if !q.filter.mayHold(key, now) {
				return mine, nil, nil
			}
			expires, ids, err := lookUpKey(q.db, key)
			if err == nil && expires <= now {
				return mine, nil, nil
			}
			q.flights.land(key, mine, errors.New("not a first delivery"))
			return nil, ids, err
		}
		// It is durable or has failed soon; what it was is found out by another look.
		troubled := q.disk.troubled()
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-troubled:
			if err := q.disk.healthy(); err != nil {
				return nil, nil, err
			}
		}
	}
}

// lookUpKey reads a duplicate key; expires is 0 if there is none.
func lookUpKey(from pebble.Reader, key string) (expires int64, ids []string, err error) {
	v, closer, err := from.Get([]byte(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("looking for a duplicate: %w", err)
	}
	expires, ids, err = decodeKeyRecord(v)
	if err != nil {
		err = fmt.Errorf("looking for a duplicate: %w", err)
	}
	return expires, ids, errors.Join(err, closer.Close())
}

// writing is a post on its way to the disk.
type writing struct {
	batch *pebble.Batch
	ids   []string
	items []writingItem
}

type writingItem struct {
	size    int64
	segment *segment
	entries []laneEntry
}

type laneEntry struct {
	lane *lane
	entry
}

// scratch holds event records while they are built.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

// write builds the batch of a post and holds its deliveries and its segment, so that nothing of it is taken
// or dropped before it is durable. The bodies are copied here and not again by us.
func (q *Queue) write(p *bellhop.Post, now int64) (_ *writing, err error) {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	packed := record.Packs.Get().(*[]byte)
	defer record.Packs.Put(packed)

	w := &writing{batch: q.db.NewBatch(), ids: make([]string, len(p.Items)), items: make([]writingItem, len(p.Items))}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.batch.Close())
		}
	}()
	for i := range p.Items {
		e, to := p.Items[i].Event, p.Items[i].To
		id := strings.Clone(e.ID)
		w.ids[i] = id
		body, plain := record.Pack(packed, e.Raw)
		record, err := record.AppendEvent((*buf)[:0], e, int64(len(body)), plain, now, to)
		if err != nil {
			return nil, err
		}
		*buf = record
		if err := setEvent(w.batch, id, record, body); err != nil {
			return nil, err
		}
		item := &w.items[i]
		item.size = int64(len(record) + len(body))
		item.entries = make([]laneEntry, len(to))
		for j, t := range to {
			l := q.lanes.open(t.Provider)
			item.entries[j] = laneEntry{l, entry{
				pos: id, event: id, due: now, fresh: true, route: strings.Clone(t.Route), size: item.size,
			}}
			op := w.batch.SetDeferred(len(l.name)+2+len(id), freshLen(item.size, t.Route))
			k := append(op.Key[:0], spaceFresh)
			k = append(append(k, l.name...), 0)
			copy(op.Key[len(k):], id)
			appendFresh(op.Value[:0], now, item.size, t.Route)
			if err := op.Finish(); err != nil {
				return nil, err
			}
		}
	}
	if p.Key != "" && p.Window > 0 {
		*buf = appendKeyRecord((*buf)[:0], now+int64(p.Window), w.ids)
		if err := q.setKey(w.batch, p.Key, *buf, now+int64(p.Window), now); err != nil {
			return nil, err
		}
	}
	for i := range w.items {
		item := &w.items[i]
		item.segment = q.history.hold(w.ids[i], now)
		for _, e := range item.entries {
			e.lane.mu.Lock()
			e.lane.held[e.event] = nil
			e.lane.mu.Unlock()
		}
	}
	return w, nil
}

// setKey sets a duplicate key's record, and when it expires.
func (q *Queue) setKey(b *pebble.Batch, key string, record []byte, expires, now int64) error {
	q.filter.add(string(eventKey(spaceKey, key)), expires, now)
	if err := setText(b, spaceKey, key, record, nil); err != nil {
		return err
	}
	op := b.SetDeferred(1+timeLen+len(key), 0)
	copy(op.Key[len(appendTime(append(op.Key[:0], spaceExpiry), expires)):], key)
	return op.Finish()
}

// setEvent sets an event's record and its body, in one value if the body is not large.
func setEvent(b *pebble.Batch, id string, record, body []byte) error {
	if len(body) <= inlineBody {
		return setText(b, spaceEvent, id, record, body)
	}
	if err := setText(b, spaceEvent, id, record, nil); err != nil {
		return err
	}
	return setText(b, spaceBody, id, body, nil)
}

// setText sets space+text to head+tail without building key or value elsewhere.
func setText(b *pebble.Batch, space byte, text string, head, tail []byte) error {
	op := b.SetDeferred(1+len(text), len(head)+len(tail))
	op.Key[0] = space
	copy(op.Key[1:], text)
	copy(op.Value[copy(op.Value, head):], tail)
	return op.Finish()
}

// commit writes a post durably and then makes its deliveries due.
func (q *Queue) commit(w *writing) error {
	err := q.applyDurably(w.batch)
	now := q.now().UnixNano()
	for i := range w.items {
		item := &w.items[i]
		if err == nil {
			q.history.stored(item.segment, item.size, now, int64(len(item.entries)))
		}
		q.history.release(item.segment)
		for _, e := range item.entries {
			e.lane.mu.Lock()
			if err == nil {
				e.lane.depth++
				e.lane.letGo(e.event, &e.entry)
			} else {
				e.lane.letGo(e.event, nil)
			}
			e.lane.mu.Unlock()
		}
	}
	return err
}

// applyDurably commits a batch and returns once it is on disk. An error means that it may or may not be.
func (q *Queue) applyDurably(b *pebble.Batch) error {
	err := q.db.ApplyNoSyncWait(b, pebble.Sync)
	if err == nil {
		err = b.SyncWait()
	}
	if err != nil {
		return fmt.Errorf("%w: writing: %w", bellhop.ErrUnavailable, err)
	}
	return b.Close()
}

// await waits for the end of a commit, in trouble no longer than patience.
func (q *Queue) await(done <-chan error) error {
	for {
		select {
		case err := <-done:
			return err
		case <-q.disk.troubled():
		}
		timer := time.NewTimer(patience)
		select {
		case err := <-done:
			timer.Stop()
			return err
		case <-timer.C:
		}
		if err := q.disk.healthy(); err != nil {
			return err
		}
	}
}

// durably is applyDurably for those who must not wait for the end of trouble. Afterwards, however late, then
// is called with the outcome.
func (q *Queue) durably(b *pebble.Batch, then func(error)) error {
	if err := q.begin(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer q.end()
		err := q.applyDurably(b)
		then(err)
		done <- err
	}()
	return q.await(done)
}

// closing closes c and returns the first error.
func closing(c io.Closer, err error) error {
	if cerr := c.Close(); err == nil {
		err = cerr
	}
	return err
}
