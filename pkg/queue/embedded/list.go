package embedded

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// Event reads a stored event with its body.
func (q *Queue) Event(ctx context.Context, id string) (*bellhop.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := q.begin(); err != nil {
		return nil, err
	}
	defer q.end()
	s, err := q.readEvent(id)
	if err != nil {
		return nil, err
	}
	return &s.Event, nil
}

// readEvent reads an event with its body.
func (q *Queue) readEvent(id string) (*record.Event, error) {
	v, closer, err := q.db.Get(eventKey(spaceEvent, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, fmt.Errorf("event %.80q: %w", id, bellhop.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading event %s: %w", id, err)
	}
	s, err := record.DecodeEvent(v)
	if err == nil && len(s.Inline) > 0 {
		s.Event.Raw, err = record.Unpack(s.Inline, s.Plain)
	} else if err == nil && s.Size > 0 {
		s.Event.Raw, err = q.readBody(id, s.Plain)
	}
	if err != nil {
		return nil, closing(closer, fmt.Errorf("reading event %s: %w", id, err))
	}
	s.Inline = nil
	return s, closer.Close()
}

// readBody reads a body that is stored beside its event.
func (q *Queue) readBody(id string, plain int64) ([]byte, error) {
	v, closer, err := q.db.Get(eventKey(spaceBody, id))
	if err != nil {
		return nil, fmt.Errorf("its body: %w", err)
	}
	body, err := record.Unpack(v, plain)
	return body, closing(closer, err)
}

// Events lists events, newest first, without bodies.
func (q *Queue) Events(ctx context.Context, p bellhop.Page) (events []*bellhop.Event, next string, err error) {
	before, _, err := readCursor(p.Cursor)
	if err != nil {
		return nil, "", err
	}
	if err := q.begin(); err != nil {
		return nil, "", err
	}
	defer q.end()
	upper := []byte{spaceEvent + 1}
	if before != "" {
		upper = eventKey(spaceEvent, before)
	}
	it, err := q.db.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceEvent}, UpperBound: upper})
	if err != nil {
		return nil, "", fmt.Errorf("listing events: %w", err)
	}
	for ok := it.Last(); ok; ok = it.Prev() {
		if err := ctx.Err(); err != nil {
			return nil, "", closing(it, err)
		}
		if len(events) >= max(p.Limit, 1) {
			next = writeCursor(events[len(events)-1].ID, "")
			break
		}
		s, err := record.DecodeEvent(it.Value())
		if err != nil {
			return nil, "", closing(it, fmt.Errorf("listing events: %w", err))
		}
		events = append(events, &s.Event)
	}
	if err := closing(it, it.Error()); err != nil {
		return nil, "", fmt.Errorf("listing events: %w", err)
	}
	return events, next, nil
}

// Deliveries lists deliveries, newest event first, those of one event by provider. Every provider's part of a
// space is in that order already; the lists are merged.
func (q *Queue) Deliveries(ctx context.Context, f bellhop.DeliveryFilter, p bellhop.Page) (ds []*bellhop.Delivery, next string, err error) {
	event, provider, err := readCursor(p.Cursor)
	if err != nil {
		return nil, "", err
	}
	if err := q.begin(); err != nil {
		return nil, "", err
	}
	defer q.end()
	it, err := q.db.NewIter(nil)
	if err != nil {
		return nil, "", fmt.Errorf("listing deliveries: %w", err)
	}
	defer func() { err = closing(it, err) }()

	matching, err := q.matching(f)
	if err != nil {
		return nil, "", fmt.Errorf("listing deliveries: %w", err)
	}
	var m merge
	for _, l := range matching {
		for _, space := range spacesOf(f.State) {
			s := &stream{provider: l.name, space: space, prefix: lanePrefix(space, l.name), only: f.Event}
			if err := s.start(it, event, provider); err != nil {
				return nil, "", fmt.Errorf("listing deliveries: %w", err)
			}
			if s.event != "" {
				m = append(m, s)
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
	}
	heap.Init(&m)
	for len(m) > 0 {
		s := m[0]
		if len(ds) >= max(p.Limit, 1) {
			last := ds[len(ds)-1]
			return ds, writeCursor(last.Event, last.Provider), nil
		}
		ds = append(ds, s.d.Show(stateOf(s.space), s.event, s.provider))
		if err := s.seek(it, laneKey(s.space, s.provider, s.event)); err != nil {
			return nil, "", fmt.Errorf("listing deliveries: %w", err)
		}
		if s.event == "" {
			heap.Pop(&m)
		} else {
			heap.Fix(&m, 0)
		}
	}
	return ds, "", nil
}

// matching are the lanes that can have deliveries that match.
func (q *Queue) matching(f bellhop.DeliveryFilter) ([]*lane, error) {
	var names []string
	switch {
	case f.Provider != "":
		names = []string{f.Provider}
	case f.Event != "":
		s, err := q.readEvent(f.Event)
		if errors.Is(err, bellhop.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, t := range s.Targets {
			names = append(names, t.Provider)
		}
	default:
		return slices.DeleteFunc(q.lanes.all(), func(l *lane) bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return f.State == bellhop.Dead && l.dead == 0 || f.State == bellhop.Waiting && l.depth == 0
		}), nil
	}
	var out []*lane
	for _, name := range names {
		if l := q.lanes.get(name); l != nil {
			out = append(out, l)
		}
	}
	return out, nil
}

func spacesOf(state bellhop.DeliveryState) []byte {
	switch state {
	case "":
		return deliverySpaces[:]
	case bellhop.Waiting:
		return []byte{spaceFresh, spaceAgain}
	case bellhop.Dead:
		return []byte{spaceDead}
	case bellhop.Delivered:
		return []byte{spaceDone}
	default:
		return nil
	}
}

// stream is one provider's deliveries in one space, newest event first. event is empty at its end.
type stream struct {
	provider string
	space    byte
	prefix   []byte
	only     string // one event; empty for all

	event string
	d     record.Delivery
}

// start goes to the first delivery behind the cursor.
func (s *stream) start(it *pebble.Iterator, event, provider string) error {
	bound := after(s.prefix)
	if event != "" {
		bound = laneKey(s.space, s.provider, event)
		if s.provider > provider {
			bound = append(bound, 0) // the event's own delivery to this provider comes still
		}
	}
	if s.only != "" {
		if own := append(laneKey(s.space, s.provider, s.only), 0); bytes.Compare(own, bound) < 0 {
			bound = own
		}
	}
	return s.seek(it, bound)
}

// seek goes to the last delivery before bound.
func (s *stream) seek(it *pebble.Iterator, bound []byte) error {
	s.event = ""
	if !it.SeekLT(bound) {
		return it.Error()
	}
	event, ok := bytes.CutPrefix(it.Key(), s.prefix)
	if !ok || s.only != "" && string(event) != s.only {
		return nil
	}
	d, err := decodeIn(s.space, it.Value())
	if err != nil {
		return err
	}
	s.event, s.d = string(event), d
	return nil
}

// merge is a heap of streams.
type merge []*stream

func (m *merge) Len() int { return len(*m) }

func (m *merge) Less(i, j int) bool {
	a, b := (*m)[i], (*m)[j]
	if c := strings.Compare(a.event, b.event); c != 0 {
		return c > 0
	}
	return cmp.Less(a.provider, b.provider)
}

func (m *merge) Swap(i, j int) { (*m)[i], (*m)[j] = (*m)[j], (*m)[i] }

func (m *merge) Push(x any) { *m = append(*m, x.(*stream)) }

func (m *merge) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}

// writeCursor and readCursor say in a text behind what a list goes on.
func writeCursor(event, provider string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(event + "\x00" + provider))
}

func readCursor(c string) (event, provider string, err error) {
	if c == "" {
		return "", "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(c)
	event, provider, ok := strings.Cut(string(b), "\x00")
	if err != nil || !ok || event == "" {
		return "", "", fmt.Errorf("cursor %.80q: give the one that the page before returned", c)
	}
	return event, provider, nil
}
