package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// headroom is what a message needs of the server's largest payload beside its content.
const headroom = 1 << 10

// Put publishes the post, and once the quorum has it, a pointer for each delivery that the post itself is not. What gets no
// answer, since a leader or a server went, is published again. An error does not say that nothing is stored: the second
// Put of a post with a key completes the first.
func (q *Queue) Put(ctx context.Context, p *bellhop.Post) (bellhop.Receipt, error) {
	if err := record.CheckPost(p); err != nil {
		return bellhop.Receipt{}, err
	}
	if err := ctx.Err(); err != nil {
		return bellhop.Receipt{}, err
	}
	if err := q.start(); err != nil {
		return bellhop.Receipt{}, unavailable(err)
	}
	defer q.end()
	ctx, cancel := context.WithTimeout(ctx, q.o.patience)
	defer cancel()
	p, now := q.recognisable(p), time.Now().UnixNano()
	receipt, err := q.put(ctx, p, now)
	for q.mayPass(err) && sleep(ctx, q.o.patience/100) {
		receipt, err = q.put(ctx, p, now)
	}
	if err != nil {
		return bellhop.Receipt{}, fmt.Errorf("storing a post: %w", err)
	}
	return receipt, nil
}

// mayPass reports whether an error of put may be over in a moment: nothing is known to be wrong for longer.
func (q *Queue) mayPass(err error) bool {
	return errors.Is(err, bellhop.ErrUnavailable) && !bellhop.IsStopping(err) && !isFull(err) && q.trouble.Load() == nil
}

// put tries to store a post as of now. It does not wait for an answer as long as Put does.
func (q *Queue) put(ctx context.Context, p *bellhop.Post, now int64) (bellhop.Receipt, error) {
	if err := q.Healthy(); err != nil {
		return bellhop.Receipt{}, unavailable(err)
	}
	ctx, cancel := context.WithTimeout(ctx, q.o.patience/4)
	defer cancel()
	body, err := q.encode(ctx, p, now)
	if err != nil {
		return bellhop.Receipt{}, err
	}
	stored := outline(p, now)
	message, err := q.letter(ctx, stored, body)
	if err != nil {
		return bellhop.Receipt{}, unavailable(err)
	}
	first, err := q.claim(ctx, message, p.Key, stored)
	switch {
	case errors.Is(err, errNone): // gone from the history before its key was
		return bellhop.Receipt{Duplicate: true}, nil
	case err != nil:
		return bellhop.Receipt{}, unavailable(err)
	case first == nil:
		err = q.point(ctx, stored)
	default:
		err = q.complete(ctx, first)
	}
	if err != nil {
		return bellhop.Receipt{}, unavailable(err)
	}
	if first == nil || first.is(stored) {
		return bellhop.Receipt{IDs: stored.ids()}, nil
	}
	return bellhop.Receipt{Duplicate: true, IDs: first.ids()}, nil
}

// is reports whether two posts are the same, put at the same time: one of them is a second try of the other.
func (p *post) is(another *post) bool {
	a, b := p.items[0], another.items[0]
	return a.Event.ID == b.Event.ID && a.Accepted == b.Accepted
}

// recognisable is the post with the window that its key has here: none without a window, and no longer than the server's.
func (q *Queue) recognisable(p *bellhop.Post) *bellhop.Post {
	if p.Key == "" || p.Window <= 0 {
		return &bellhop.Post{Items: p.Items}
	}
	window, known := p.Window, time.Duration(q.window.Load())
	if q.lacks(window) {
		q.tasks.Go(func() { q.lengthen(q.ctx, window) })
	}
	return &bellhop.Post{Key: p.Key, Window: min(window, known), Items: p.Items}
}

// claim publishes the message of a post, by which its key is known from now on. If it is known already, claim returns the
// post that came first, which may be an earlier try of this one, or errNone if that is gone. Without a key only such a try
// is known.
func (q *Queue) claim(ctx context.Context, m *nats.Msg, key string, p *post) (*post, error) {
	now := p.items[0].Accepted
	id := messageID(key, 0)
	if id == "" {
		id = digest(p.items[0].Event.ID, strconv.FormatInt(now, 10))
	}
	for {
		ack, err := q.publish(ctx, m, id)
		if isConflicting(err) { // the same is on its way through another replica
			if !sleep(ctx, q.o.patience/100) {
				return nil, ctx.Err()
			}
			continue
		}
		if err != nil || !ack.Duplicate {
			return nil, err
		}
		first, err := q.original(ctx, ack.Sequence)
		if err != nil || first.is(p) || now < first.expires {
			return first, err
		}
		id = messageID(key, ack.Sequence)
	}
}

// messageID is what the server recognises a repeated post by; empty if there is no key. After is the sequence of
// the last post with the same key if its time is over.
func messageID(key string, after uint64) string {
	if key == "" {
		return ""
	}
	return digest(key, strconv.FormatUint(after, 10))
}

// encode makes the message of a post. Bodies that are too large for it are published before, in parts.
func (q *Queue) encode(ctx context.Context, p *bellhop.Post, accepted int64) ([]byte, error) {
	size := int(q.nc.MaxPayload()) - headroom
	message, bodies, err := encodePost(p, accepted, size)
	if err != nil || len(bodies) == 0 {
		return message, err
	}
	var acks acks
	for part := range slices.Chunk(bodies, size) {
		if err := acks.add(q.send(&nats.Msg{Subject: q.names.chunk(p.Items[0].Event.ID, len(acks)), Data: part}, "")); err != nil {
			return nil, unavailable(err)
		}
	}
	message = record.AppendNumber(message, tagChunks, int64(len(acks)))
	if err := acks.wait(ctx); err != nil {
		return nil, unavailable(err)
	}
	return message, nil
}

// original reads the post that a duplicate repeats.
func (q *Queue) original(ctx context.Context, seq uint64) (*post, error) {
	m, err := q.at(ctx, q.names.events(), seq)
	if err != nil {
		return nil, err
	}
	return q.names.post(m)
}

// letter makes the message of a post out of its record, and sees to it that the providers its events go to are known.
func (q *Queue) letter(ctx context.Context, p *post, body []byte) (*nats.Msg, error) {
	var acks acks
	var known []string
	for _, e := range p.items {
		for _, t := range e.Targets {
			if _, ok := q.known.Load(t.Provider); !ok {
				known = append(known, t.Provider)
				if err := acks.add(q.send(&nats.Msg{Subject: q.names.known(t.Provider)}, "")); err != nil {
					return nil, err
				}
			}
		}
	}
	if err := acks.wait(ctx); err != nil {
		return nil, err
	}
	for _, provider := range known {
		q.known.Store(provider, nil)
	}
	id := p.items[0].Event.ID
	subject := q.names.event(p.home, id)
	if p.home == nobody {
		return &nats.Msg{Subject: subject, Data: body}, nil
	}
	itself := pointer{home: p.home, post: id, delivery: fresh(p.items[0].Targets[0].Route, p.items[0].Accepted)}
	return itself.message(subject, p.home, id, body), nil
}

// point publishes what leads to the events of a post: a pointer for each delivery that the post itself is not, in the
// events' order. Done again, it changes nothing.
func (q *Queue) point(ctx context.Context, p *post) error {
	ids := p.ids()
	var acks acks
	for _, id := range ids[1:] {
		if err := acks.add(q.send(&nats.Msg{Subject: q.names.alias(id), Data: []byte(ids[0])}, "")); err != nil {
			return err
		}
	}
	for _, e := range p.items {
		id := e.Event.ID
		for _, t := range e.Targets {
			if t.Provider == p.home {
				continue
			}
			w := pointer{home: p.home, post: ids[0], delivery: fresh(t.Route, e.Accepted)}
			m := w.message(q.names.pointer(t.Provider, id), t.Provider, id, nil)
			if err := acks.add(q.js.PublishMsgAsync(m, jetstream.WithExpectLastSequencePerSubject(0))); err != nil {
				return err
			}
		}
	}
	err := acks.wait(ctx)
	if isConflict(err) { // another replica completes the same post: look whether it did
		if !sleep(ctx, q.o.patience/100) {
			return ctx.Err()
		}
		return q.complete(ctx, p)
	}
	return err
}

// complete publishes the pointers of a post whose Put did not get so far. Where any is known of, all are. What leads to
// imported events is there before their key is.
func (q *Queue) complete(ctx context.Context, p *post) error {
	if p.isKey {
		return nil
	}
	missing := *p
	missing.items = nil
	for _, e := range p.items {
		rest := *e
		rest.Targets = nil
		for _, t := range e.Targets {
			if t.Provider == p.home {
				continue
			}
			there, err := q.hasTrace(ctx, t.Provider, e.Event.ID)
			if err != nil {
				return err
			}
			if !there {
				rest.Targets = append(rest.Targets, t)
			}
		}
		missing.items = append(missing.items, &rest)
	}
	return q.point(ctx, &missing)
}

// hasTrace reports whether a delivery that its post is not waits or was ever tried.
func (q *Queue) hasTrace(ctx context.Context, provider, event string) (bool, error) {
	for _, at := range []struct{ stream, subject string }{
		{q.names.events(), q.names.pointer(provider, event)},
		{q.names.records(), q.names.delivery(kindDone, provider, event)},
		{q.names.records(), q.names.delivery(kindDead, provider, event)},
	} {
		_, err := q.latest(ctx, at.stream, at.subject)
		if !errors.Is(err, errNone) {
			return err == nil, err
		}
	}
	return false, nil
}

// send publishes a message without waiting. The id is what it is recognised by when it comes again.
func (q *Queue) send(m *nats.Msg, id string) (jetstream.PubAckFuture, error) {
	var options []jetstream.PublishOpt
	if id != "" {
		options = append(options, jetstream.WithMsgID(id))
	}
	return q.js.PublishMsgAsync(m, options...)
}

// publish publishes a message and waits for the quorum's acknowledgement.
func (q *Queue) publish(ctx context.Context, m *nats.Msg, id string) (*jetstream.PubAck, error) {
	future, err := q.send(m, id)
	if err != nil {
		return nil, err
	}
	return await(ctx, future)
}

func await(ctx context.Context, f jetstream.PubAckFuture) (*jetstream.PubAck, error) {
	select {
	case ack := <-f.Ok():
		return ack, nil
	case err := <-f.Err():
		return nil, err
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the acknowledgement: %w", ctx.Err())
	}
}

// unavailable marks an error as one that heals by itself.
func unavailable(err error) error {
	if errors.Is(err, bellhop.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", bellhop.ErrUnavailable, err)
}

// Codes of errors that the client library has no names for.
// https://github.com/nats-io/nats-server/blob/main/server/errors.json
const (
	codeDuplicateInProcess = 10158
	codeNoSuchSequence     = 10043
	codeMaximumBytes       = 10077 // the server names every refusal to store so, and says why
	codeNoRoom             = 10047
	codeNoRoomForAccount   = 10002
	codeNoCluster          = 10074 // a single server cannot keep several copies
)

func hasCode(err error, codes ...jetstream.ErrorCode) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && slices.Contains(codes, api.ErrorCode)
}

// isConflicting: another message with the same id is not stored yet.
func isConflicting(err error) bool { return hasCode(err, codeDuplicateInProcess) }

// isConflict: the subject has another last message than was expected.
func isConflict(err error) bool {
	return hasCode(err, jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// isFull: there is no room for the message.
func isFull(err error) bool {
	return hasCode(err, codeMaximumBytes, codeNoRoom, codeNoRoomForAccount)
}
