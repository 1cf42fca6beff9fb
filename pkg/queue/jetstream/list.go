package jetstream

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"math"
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
func (q *Queue) readEvent(ctx context.Context, home, post, id string) (*bellhop.Event, error) {
	p, err := q.stored(ctx, home, post)
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
	p, err := q.stored(ctx, anyone, event)
	if !errors.Is(err, errNone) {
		return p, err
	}
	alias, err := q.latest(ctx, q.names.records(), q.names.alias(event))
	if err == nil {
		p, err = q.stored(ctx, anyone, string(alias.Data))
	}
	if errors.Is(err, errNone) {
		return nil, notStored(event)
	}
	return p, err
}

// stored reads a post, from any server, or if that does not have it, from the leader.
func (q *Queue) stored(ctx context.Context, home, id string) (*post, error) {
	subject := q.names.event(home, id)
	if home != anyone {
		m, err := q.any(ctx, q.names.events(), subject)
		if err != nil {
			return nil, err
		}
		return q.names.post(m)
	}
	found, _, err := q.list(ctx, q.names.events(), directRequest{MultiLast: []string{subject}})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		m, err := q.latest(ctx, q.names.events(), subject)
		if err != nil {
			return nil, err
		}
		found = append(found, m)
	}
	return q.names.post(found[0])
}

// any reads the last message of a subject from any server, or if that does not have it, from the leader.
func (q *Queue) any(ctx context.Context, stream, subject string) (*stored, error) {
	within, cancel := context.WithTimeout(ctx, q.o.patience)
	defer cancel()
	m, err := q.nc.RequestWithContext(within, "$JS.API.DIRECT.GET."+stream+"."+subject, nil)
	if err == nil && m.Header.Get("Status") == "" {
		return answered(m), nil
	}
	if err != nil && !errors.Is(err, nats.ErrNoResponders) {
		return nil, fmt.Errorf("reading from stream %s: %w", stream, err)
	}
	return q.latest(ctx, stream, subject)
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
			bodies = append(bodies, chunk.Data...)
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
	left     int64  // of deliveries that wait, how many that were never tried are still to come
	event    string
	provider string
}

func (p place) String() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %d %s %s", p.seq, p.left, p.event, p.provider))
}

func readPlace(cursor string) (place, error) {
	if cursor == "" {
		return place{}, nil
	}
	var p place
	if b, err := base64.RawURLEncoding.DecodeString(cursor); err == nil {
		parts := strings.SplitN(string(b), " ", 4)
		if len(parts) == 4 && parts[2] != "" {
			var seqErr, leftErr error
			p.seq, seqErr = strconv.ParseUint(parts[0], 10, 64)
			p.left, leftErr = strconv.ParseInt(parts[1], 10, 64)
			if p.event, p.provider = parts[2], parts[3]; seqErr == nil && leftErr == nil {
				return p, nil
			}
		}
	}
	return place{}, fmt.Errorf("cursor %.80q: give the one that the page before returned", cursor)
}

// listed is an event in the history, or what leads to it: its id alone, or that and a target.
type listed struct {
	seq  uint64
	home string // the provider whose delivery is in the message of that sequence
	item *record.Event
}

// listing is a post's events.
func (p *post) listing(seq uint64) []listed {
	es := make([]listed, len(p.items))
	for i, e := range p.items {
		es[i] = listed{seq, p.home, e}
	}
	return es
}

// named are events of which nothing but the ids is known.
func named(ids []string) []listed {
	es := make([]listed, len(ids))
	for i, id := range ids {
		es[i].item = &record.Event{Event: bellhop.Event{ID: id}}
	}
	return es
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
			page, more, err := q.list(ctx, q.names.events(), directRequest{Seq: next, NextFor: q.names.event(anyone, anyone), Batch: int(top - next)})
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
			p, err := q.names.post(m)
			if err != nil {
				return fmt.Errorf("listing events: %w", err)
			}
			if i := slices.Index(p.ids(), from.event); i >= 0 {
				p.items = p.items[:i+1] // those behind were on the page before
			}
			for _, e := range slices.Backward(p.listing(m.Seq)) {
				es = append(es, e)
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
			if e.item.Event.ID == from.event {
				continue
			}
			if len(events) >= max(p.Limit, 1) {
				next = before.String()
				return false, nil
			}
			events = append(events, &e.item.Event)
			before = place{seq: e.seq, event: e.item.Event.ID}
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
	left := from.left
	take := func(es []listed) (bool, error) {
		found, err := q.deliveries(ctx, f, es)
		if err != nil {
			return false, err
		}
		for _, e := range es {
			for _, d := range found[e.item.Event.ID] {
				if d.Event == from.event && d.Provider <= from.provider {
					continue
				}
				if len(ds) >= max(p.Limit, 1) {
					next = before.String()
					return false, nil
				}
				if d.untried {
					left--
				}
				ds = append(ds, d.Delivery)
				before = place{e.seq, left, d.Event, d.Provider}
			}
		}
		return true, nil
	}
	switch {
	case f.Event != "":
		err = q.ofEvent(ctx, f.Event, take)
	case f.State == bellhop.Dead:
		err = q.eachRecorded(ctx, kindDead, f.Provider, from, nil, take)
	case f.State == bellhop.Waiting:
		err = q.eachWaiting(ctx, f.Provider, from, p.Limit+1, &left, take)
	default:
		err = q.walk(ctx, from, p.Limit+1, take)
	}
	if err != nil {
		return nil, "", fmt.Errorf("listing deliveries: %w", err)
	}
	return ds, next, nil
}

// ofEvent calls take with one event. Records may be left of one that is gone.
func (q *Queue) ofEvent(ctx context.Context, id string, take func([]listed) (bool, error)) error {
	es := named([]string{id})
	switch p, err := q.readPost(ctx, id); {
	case errors.Is(err, bellhop.ErrNotFound):
	case err != nil:
		return err
	default:
		for _, e := range p.listing(p.seq) {
			if e.item.Event.ID == id {
				es[0] = e
			}
		}
	}
	_, err := take(es)
	return err
}

// recorded are the events that have a record of a kind, which are far fewer than all, newest first.
func (q *Queue) recorded(ctx context.Context, kind, provider string) (ids []string, n int64, err error) {
	s, err := q.js.Stream(ctx, q.names.records())
	if err != nil {
		return nil, 0, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(q.names.delivery(kind, cmp.Or(provider, anyone), anyone)))
	if err != nil {
		return nil, 0, err
	}
	for subject := range info.State.Subjects {
		ids = append(ids, last(subject))
	}
	slices.SortFunc(ids, func(a, b string) int { return strings.Compare(b, a) })
	return slices.Compact(ids), int64(len(info.State.Subjects)), nil
}

// eachRecorded calls take with the events that have a record of a kind, from a place on, but for those to skip.
func (q *Queue) eachRecorded(ctx context.Context, kind, provider string, from place, skip map[string]bool, take func([]listed) (bool, error)) error {
	ids, _, err := q.recorded(ctx, kind, provider)
	if err != nil {
		return err
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return from.event != "" && id > from.event || skip[id] })
	for part := range slices.Chunk(ids, maxWindow/4) {
		if more, err := take(named(part)); err != nil || !more {
			return err
		}
	}
	return nil
}

// eachWaiting calls take with the events of what waits. What was never tried is at the end of the stream, and counted;
// what is to be tried again is recorded.
func (q *Queue) eachWaiting(ctx context.Context, provider string, from place, limit int, left *int64, take func([]listed) (bool, error)) error {
	providers := []string{provider}
	if provider == "" {
		var err error
		if providers, err = q.everKnown(ctx); err != nil {
			return err
		}
	}
	floor, waiting := uint64(math.MaxUint64), int64(0)
	for _, name := range providers {
		b, err := q.backlog(ctx, name)
		if err != nil {
			return err
		}
		if b.depth > 0 {
			floor, waiting = min(floor, b.floor), waiting+b.depth
		}
	}
	if from.event == "" {
		_, tried, err := q.recorded(ctx, kindRetry, provider)
		if err != nil {
			return err
		}
		*left = waiting - tried
	}
	walked := make(map[string]bool)
	if *left > 0 && (from.event == "" || from.seq > 0) {
		goOn := true
		err := q.walk(ctx, from, limit, func(es []listed) (more bool, err error) {
			for _, e := range es {
				walked[e.item.Event.ID] = true
			}
			if goOn, err = take(es); err != nil || !goOn {
				return false, err
			}
			return *left > 0 && (len(es) == 0 || es[len(es)-1].seq > floor), nil
		})
		if err != nil || !goOn {
			return err
		}
	}
	return q.eachRecorded(ctx, kindRetry, provider, from, walked, take)
}

// found is a delivery that is listed. An untried one has no record.
type found struct {
	*bellhop.Delivery
	untried bool
}

// deliveries reads the deliveries of events that match, by event.
func (q *Queue) deliveries(ctx context.Context, f bellhop.DeliveryFilter, es []listed) (map[string][]found, error) {
	provider := cmp.Or(f.Provider, anyone)
	views := make(map[string]*view)
	of := func(event, provider string) *view {
		id := bellhop.DeliveryID(event, provider)
		if views[id] == nil {
			views[id] = &view{event: event, provider: provider}
		}
		return views[id]
	}
	var records []string
	for _, e := range es {
		id := e.item.Event.ID
		for _, kind := range []string{kindRetry, kindDone, kindDead} {
			records = append(records, q.names.delivery(kind, provider, id))
		}
		for _, t := range e.item.Targets {
			if f.Provider != "" && f.Provider != t.Provider {
				continue
			}
			if v := of(id, t.Provider); v.from == nil {
				d := fresh(t.Route, e.item.Accepted)
				v.from, v.fresh = &e, &d
			}
		}
	}
	all, err := q.listAll(ctx, q.names.records(), records)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if kind, provider, event, ok := q.names.splitDelivery(m.Subject); ok {
			if err := of(event, provider).add(kind, m); err != nil {
				return nil, err
			}
		}
	}
	out := make(map[string][]found)
	for _, v := range views {
		d := v.show()
		if d == nil || f.State != "" && f.State != d.State {
			continue
		}
		untried := v.isUntried()
		if untried {
			if gone, err := q.isForgotten(ctx, v); err != nil {
				return nil, err
			} else if gone {
				continue
			}
		}
		out[d.Event] = append(out[d.Event], found{d, untried})
	}
	for _, ds := range out {
		slices.SortFunc(ds, func(a, b found) int { return strings.Compare(a.Provider, b.Provider) })
	}
	return out, nil
}

// isForgotten reports whether a delivery without a record was done so long ago that its record has ended.
func (q *Queue) isForgotten(ctx context.Context, v *view) (bool, error) {
	if q.o.RetentionAge <= 0 || q.o.now().Sub(record.Moment(v.fresh.Accepted)) < 2*q.o.RetentionAge {
		return false, nil
	}
	seq := v.from.seq
	if v.from.home != v.provider {
		m, err := q.latest(ctx, q.names.events(), q.names.pointer(v.provider, v.event))
		if errors.Is(err, errNone) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		seq = m.Seq
	}
	b, err := q.progress(ctx, v.provider)
	return b != nil && seq <= b.AckFloor.Stream, err
}

// view is what the streams say of one delivery.
type view struct {
	event, provider string
	from            *listed          // where it is a target
	fresh           *record.Delivery // how it began there
	retry, done     *record.Delivery
	reply           string // where the message of one that is to be tried again is acknowledged
	delivered       bool   // done, and not dropped
	dead            *deadOne
}

// add adds a record.
func (v *view) add(kind string, m *stored) error {
	var d record.Delivery
	var err error
	switch kind {
	case kindRetry:
		d, v.reply, err = decodeRetry(m.Data)
		v.retry = &d
	case kindDone:
		var state byte
		state, d, err = decodeDone(m.Data)
		v.done, v.delivered = &d, state == isDelivered
	case kindDead:
		d, err = record.DecodeDelivery(m.Data)
		v.dead = &deadOne{v.provider, v.event, m.Seq, d}
	}
	if err != nil {
		return fmt.Errorf("reading delivery %s: %w", bellhop.DeliveryID(v.event, v.provider), err)
	}
	return nil
}

// isUntried: nothing is recorded of it.
func (v *view) isUntried() bool { return v.retry == nil && v.done == nil && v.dead == nil }

// isOver: what it began with last is done, so that the record of its retries says nothing any more.
func (v *view) isOver() bool {
	return v.retry != nil && (v.done != nil && v.done.Started >= v.retry.Started || v.dead != nil && v.dead.delivery.Started >= v.retry.Started)
}

// records are what is recorded, and the state that each stands for, the last word at the end.
func (v *view) records() iter.Seq2[bellhop.DeliveryState, *record.Delivery] {
	return func(yield func(bellhop.DeliveryState, *record.Delivery) bool) {
		_ = (v.done == nil || yield(bellhop.Delivered, v.done)) &&
			(v.dead == nil || yield(bellhop.Dead, &v.dead.delivery)) &&
			(v.retry == nil || yield(bellhop.Waiting, v.retry))
	}
}

// show is the delivery, nil if it was dropped.
func (v *view) show() *bellhop.Delivery {
	switch {
	case v.retry != nil && !v.isOver():
		return v.retry.Show(bellhop.Waiting, v.event, v.provider)
	case v.dead != nil:
		return v.dead.delivery.Show(bellhop.Dead, v.event, v.provider)
	case v.delivered:
		return v.done.Show(bellhop.Delivered, v.event, v.provider)
	case v.done == nil && v.fresh != nil:
		return v.fresh.Show(bellhop.Waiting, v.event, v.provider)
	default:
		return nil
	}
}

// lookUp asks the leader what is recorded of a delivery.
func (q *Queue) lookUp(ctx context.Context, provider, event string) (*view, error) {
	v := &view{event: event, provider: provider}
	for _, kind := range []string{kindRetry, kindDone, kindDead} {
		m, err := q.latest(ctx, q.names.records(), q.names.delivery(kind, provider, event))
		if errors.Is(err, errNone) {
			continue
		}
		if err == nil {
			err = v.add(kind, m)
		}
		if err != nil {
			return nil, err
		}
	}
	return v, nil
}
