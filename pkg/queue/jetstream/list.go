package jetstream

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"maps"
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
	m, err := q.request(ctx, "$JS.API.DIRECT.GET."+stream+"."+subject, nil)
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
		for page, err := range q.pages(ctx, q.names.events(), q.names.event(anyone, anyone), low-1, int(top-low)) {
			if err != nil {
				return fmt.Errorf("listing events: %w", err)
			}
			for _, m := range page {
				if m.Seq < top {
					found = append(found, m)
				}
			}
			if page[len(page)-1].Seq >= top-1 {
				break
			}
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

// Deliveries lists deliveries, newest event first; those that wait in the order of their messages.
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
	full := errors.New("the page is full")
	give := func(d *bellhop.Delivery, at place) error {
		if len(ds) >= max(p.Limit, 1) {
			return full
		}
		ds, next = append(ds, d), at.String()
		return nil
	}
	if f.State == bellhop.Waiting && f.Event == "" {
		err = q.eachWaiting(ctx, f.Provider, from, give)
	} else {
		err = q.eachDelivery(ctx, f, from, p.Limit, give)
	}
	switch {
	case err == nil:
		next = ""
	case !errors.Is(err, full):
		return nil, "", fmt.Errorf("listing deliveries: %w", err)
	}
	return ds, next, nil
}

// eachDelivery calls give with the deliveries that match, and their places, from a place on, newest event first, those
// of one event by provider.
func (q *Queue) eachDelivery(ctx context.Context, f bellhop.DeliveryFilter, from place, limit int, give func(*bellhop.Delivery, place) error) error {
	take := func(es []listed) (bool, error) {
		vs, err := q.views(ctx, f.Provider, es)
		if err != nil {
			return false, err
		}
		for _, e := range es {
			for _, v := range vs[e.item.Event.ID] {
				d := v.show()
				if d == nil || f.State != "" && f.State != d.State || d.Event == from.event && d.Provider <= from.provider {
					continue
				}
				if err := give(d, place{seq: e.seq, event: d.Event, provider: d.Provider}); err != nil {
					return false, err
				}
			}
		}
		return true, nil
	}
	switch {
	case f.Event != "":
		return q.ofEvent(ctx, f.Event, take)
	case f.State == bellhop.Dead:
		return q.eachBuried(ctx, f.Provider, from, take)
	default:
		return q.walk(ctx, from, limit+1, take)
	}
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

// eachBuried calls take with the events of dead deliveries, which are far fewer than all, from a place on, newest first.
func (q *Queue) eachBuried(ctx context.Context, provider string, from place, take func([]listed) (bool, error)) error {
	s, err := q.js.Stream(ctx, q.names.records())
	if err != nil {
		return err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(q.names.delivery(kindDead, cmp.Or(provider, anyone), anyone)))
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
		if more, err := take(named(part)); err != nil || !more {
			return err
		}
	}
	return nil
}

// waiting is a delivery that waits, and the sequence of the message that has it.
type waiting struct {
	seq uint64
	*view
}

// eachWaiting calls give with the deliveries that wait, and their places, from a place on, those with the newest message
// first. What was never tried is at the end of the stream, and counted; what is to be tried again is recorded.
func (q *Queue) eachWaiting(ctx context.Context, provider string, from place, give func(*bellhop.Delivery, place) error) error {
	tried, err := q.toBeTried(ctx, provider)
	if err != nil {
		return err
	}
	floor, top, left, err := q.untried(ctx, provider)
	if err != nil {
		return err
	}
	left -= int64(len(tried))
	if from.event != "" {
		top, left = from.seq, from.left
		tried = slices.DeleteFunc(tried, func(w waiting) bool { return w.seq >= top })
	}
	giveAll := func(ws []waiting) error {
		for _, w := range ws {
			if w.isUntried() {
				left--
			}
			if err := give(w.show(), place{w.seq, left, w.event, w.provider}); err != nil {
				return err
			}
		}
		return nil
	}
	for size := uint64(window); left > 0 && top > floor+1; size = min(2*size, maxWindow) {
		low := floor + 1
		if top-low > size {
			low = top - size
		}
		ws, err := q.untriedBetween(ctx, provider, low, top)
		if err != nil {
			return err
		}
		n := slices.IndexFunc(tried, func(w waiting) bool { return w.seq < low })
		if n < 0 {
			n = len(tried)
		}
		ws = append(ws, tried[:n]...)
		slices.SortFunc(ws, newestFirst)
		if err := giveAll(ws); err != nil {
			return err
		}
		top, tried = low, tried[n:]
	}
	return giveAll(tried)
}

func newestFirst(a, b waiting) int { return cmp.Compare(b.seq, a.seq) }

// toBeTried are the deliveries that wait to be tried again, the newest message first.
func (q *Queue) toBeTried(ctx context.Context, provider string) ([]waiting, error) {
	var out []waiting
	subject := q.names.delivery(kindRetry, cmp.Or(provider, anyone), anyone)
	for page, err := range q.pages(ctx, q.names.records(), subject, 0, maxWindow/4) {
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, m := range page {
			ids = append(ids, last(m.Subject))
		}
		vs, err := q.views(ctx, provider, named(slices.Compact(ids)))
		if err != nil {
			return nil, err
		}
		for _, m := range page {
			_, name, event, _ := q.names.splitDelivery(m.Subject)
			for _, v := range vs[event] {
				if v.provider == name && v.retry != nil && !v.isOver() {
					out = append(out, waiting{v.retry.seq, v})
				}
			}
		}
	}
	slices.SortFunc(out, newestFirst)
	return out, nil
}

// untried is between which sequences, both apart, that must be which waits, and how much that is.
func (q *Queue) untried(ctx context.Context, provider string) (floor, top uint64, depth int64, err error) {
	providers := []string{provider}
	if provider == "" {
		if providers, err = q.everKnown(ctx); err != nil {
			return 0, 0, 0, err
		}
	}
	floor = math.MaxUint64
	for _, name := range providers {
		b, err := q.backlog(ctx, name)
		if err != nil {
			return 0, 0, 0, err
		}
		if b.depth > 0 {
			floor, depth = min(floor, b.floor), depth+b.depth
		}
	}
	s, err := q.js.Stream(ctx, q.names.events())
	if err != nil || depth == 0 {
		return 0, 0, 0, err
	}
	state := s.CachedInfo().State
	return max(floor, state.FirstSeq-1), state.LastSeq + 1, depth, nil
}

// untriedBetween are the deliveries of the messages in [low, top) that were never tried.
func (q *Queue) untriedBetween(ctx context.Context, provider string, low, top uint64) ([]waiting, error) {
	subject := q.names.deliveries(cmp.Or(provider, anyone))
	var es []listed
	for page, err := range q.pages(ctx, q.names.events(), subject, low-1, int(top-low)) {
		if err != nil {
			return nil, err
		}
		for _, m := range page {
			if to, _, _ := q.names.splitMessage(m.Subject); m.Seq < top && to != nobody {
				e, err := q.names.target(m)
				if err != nil {
					return nil, err
				}
				es = append(es, e)
			}
		}
		if page[len(page)-1].Seq >= top-1 {
			break
		}
	}
	vs, err := q.views(ctx, provider, es)
	if err != nil {
		return nil, err
	}
	var out []waiting
	for _, e := range es {
		for _, v := range vs[e.item.Event.ID] {
			if v.provider == e.home && v.isUntried() && v.from.seq == e.seq {
				out = append(out, waiting{e.seq, v})
			}
		}
	}
	return out, nil
}

// target is the delivery in a message, as what leads to its event.
func (n names) target(m *stored) (listed, error) {
	provider, _, event := n.splitMessage(m.Subject)
	p, err := pointerOf(provider, event, m.Header)
	if err != nil {
		return listed{}, fmt.Errorf("message %d of stream %s: %w", m.Seq, n.events(), err)
	}
	return listed{m.Seq, provider, &record.Event{
		Event: bellhop.Event{ID: event}, Accepted: p.delivery.Accepted, Targets: []bellhop.Target{{Provider: provider, Route: p.delivery.Route}},
	}}, nil
}

// views reads what is recorded of the deliveries of events, and is known from the events; by event, in the providers'
// order.
func (q *Queue) views(ctx context.Context, provider string, es []listed) (map[string][]*view, error) {
	byID := make(map[string]*view)
	of := func(event, provider string) *view {
		id := bellhop.DeliveryID(event, provider)
		if byID[id] == nil {
			byID[id] = &view{event: event, provider: provider}
		}
		return byID[id]
	}
	var records []string
	for _, e := range es {
		id := e.item.Event.ID
		for _, kind := range []string{kindRetry, kindDone, kindDead} {
			records = append(records, q.names.delivery(kind, cmp.Or(provider, anyone), id))
		}
		for _, t := range e.item.Targets {
			if provider != "" && provider != t.Provider {
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
	if err := q.withoutMessage(ctx, byID); err != nil {
		return nil, err
	}
	out := make(map[string][]*view)
	for _, v := range byID {
		out[v.event] = append(out[v.event], v)
	}
	for _, vs := range out {
		slices.SortFunc(vs, func(a, b *view) int { return strings.Compare(a.provider, b.provider) })
	}
	return out, nil
}

// withoutMessage finds the targets of posts that were cut off before their pointers: nothing waits for those.
func (q *Queue) withoutMessage(ctx context.Context, views map[string]*view) error {
	missing := make(map[string]*view)
	for _, v := range views {
		if v.isUntried() && v.from.home != v.provider {
			missing[q.names.pointer(v.provider, v.event)] = v
		}
	}
	if len(missing) == 0 {
		return nil
	}
	found, err := q.listAll(ctx, q.names.events(), slices.Collect(maps.Keys(missing)))
	if err != nil {
		return err
	}
	for _, m := range found {
		delete(missing, m.Subject)
	}
	for _, v := range missing {
		v.fresh = nil
	}
	return nil
}

// view is what the streams say of one delivery.
type view struct {
	event, provider string
	from            *listed          // where it is a target
	fresh           *record.Delivery // how it began there
	retry           *retry
	retryIn         uint64 // the record of that
	done            *record.Delivery
	delivered       bool    // done, and not dropped
	doneIn          *stored // the record of that
	dead            *deadOne
}

// add adds a record.
func (v *view) add(kind string, m *stored) error {
	var d record.Delivery
	var err error
	switch kind {
	case kindRetry:
		v.retry, err = decodeRetry(m.Data)
		v.retryIn = m.Seq
	case kindDone:
		var state byte
		state, d, err = decodeDone(m.Data)
		v.done, v.delivered, v.doneIn = &d, state == isDelivered, m
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

// isCutOff: its post was stored, and then the Put came to an end.
func (v *view) isCutOff() bool { return v.isUntried() && v.from != nil && v.fresh == nil }

// isOver: what it began with last is done, so that the record of its retries says nothing any more.
func (v *view) isOver() bool {
	return v.retry != nil && (v.done != nil && v.done.Started >= v.retry.Started || v.dead != nil && v.dead.delivery.Started >= v.retry.Started)
}

// records are what is recorded, and the state that each stands for, the last word at the end.
func (v *view) records() iter.Seq2[bellhop.DeliveryState, *record.Delivery] {
	return func(yield func(bellhop.DeliveryState, *record.Delivery) bool) {
		_ = (v.done == nil || yield(bellhop.Delivered, v.done)) &&
			(v.dead == nil || yield(bellhop.Dead, &v.dead.delivery)) &&
			(v.retry == nil || yield(bellhop.Waiting, &v.retry.Delivery))
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
