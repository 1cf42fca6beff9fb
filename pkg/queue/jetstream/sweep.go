package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Every replica sweeps; what one has dropped, the next does not find. What is unfinished is looked at again each time.

// sweep drops the oldest events and pointers whose time is over, or for which there is no room, unless something of
// them is unfinished.
func (q *Queue) sweep(ctx context.Context) error {
	s, err := q.js.Stream(ctx, q.names.events())
	if err != nil {
		return err
	}
	state := s.CachedInfo().State
	var excess int64
	if limit := q.retained(s.CachedInfo().Config.MaxBytes); limit > 0 {
		excess = int64(state.Bytes) - limit
	}
	q.settling.wait(ctx)
	whole := true // nothing was kept so far
	for next := state.FirstSeq; next <= state.LastSeq; {
		found, _, err := q.list(ctx, q.names.events(), directRequest{Seq: max(next, 1), NextFor: q.names.subject("to", anyone, anyone, anyone), Batch: maxWindow / 4})
		if err != nil || len(found) == 0 {
			return err
		}
		var old []*stored
		for _, m := range found {
			if excess <= 0 && (q.o.RetentionAge <= 0 || q.o.now().Sub(m.Time) < q.o.RetentionAge) {
				break
			}
			excess -= int64(len(m.Data))
			old = append(old, m)
		}
		if whole, err = q.drop(ctx, old, whole); err != nil {
			return err
		}
		if len(old) < len(found) {
			return nil
		}
		next = found[len(found)-1].Seq + 1
	}
	return nil
}

// retained is how many bytes of events may stay: with a bound on the stream nine tenths of it, so that there is room
// for new ones.
func (q *Queue) retained(maxBytes int64) int64 {
	limit := int64(q.o.RetentionBytes)
	if maxBytes > 0 && (limit <= 0 || limit > maxBytes/10*9) {
		limit = maxBytes / 10 * 9
	}
	return limit
}

// drop deletes posts and pointers of which nothing is unfinished, and keys whose time is over. whole: the stream begins
// with them. It reports whether it begins with what follows them now.
func (q *Queue) drop(ctx context.Context, old []*stored, whole bool) (bool, error) {
	posts := make(map[uint64]*post) // of the messages that are one
	keep := make(map[uint64]bool)
	var es []listed
	for _, m := range old {
		if q.names.isKey(m.Subject) {
			p, err := q.names.post(m)
			if err != nil {
				return false, err
			}
			keep[m.Seq] = p.expires > q.o.now().UnixNano()
			continue
		}
		if _, isPost, _ := q.names.splitMessage(m.Subject); !isPost {
			e, err := q.names.target(m)
			if err != nil {
				return false, err
			}
			es = append(es, e)
			continue
		}
		p, err := q.names.post(m)
		if err != nil {
			return false, err
		}
		posts[m.Seq] = p
		es = append(es, p.listing(m.Seq)...)
	}
	vs, err := q.views(ctx, "", es)
	if err != nil {
		return false, err
	}
	for _, e := range es {
		for _, v := range vs[e.item.Event.ID] {
			d := v.show()
			switch p := posts[e.seq]; {
			case p == nil && v.provider == e.home:
				keep[e.seq] = d != nil && d.State == bellhop.Waiting
			case p != nil && v.doneIn != nil:
				p.done = append(p.done, v.doneIn)
			}
			if posts[e.seq] != nil && d != nil && d.State != bellhop.Delivered {
				keep[e.seq] = true
			}
		}
	}
	if whole {
		if old, err = q.dropFirst(ctx, old, keep, posts); err != nil {
			return false, err
		}
	}
	for _, m := range old {
		if keep[m.Seq] {
			whole, err = false, q.last(ctx, posts[m.Seq])
		} else {
			err = q.dropOne(ctx, m.Seq, posts[m.Seq])
		}
		if err != nil {
			return false, err
		}
	}
	return whole, nil
}

// ends reports whether a message has a time to live.
func (m *stored) ends() bool { return m.Header.Get("Nats-TTL") != "" }

// last makes the records of what is done of a post last as long as the post, which is kept for what is not.
func (q *Queue) last(ctx context.Context, p *post) error {
	if p == nil {
		return nil
	}
	for _, m := range p.done {
		if !m.ends() {
			continue
		}
		_, err := q.js.PublishMsg(ctx, &nats.Msg{Subject: m.Subject, Data: m.Data}, jetstream.WithExpectLastSequencePerSubject(m.Seq))
		if err != nil && !isConflict(err) { // a conflict: it was delivered anew
			return fmt.Errorf("keeping what became of a delivery: %w", err)
		}
	}
	return nil
}

// dropFirst deletes at once what the stream begins with, up to what is kept and to posts that are more than a message.
// It returns the rest.
func (q *Queue) dropFirst(ctx context.Context, old []*stored, keep map[uint64]bool, posts map[uint64]*post) ([]*stored, error) {
	n := slices.IndexFunc(old, func(m *stored) bool {
		p := posts[m.Seq]
		return keep[m.Seq] || p != nil && (p.chunks > 0 || len(p.items) > 1 || slices.ContainsFunc(p.done, func(m *stored) bool { return !m.ends() }))
	})
	if n < 0 {
		n = len(old)
	}
	if n == 0 {
		return old, nil
	}
	chunk, err := q.firstBody(ctx, old)
	if err != nil {
		return nil, err
	}
	for chunk != nil && n > 0 && old[n-1].Seq > chunk.Seq {
		n--
	}
	if n == 0 {
		return old, nil
	}
	return old[n:], q.purge(ctx, q.names.events(), map[string]any{"seq": old[n-1].Seq + 1})
}

// firstBody is the first body that is kept apart, nil if there is none. It may be one of a later post that lies between
// the old ones. Those that are as old and have no post, because their Put was cut off, are dropped.
func (q *Queue) firstBody(ctx context.Context, old []*stored) (*stored, error) {
	for {
		m, err := q.next(ctx, q.names.events(), q.names.subject("chunk", anyone, anyone), 0)
		if err != nil || m == nil || m.Seq > old[len(old)-1].Seq {
			return m, err
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(m.Subject, string(q.names)+".chunk."), ".")
		event, _ := untoken(id)
		if _, err := q.latest(ctx, q.names.events(), q.names.event(anyone, event)); !errors.Is(err, errNone) {
			return m, err
		}
		if err := q.purge(ctx, q.names.events(), map[string]any{"filter": q.names.subject("chunk", event, anyone)}); err != nil {
			return nil, err
		}
	}
}

// dropOne deletes a pointer, or a post with what leads to it, its message last.
func (q *Queue) dropOne(ctx context.Context, seq uint64, p *post) error {
	if p != nil {
		ids := p.ids()
		if p.chunks > 0 {
			if err := q.purge(ctx, q.names.events(), map[string]any{"filter": q.names.subject("chunk", ids[0], anyone)}); err != nil {
				return err
			}
		}
		for _, id := range ids[1:] {
			if err := q.purge(ctx, q.names.records(), map[string]any{"filter": q.names.alias(id)}); err != nil {
				return err
			}
		}
		for _, m := range p.done {
			if !m.ends() {
				if err := q.remove(ctx, q.names.records(), m.Seq); err != nil {
					return err
				}
			}
		}
	}
	return q.remove(ctx, q.names.events(), seq)
}
