package jetstream

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// Event reads a stored event with its body.
func (q *Queue) Event(ctx context.Context, id string) (*bellhop.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := q.start(); err != nil {
		return nil, err
	}
	defer q.end()
	if record.CheckEventID(id) != nil {
		return nil, notStored(id)
	}
	p, err := q.readPost(ctx, id)
	if err != nil {
		return nil, err
	}
	return q.unpack(ctx, p, id)
}

func notStored(id string) error { return fmt.Errorf("event %.80q: %w", id, bellhop.ErrNotFound) }

// readEvent reads an event of a post.
func (q *Queue) readEvent(ctx context.Context, post, id string) (*bellhop.Event, error) {
	p, err := q.stored(ctx, post)
	if errors.Is(err, errNone) {
		return nil, notStored(id)
	}
	if err != nil {
		return nil, err
	}
	return q.unpack(ctx, p, id)
}

// readPost reads the post that an event is of; ErrNotFound if it is not there.
func (q *Queue) readPost(ctx context.Context, event string) (*post, error) {
	p, err := q.stored(ctx, event)
	if !errors.Is(err, errNone) {
		return p, err
	}
	alias, err := q.latest(ctx, q.names.records(), q.names.alias(event))
	if err == nil {
		p, err = q.stored(ctx, string(alias.Data))
	}
	if errors.Is(err, errNone) {
		return nil, notStored(event)
	}
	return p, err
}

// stored reads a post, from any server, or if that does not have it, from the leader.
func (q *Queue) stored(ctx context.Context, id string) (*post, error) {
	data, err := q.any(ctx, q.names.events(), q.names.event(id))
	if err != nil {
		return nil, err
	}
	p, err := decodePost(data)
	if err != nil {
		return nil, fmt.Errorf("reading event %s: %w", id, err)
	}
	return p, nil
}

// any reads the last message of a subject from any server, or if that does not have it, from the leader.
func (q *Queue) any(ctx context.Context, stream, subject string) ([]byte, error) {
	within, cancel := context.WithTimeout(ctx, q.o.patience)
	defer cancel()
	m, err := q.nc.RequestWithContext(within, "$JS.API.DIRECT.GET."+stream+"."+subject, nil)
	if err == nil && m.Header.Get("Status") == "" {
		return m.Data, nil
	}
	if err != nil && !errors.Is(err, nats.ErrNoResponders) {
		return nil, fmt.Errorf("reading from stream %s: %w", stream, err)
	}
	s, err := q.latest(ctx, stream, subject)
	if err != nil {
		return nil, err
	}
	return s.Data, nil
}

// unpack returns an event of a post with its body.
func (q *Queue) unpack(ctx context.Context, p *post, id string) (*bellhop.Event, error) {
	e := p.item(id)
	if e == nil {
		return nil, notStored(id)
	}
	if p.chunks > 0 {
		var bodies []byte
		for i := range int(p.chunks) {
			chunk, err := q.any(ctx, q.names.events(), q.names.chunk(p.items[0].Event.ID, i))
			if err != nil {
				return nil, fmt.Errorf("reading the body of event %s: %w", id, err)
			}
			bodies = append(bodies, chunk...)
		}
		if err := p.bring(bodies); err != nil {
			return nil, fmt.Errorf("reading event %s: %w", id, err)
		}
	}
	if len(e.Inline) > 0 {
		var err error
		if e.Event.Raw, err = record.Unpack(e.Inline, e.Plain); err != nil {
			return nil, fmt.Errorf("reading event %s: %w", id, err)
		}
	}
	return &e.Event, nil
}

// place is where a list goes on: behind an event, or behind one of its deliveries.
type place struct {
	seq      uint64 // of the event's post; 0 in lists that are not in its order
	event    string
	provider string
}

func (p place) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatUint(p.seq, 10) + "\x00" + p.event + "\x00" + p.provider))
}

func readPlace(cursor string) (place, error) {
	if cursor == "" {
		return place{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	parts := strings.Split(string(b), "\x00")
	if err == nil && len(parts) == 3 && parts[1] != "" {
		if seq, err := strconv.ParseUint(parts[0], 10, 64); err == nil {
			return place{seq, parts[1], parts[2]}, nil
		}
	}
	return place{}, fmt.Errorf("cursor %.80q: give the one that the page before returned", cursor)
}

// listed is an event in the history.
type listed struct {
	seq   uint64
	event *bellhop.Event
}

// window is how many sequences are read at a time, at first and at most, when events are listed.
const (
	window    = 32
	maxWindow = 1 << 10
)

// walk calls f with the events, newest first, from a place on, some at a time, until it returns false.
// limit is about how many are wanted.
func (q *Queue) walk(ctx context.Context, from place, limit int, f func([]listed) (bool, error)) error {
	s, err := q.js.Stream(ctx, q.names.events())
	if err != nil {
		return fmt.Errorf("listing events: %w", err)
	}
	state := s.CachedInfo().State
	top := state.LastSeq + 1
	if from.seq > 0 {
		top = min(top, from.seq+1)
	}
	first := max(state.FirstSeq, 1)
	for size := uint64(min(max(limit, window), maxWindow)); top > first; size = min(2*size, maxWindow) {
		low := first
		if top-low > size {
			low = top - size
		}
		var found []*stored
		for next := low; next < top; {
			page, more, err := q.list(ctx, q.names.events(), directRequest{Seq: next, NextFor: q.names.event(anyone), Batch: int(top - next)})
			if err != nil {
				return fmt.Errorf("listing events: %w", err)
			}
			for _, m := range page {
				if m.Seq < top {
					found = append(found, m)
				}
			}
			if len(page) == 0 || more == 0 || page[len(page)-1].Seq >= top {
				break
			}
			next = page[len(page)-1].Seq + 1
		}
		var es []listed
		for _, m := range slices.Backward(found) {
			p, err := decodePost(m.Data)
			if err != nil {
				return fmt.Errorf("listing events: %w", err)
			}
			if i := slices.Index(p.ids(), from.event); i >= 0 {
				p.items = p.items[:i+1] // those behind were on the page before
			}
			for _, e := range slices.Backward(p.items) {
				es = append(es, listed{m.Seq, &e.Event})
			}
		}
		if more, err := f(es); err != nil || !more {
			return err
		}
		top = low
	}
	return nil
}

// Events lists events, newest first, without bodies.
func (q *Queue) Events(ctx context.Context, p bellhop.Page) (events []*bellhop.Event, next string, err error) {
	from, err := readPlace(p.Cursor)
	if err != nil {
		return nil, "", err
	}
	if err := q.start(); err != nil {
		return nil, "", err
	}
	defer q.end()
	var before place
	err = q.walk(ctx, from, p.Limit+1, func(es []listed) (bool, error) {
		for _, e := range es {
			if e.event.ID == from.event {
				continue
			}
			if len(events) >= max(p.Limit, 1) {
				next = before.String()
				return false, nil
			}
			events = append(events, e.event)
			before = place{seq: e.seq, event: e.event.ID}
		}
		return true, nil
	})
	return events, next, err
}

// Deliveries lists deliveries, newest event first, those of one event by provider.
func (q *Queue) Deliveries(ctx context.Context, f bellhop.DeliveryFilter, p bellhop.Page) (ds []*bellhop.Delivery, next string, err error) {
	from, err := readPlace(p.Cursor)
	if err != nil {
		return nil, "", err
	}
	if err := q.start(); err != nil {
		return nil, "", err
	}
	defer q.end()
	q.settling.wait(ctx)
	if f.State != "" && f.State != bellhop.Waiting && f.State != bellhop.Delivered && f.State != bellhop.Dead ||
		f.Event != "" && record.CheckEventID(f.Event) != nil || f.Provider != "" && record.CheckProvider(f.Provider) != nil {
		return nil, "", nil
	}
	var before place
	take := func(es []listed) (bool, error) {
		found, err := q.deliveries(ctx, f, es)
		if err != nil {
			return false, err
		}
		for _, e := range es {
			for _, d := range found[e.event.ID] {
				if d.Event == from.event && d.Provider <= from.provider {
					continue
				}
				if len(ds) >= max(p.Limit, 1) {
					next = before.String()
					return false, nil
				}
				ds = append(ds, d)
				before = place{e.seq, d.Event, d.Provider}
			}
		}
		return true, nil
	}
	switch {
	case f.Event != "":
		_, err = take([]listed{{event: &bellhop.Event{ID: f.Event}}})
	case f.State == bellhop.Waiting || f.State == bellhop.Dead:
		err = q.eachUnfinished(ctx, f, from, take)
	default:
		err = q.walk(ctx, from, p.Limit+1, take)
	}
	if err != nil {
		return nil, "", fmt.Errorf("listing deliveries: %w", err)
	}
	return ds, next, nil
}

// eachUnfinished calls take with the events of what waits or is dead, which are far fewer than all, newest first.
func (q *Queue) eachUnfinished(ctx context.Context, f bellhop.DeliveryFilter, from place, take func([]listed) (bool, error)) error {
	stream, kind := q.names.waiting(), kindWait
	if f.State == bellhop.Dead {
		stream, kind = q.names.records(), kindDead
	}
	provider := cmp.Or(f.Provider, anyone)
	s, err := q.js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(q.names.delivery(kind, provider, anyone)))
	if err != nil {
		return err
	}
	var ids []string
	for subject := range info.State.Subjects {
		if id := last(subject); from.event == "" || id <= from.event {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return strings.Compare(b, a) })
	for part := range slices.Chunk(slices.Compact(ids), maxWindow/4) {
		es := make([]listed, len(part))
		for i, id := range part {
			es[i].event = &bellhop.Event{ID: id}
		}
		if more, err := take(es); err != nil || !more {
			return err
		}
	}
	return nil
}

// deliveries reads the deliveries of events that match, by event.
func (q *Queue) deliveries(ctx context.Context, f bellhop.DeliveryFilter, es []listed) (map[string][]*bellhop.Delivery, error) {
	provider := cmp.Or(f.Provider, anyone)
	var waits, records []string
	for _, e := range es {
		waits = append(waits, q.names.delivery(kindWait, provider, e.event.ID))
		records = append(records, q.names.delivery(kindDead, provider, e.event.ID), q.names.delivery(kindTried, provider, e.event.ID))
	}
	found, err := q.listAll(ctx, q.names.waiting(), waits)
	if err != nil {
		return nil, err
	}
	more, err := q.listAll(ctx, q.names.records(), records)
	if err != nil {
		return nil, err
	}
	views := make(map[string]*view)
	for _, m := range append(found, more...) {
		kind, provider, event, ok := q.names.splitDelivery(m.Subject)
		if !ok {
			continue
		}
		id := bellhop.DeliveryID(event, provider)
		if views[id] == nil {
			views[id] = &view{event: event, provider: provider}
		}
		if err := views[id].add(kind, m.Data); err != nil {
			return nil, fmt.Errorf("delivery %s: %w", id, err)
		}
	}
	out := make(map[string][]*bellhop.Delivery)
	for _, v := range views {
		if d := v.show(); d != nil && (f.State == "" || f.State == d.State) {
			out[d.Event] = append(out[d.Event], d)
		}
	}
	for _, ds := range out {
		slices.SortFunc(ds, func(a, b *bellhop.Delivery) int { return strings.Compare(a.Provider, b.Provider) })
	}
	return out, nil
}

// view is what the streams say of one delivery.
type view struct {
	event, provider   string
	wait, tried, dead *record.Delivery
	delivered         bool
}

func (v *view) add(kind string, message []byte) error {
	switch kind {
	case kindWait:
		p, err := decodePointer(v.event, message)
		if err != nil {
			return err
		}
		v.wait = &p.delivery
	case kindDead:
		d, err := record.DecodeDelivery(message)
		if err != nil {
			return err
		}
		v.dead = &d
	case kindTried:
		state, d, err := decodeTried(message)
		if err != nil {
			return err
		}
		v.tried, v.delivered = &d, state == isDelivered
	}
	return nil
}

// show is the delivery, nil if it was dropped.
func (v *view) show() *bellhop.Delivery {
	switch {
	case v.wait != nil && v.tried == nil:
		return v.wait.Show(bellhop.Waiting, v.event, v.provider)
	case v.wait != nil && v.tried.Started != v.wait.Started: // it was replayed while it was being delivered
		v.wait.Log = v.tried.Log
		return v.wait.Show(bellhop.Waiting, v.event, v.provider)
	case v.wait != nil:
		return v.tried.Show(bellhop.Waiting, v.event, v.provider)
	case v.dead != nil:
		return v.dead.Show(bellhop.Dead, v.event, v.provider)
	case v.delivered:
		return v.tried.Show(bellhop.Delivered, v.event, v.provider)
	default:
		return nil
	}
}
