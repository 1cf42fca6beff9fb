package jetstream

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Every replica sweeps; what one has dropped, the next does not find. What is unfinished is looked at again each time.

// sweep drops the oldest events whose time is over, or for which there is no room, unless something of them is
// unfinished.
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
	for next := state.FirstSeq; next <= state.LastSeq; {
		found, _, err := q.list(ctx, q.names.events(), directRequest{Seq: max(next, 1), NextFor: q.names.event(anyone), Batch: maxWindow / 4})
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
		if err := q.drop(ctx, s, old); err != nil {
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

// drop deletes posts of which nothing is unfinished.
func (q *Queue) drop(ctx context.Context, s jetstream.Stream, old []*stored) error {
	posts := make([]*post, len(old))
	var es []listed
	for i, m := range old {
		var err error
		if posts[i], err = decodePost(m.Data); err != nil {
			return fmt.Errorf("message %d of stream %s: %w", m.Seq, q.names.events(), err)
		}
		for _, e := range posts[i].items {
			es = append(es, listed{m.Seq, &e.Event})
		}
	}
	unfinished := make(map[uint64]bool)
	for _, state := range []bellhop.DeliveryState{bellhop.Waiting, bellhop.Dead} {
		found, err := q.deliveries(ctx, bellhop.DeliveryFilter{State: state}, es)
		if err != nil {
			return err
		}
		for _, e := range es {
			if len(found[e.event.ID]) > 0 {
				unfinished[e.seq] = true
			}
		}
	}
	for i, m := range old {
		if unfinished[m.Seq] {
			continue
		}
		if err := q.dropPost(ctx, s, m.Seq, posts[i]); err != nil {
			return err
		}
	}
	return nil
}

// dropPost deletes a post with what leads to it, its message last.
func (q *Queue) dropPost(ctx context.Context, s jetstream.Stream, seq uint64, p *post) error {
	ids := p.ids()
	if p.chunks > 0 {
		if err := s.Purge(ctx, jetstream.WithPurgeSubject(q.names.subject("chunk", ids[0], anyone))); err != nil {
			return err
		}
	}
	if len(ids) > 1 {
		records, err := q.js.Stream(ctx, q.names.records())
		if err != nil {
			return err
		}
		for _, id := range ids[1:] {
			if err := records.Purge(ctx, jetstream.WithPurgeSubject(q.names.alias(id))); err != nil {
				return err
			}
		}
	}
	return q.remove(ctx, q.names.events(), seq)
}
