package embedded

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// load rebuilds what is kept in memory: counts, pauses, segments. It reads the small keys of what is waiting
// or dead and the records of segments, but neither events (the last segment's excepted) nor bodies.
func (q *Queue) load() error {
	q.flights.init()
	q.filter.init()
	if err := q.loadID(); err != nil {
		return fmt.Errorf("reading the store's id: %w", err)
	}
	if err := q.loadSegments(); err != nil {
		return fmt.Errorf("reading the history: %w", err)
	}
	for _, space := range [...]byte{spaceFresh, spaceAgain, spaceDead} {
		if err := q.loadDeliveries(space); err != nil {
			return fmt.Errorf("reading the deliveries: %w", err)
		}
	}
	if err := q.loadDone(); err != nil {
		return fmt.Errorf("reading the history: %w", err)
	}
	if err := q.loadPauses(); err != nil {
		return fmt.Errorf("reading the pauses: %w", err)
	}
	return nil
}

// loadID reads the store's id, or makes one. A new one goes into a table at once: what is in the log must be
// written once more when the store is opened, for which a full disk has no room.
func (q *Queue) loadID() error {
	key := []byte{spaceID}
	v, closer, err := q.db.Get(key)
	switch {
	case err == nil:
		q.id = string(v)
		return closer.Close()
	case errors.Is(err, pebble.ErrNotFound):
		q.id = rand.Text()
		return errors.Join(q.db.Set(key, []byte(q.id), pebble.Sync), q.db.Flush())
	}
	return err
}

func (q *Queue) space(space byte) (*pebble.Iterator, error) {
	return q.db.NewIter(&pebble.IterOptions{LowerBound: []byte{space}, UpperBound: []byte{space + 1}})
}

// loadSegments restores the recorded segments and cuts what lies between and behind them into new ones.
func (q *Queue) loadSegments() error {
	it, err := q.space(spaceSegment)
	if err != nil {
		return err
	}
	h := &q.history
	h.segments = nil
	begin := "" // what lies before is in segments
	for ok := it.First(); ok; ok = it.Next() {
		s, end, err := decodeSegment(string(it.Key()[1:]), it.Value())
		if err != nil {
			return closing(it, err)
		}
		if s.first > begin {
			if err := q.loadEvents(begin, s.first); err != nil {
				return closing(it, err)
			}
		}
		h.segments = append(h.segments, s)
		begin, h.last = end, end
	}
	if err := closing(it, it.Error()); err != nil {
		return err
	}
	return q.loadEvents(begin, "")
}

// loadEvents cuts the events from first up to end (empty: all) into segments. A last segment always follows.
func (q *Queue) loadEvents(first, end string) error {
	lower, upper := segmentRange(spaceEvent, first, end)
	it, err := q.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	h := &q.history
	var s *segment
	for ok := it.First(); ok; ok = it.Next() {
		stored, err := record.DecodeEvent(it.Value())
		if err != nil {
			return closing(it, err)
		}
		id := string(it.Key()[1:])
		if s != nil && (s.bytes >= h.size || stored.Accepted-s.began > int64(h.span)) {
			s.sealed, s = true, nil
		}
		if s == nil {
			s = &segment{first: id, began: stored.Accepted, measured: -1}
			h.segments = append(h.segments, s)
		}
		s.bytes += int64(len(it.Value())-len(stored.Inline)) + stored.Size
		s.newest = max(s.newest, stored.Accepted)
		h.last = id
	}
	switch {
	case end == "" && s == nil:
		h.segments = append(h.segments, &segment{first: first, measured: -1})
	case end != "" && s != nil:
		s.sealed = true
	}
	return closing(it, it.Error())
}

// loadDeliveries counts the deliveries of a space.
func (q *Queue) loadDeliveries(space byte) error {
	it, err := q.space(space)
	if err != nil {
		return err
	}
	h := &q.history
	var l *lane
	at := 0 // the segment of the event before: events come in order
	for ok := it.First(); ok; ok = it.Next() {
		provider, event, ok := splitLaneKey(it.Key())
		if !ok {
			return closing(it, record.ErrDamaged)
		}
		if l == nil || l.name != string(provider) {
			l, at = q.lanes.open(string(provider)), 0
			l.fresh.more, l.again.more = true, true
		}
		if space == spaceDead {
			l.dead++
		} else {
			l.depth++
		}
		if space == spaceAgain {
			l.begun = ""
		}
		for at+1 < len(h.segments) && h.segments[at+1].first <= string(event) {
			at++
		}
		h.segments[at].unfinished++
	}
	return closing(it, it.Error())
}

// loadDone finds the providers that have nothing but history.
func (q *Queue) loadDone() error {
	it, err := q.space(spaceDone)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; {
		provider, _, cut := splitLaneKey(it.Key())
		if !cut {
			return closing(it, record.ErrDamaged)
		}
		name := string(provider)
		q.lanes.open(name)
		ok = it.SeekGE(after(lanePrefix(spaceDone, name)))
	}
	return closing(it, it.Error())
}

func (q *Queue) loadPauses() error {
	it, err := q.space(spacePause)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		until, err := decodePause(it.Value())
		if err != nil {
			return closing(it, err)
		}
		q.lanes.open(string(it.Key()[1:])).paused = until
	}
	return closing(it, it.Error())
}
