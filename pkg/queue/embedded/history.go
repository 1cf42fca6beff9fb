package embedded

import (
	"encoding/binary"
	"errors"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// Segments cut the stored events into pieces by id, which means by time. A segment knows how much it holds
// and how many of its deliveries are unfinished (waiting or dead), so that the retention loop finds what it
// may drop without looking at events: one whose deliveries are all accepted goes with a range deletion.
const (
	segmentBytes = 8 << 20
	// A history is at least so many segments long, in age and in bytes: that is how exactly its bounds hold.
	segmentsOfHistory = 64
	minSegmentBytes   = 64 << 10
)

// segment is the events from first up to the next segment's. The first segment begins at the lowest id.
type segment struct {
	first      string
	bytes      int64 // of events and bodies
	began      int64 // when its first event was stored, newest its last
	newest     int64
	unfinished int64 // deliveries that wait or are dead

	sealed   bool // takes no further events but late ones
	recorded bool // as sealed, on disk
	holds    int  // who must not see it dropped
	dropping bool

	// measured is what unfinished was when protected was measured; -1 if it never was, or not since one was finished.
	measured  int64
	protected int64 // bytes of events with unfinished deliveries
}

// exact reports whether droppable is the very number, and not only the most that it can be.
func (s *segment) exact() bool { return s.unfinished == 0 || s.measured == s.unfinished }

// droppable is how many bytes of s are history, at most. How many deliveries s had is not recorded: until it is
// measured, all of it may be.
func (s *segment) droppable() int64 {
	if s.measured == s.unfinished {
		return s.bytes - s.protected
	}
	return s.bytes
}

// history is all segments in order. There is always at least one, and the last takes new events.
type history struct {
	age   time.Duration // below zero: no bound
	bytes int64         // the same
	size  int64         // of a segment
	span  time.Duration // of a segment

	mu       sync.Mutex
	dropped  sync.Cond
	segments []*segment
	last     string // the highest id seen

	// sealed is told of every sealed segment, so that it is recorded soon: what is not, the next opening
	// has to read.
	sealed chan struct{}
}

func (h *history) init(o Options) {
	h.age, h.bytes = o.RetentionAge, int64(o.RetentionBytes)
	h.size, h.span = segmentBytes, time.Hour
	if h.bytes >= 0 {
		h.size = min(h.size, max(h.bytes/segmentsOfHistory, minSegmentBytes))
	}
	if h.age >= 0 {
		h.span = min(h.span, h.age/segmentsOfHistory)
	}
	h.dropped.L = &h.mu
	h.sealed = make(chan struct{}, 1)
	h.segments = []*segment{{measured: -1}}
}

// find returns the index of the segment of an event.
func (h *history) find(id string) int {
	return max(sort.Search(len(h.segments), func(i int) bool { return h.segments[i].first > id })-1, 0)
}

// hold finds the segment of an event that is about to be stored or changed, beginning a new one when the
// last is full, and keeps it from being dropped until release.
func (h *history) hold(id string, now int64) *segment {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.grow(id, now)
	for {
		s := h.segments[h.find(id)]
		if !s.dropping {
			s.holds++
			return s
		}
		h.dropped.Wait()
	}
}

// grow seals the last segment if it is full or old and id would lie behind all others.
func (h *history) grow(id string, now int64) {
	s := h.segments[len(h.segments)-1]
	if id > h.last {
		if s.bytes > 0 && (s.sealed || s.bytes >= h.size || now-s.began > int64(h.span)) {
			s.sealed = true
			h.segments = append(h.segments, &segment{first: id, measured: -1})
			select {
			case h.sealed <- struct{}{}:
			default:
			}
		}
		h.last = id
	}
}

func (h *history) release(s *segment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.holds--
}

// stored counts an event in.
func (h *history) stored(s *segment, bytes, now, deliveries int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.bytes += bytes
	if s.began == 0 {
		s.began = now
	}
	s.newest = max(s.newest, now)
	s.unfinished += deliveries
	s.recorded = false
}

// finished counts deliveries of an event as finished, or as unfinished again if n is negative.
func (h *history) finished(id string, n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.segments[h.find(id)]
	s.unfinished -= n
	s.measured = -1 // as many may be unfinished as then, but not the same
}

// sealOld seals the last segment when it has become old, so that what stands in it can be dropped.
func (h *history) sealOld(now int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.segments[len(h.segments)-1]
	if s.bytes > 0 && now-s.began > int64(h.span) {
		s.sealed = true
	}
}

// unrecorded returns the sealed segments that are not on disk as such, as keys and values.
func (h *history) unrecorded() (keys, values [][]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, s := range h.segments {
		if !s.sealed || s.recorded || s.dropping || i == len(h.segments)-1 {
			continue
		}
		s.recorded = true
		keys = append(keys, eventKey(spaceSegment, s.first))
		values = append(values, appendSegment(nil, s, h.segments[i+1].first))
	}
	return keys, values
}

// appendSegment appends a sealed segment's record. end is where the next begins.
func appendSegment(b []byte, s *segment, end string) []byte {
	b = append(b, record.Format1)
	for _, n := range [...]int64{s.bytes, s.began, s.newest} {
		b = binary.AppendVarint(b, n)
	}
	return append(b, end...)
}

func decodeSegment(first string, v []byte) (s *segment, end string, err error) {
	if len(v) == 0 || v[0] != record.Format1 {
		return nil, "", record.ErrDamaged
	}
	s = &segment{first: first, sealed: true, recorded: true, measured: -1}
	v = v[1:]
	for _, n := range [...]*int64{&s.bytes, &s.began, &s.newest} {
		value, used := binary.Varint(v)
		if used <= 0 {
			return nil, "", record.ErrDamaged
		}
		*n, v = value, v[used:]
	}
	return s, string(v), nil
}

// excess returns the sealed segments that the bounds of age and bytes put out, oldest first.
func (h *history) excess(now int64) []*segment {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*segment
	total := h.total()
	for _, s := range h.segments {
		if !s.sealed || s.dropping {
			continue
		}
		if n := s.droppable(); n > 0 && (h.old(s, now) || h.over(total)) {
			out = append(out, s)
			total -= n
		}
	}
	return out
}

// unmeasured returns the sealed segments that may be out of bounds, or put others out, for what is not known
// exactly: before something is dropped for them, they are measured.
func (h *history) unmeasured(now int64) []*segment {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*segment
	over := h.over(h.total())
	for _, s := range h.segments {
		if s.sealed && !s.exact() && (over || h.old(s, now)) {
			out = append(out, s)
		}
	}
	return out
}

// total is how many bytes are history, at most.
func (h *history) total() (bytes int64) {
	for _, s := range h.segments {
		bytes += s.droppable()
	}
	return bytes
}

func (h *history) over(total int64) bool { return h.bytes >= 0 && total > h.bytes }

func (h *history) old(s *segment, now int64) bool { return h.age >= 0 && now-s.newest > int64(h.age) }

// close keeps everybody out of a segment and returns its bounds, or false if somebody is in it.
func (h *history) close(s *segment) (first, end string, unfinished int64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.Index(h.segments, s)
	if i < 0 || s.holds > 0 {
		return "", "", 0, false
	}
	if i > 0 {
		first = s.first
	}
	if i+1 < len(h.segments) {
		end = h.segments[i+1].first
	}
	s.dropping = true
	return first, end, s.unfinished, true
}

// open lets others into a segment again. If nothing is left in it, it goes.
func (h *history) open(s *segment, unfinished, protected int64, dropped bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.dropping = false
	s.measured, s.protected = unfinished, protected
	if dropped {
		s.bytes, s.recorded = protected, false
		if i := slices.Index(h.segments, s); protected == 0 && unfinished == 0 && i < len(h.segments)-1 {
			h.segments = slices.Delete(h.segments, i, i+1)
		}
	}
	h.dropped.Broadcast()
}

// segmentRange are the keys of a space from one event up to another, which is empty for no bound.
func segmentRange(space byte, first, end string) (lower, upper []byte) {
	lower = eventKey(space, first)
	if end == "" {
		return lower, []byte{space + 1}
	}
	return lower, eventKey(space, end)
}

// guarded collects the events of a segment that have unfinished deliveries, sorted, and their bytes.
func (q *Queue) guarded(first, end string) (ids []string, bytes int64, err error) {
	it, err := q.db.NewIter(nil)
	if err != nil {
		return nil, 0, err
	}
	sizes := make(map[string]int64)
	for _, l := range q.lanes.all() {
		l.mu.Lock()
		idle := l.depth+l.dead == 0
		l.mu.Unlock()
		if idle {
			continue
		}
		for _, space := range [...]byte{spaceFresh, spaceAgain, spaceDead} {
			prefix := lanePrefix(space, l.name)
			upper := after(prefix)
			if end != "" {
				upper = laneKey(space, l.name, end)
			}
			it.SetBounds(laneKey(space, l.name, first), upper)
			for ok := it.First(); ok; ok = it.Next() {
				d, err := decodeIn(space, it.Value())
				if err != nil {
					return nil, 0, closing(it, err)
				}
				sizes[string(it.Key()[len(prefix):])] = d.Size
			}
		}
	}
	if err := closing(it, it.Error()); err != nil {
		return nil, 0, err
	}
	for id, size := range sizes {
		ids = append(ids, id)
		bytes += size
	}
	slices.Sort(ids)
	return ids, bytes, nil
}

// decodeIn decodes a delivery of a space.
func decodeIn(space byte, v []byte) (record.Delivery, error) {
	if space == spaceFresh {
		return decodeFresh(v)
	}
	return record.DecodeDelivery(v)
}

// measure finds out how much of a segment is history.
func (q *Queue) measure(s *segment) error {
	first, end, unfinished, ok := q.history.close(s)
	if !ok {
		return nil
	}
	_, bytes, err := q.guarded(first, end)
	if err != nil {
		unfinished = -1
	}
	q.history.open(s, unfinished, bytes, false)
	return err
}

// drop deletes the history in a segment: all events without unfinished deliveries, with all that belongs to
// them. What is unfinished stands its ground, and ranges are deleted between.
func (q *Queue) drop(s *segment) (err error) {
	first, end, unfinished, ok := q.history.close(s)
	if !ok {
		return nil
	}
	var protected int64
	dropped := false
	defer func() {
		if !dropped {
			unfinished = -1
		}
		q.history.open(s, unfinished, protected, dropped)
	}()

	var ids []string
	if unfinished > 0 {
		if ids, protected, err = q.guarded(first, end); err != nil {
			return err
		}
	}
	b := q.db.NewBatch()
	if err := q.dropRanges(b, first, end, ids); err != nil {
		return errors.Join(err, b.Close())
	}
	if err := b.Delete(eventKey(spaceSegment, s.first), nil); err != nil {
		return errors.Join(err, b.Close())
	}
	if err := q.applySoon(b); err != nil {
		return err
	}
	dropped = true
	return nil
}

// dropRanges deletes events, bodies and accepted deliveries from first up to end but those of keep.
func (q *Queue) dropRanges(b *pebble.Batch, first, end string, keep []string) (err error) {
	it, err := q.db.NewIter(nil)
	if err != nil {
		return err
	}
	defer func() { err = closing(it, err) }()
	for _, space := range [...]byte{spaceEvent, spaceBody} {
		lower, upper := segmentRange(space, first, end)
		if err := dropBetween(b, it, lower, upper, 1, keep); err != nil {
			return err
		}
	}
	for _, l := range q.lanes.all() {
		prefix := lanePrefix(spaceDone, l.name)
		upper := after(prefix)
		if end != "" {
			upper = laneKey(spaceDone, l.name, end)
		}
		if err := dropBetween(b, it, laneKey(spaceDone, l.name, first), upper, len(prefix), keep); err != nil {
			return err
		}
	}
	return it.Error()
}

// dropBetween deletes the keys from lower up to upper whose text behind the prefix is not in keep (sorted),
// with one range for each run of them, and no range where there is nothing.
func dropBetween(b *pebble.Batch, it *pebble.Iterator, lower, upper []byte, prefix int, keep []string) error {
	it.SetBounds(lower, upper)
	if !it.First() {
		return it.Error()
	}
	if len(keep) == 0 {
		return b.DeleteRange(lower, upper, nil)
	}
	var from, to []byte // the run, to included
	flush := func() error {
		if from == nil {
			return nil
		}
		err := b.DeleteRange(from, append(to, 0), nil)
		from = nil
		return err
	}
	for ok := true; ok; ok = it.Next() {
		if _, kept := slices.BinarySearch(keep, string(it.Key()[prefix:])); kept {
			if err := flush(); err != nil {
				return err
			}
			continue
		}
		if from == nil {
			from = slices.Clone(it.Key())
		}
		to = append(to[:0], it.Key()...)
	}
	if err := it.Error(); err != nil {
		return err
	}
	return flush()
}
