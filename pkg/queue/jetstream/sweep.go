package jetstream

import (
	"context"
	"slices"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
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

// drop deletes posts and pointers of which nothing is unfinished. whole: the stream begins with them. It reports whether
// it begins with what follows them now.
func (q *Queue) drop(ctx context.Context, old []*stored, whole bool) (bool, error) {
	posts := make(map[uint64]*post) // of the messages that are one
	var es []listed
	for _, m := range old {
		provider, isPost, event := q.names.splitMessage(m.Subject)
		if !isPost {
			es = append(es, listed{m.Seq, provider, &record.Event{
				Event: bellhop.Event{ID: event}, Accepted: m.Time.UnixNano(), Targets: []bellhop.Target{{Provider: provider}},
			}})
			continue
		}
		p, err := q.names.post(m)
		if err != nil {
			return false, err
		}
		posts[m.Seq] = p
		es = append(es, p.listing(m.Seq)...)
	}
	ds, err := q.deliveries(ctx, bellhop.DeliveryFilter{}, es)
	if err != nil {
		return false, err
	}
	keep := make(map[uint64]bool)
	for _, e := range es {
		for _, d := range ds[e.item.Event.ID] {
			if posts[e.seq] != nil {
				keep[e.seq] = keep[e.seq] || d.State != bellhop.Delivered
			} else if d.Provider == e.home {
				keep[e.seq] = d.State == bellhop.Waiting
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
			whole = false
		} else if err := q.dropOne(ctx, m.Seq, posts[m.Seq]); err != nil {
			return false, err
		}
	}
	return whole, nil
}

// dropFirst deletes at once what the stream begins with, up to what is kept and to posts that are more than a message.
// It returns the rest.
func (q *Queue) dropFirst(ctx context.Context, old []*stored, keep map[uint64]bool, posts map[uint64]*post) ([]*stored, error) {
	n := slices.IndexFunc(old, func(m *stored) bool {
		p := posts[m.Seq]
		return keep[m.Seq] || p != nil && (p.chunks > 0 || len(p.items) > 1)
	})
	if n < 0 {
		n = len(old)
	}
	// The bodies of a later post may lie between.
	chunk, err := q.next(ctx, q.names.events(), q.names.subject("chunk", anyone, anyone), 0)
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
	}
	return q.remove(ctx, q.names.events(), seq)
}
