package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// maxSettling is how many deliveries are being settled at once; Settle waits beyond that.
const maxSettling = 512

// stubborn is how long a settled delivery is kept from being sent again while the servers do not take what became
// of it.
const stubborn = 2 * time.Minute

// flights are the settlements under way. Who reads waits for those that began before.
type flights struct {
	mu  sync.Mutex
	now map[chan struct{}]bool
}

// begin waits for room.
func (f *flights) begin() (end func()) {
	for {
		f.mu.Lock()
		if len(f.now) < maxSettling {
			if f.now == nil {
				f.now = make(map[chan struct{}]bool)
			}
			done := make(chan struct{})
			f.now[done] = true
			f.mu.Unlock()
			return func() {
				f.mu.Lock()
				delete(f.now, done)
				f.mu.Unlock()
				close(done)
			}
		}
		var one chan struct{}
		for one = range f.now {
			break
		}
		f.mu.Unlock()
		<-one
	}
}

// wait waits for those that began before.
func (f *flights) wait(ctx context.Context) {
	f.mu.Lock()
	before := make([]chan struct{}, 0, len(f.now))
	for done := range f.now {
		before = append(before, done)
	}
	f.mu.Unlock()
	for _, done := range before {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

// lease is a delivery in the hands of a taker.
type lease struct {
	lane *lane
	*entry
	settled bool // lane.mu guards it
}

// Delivery is the delivery as it was when it was taken.
func (s *lease) Delivery() *bellhop.Delivery {
	return s.d.Show(bellhop.Waiting, s.event, s.lane.provider)
}

// Event reads the delivery's event.
func (s *lease) Event(ctx context.Context) (*bellhop.Event, error) {
	q := s.lane.q
	if err := q.start(); err != nil {
		return nil, err
	}
	defer q.end()
	e, err := q.readEvent(ctx, s.home, s.post, s.event)
	if errors.Is(err, bellhop.ErrNotFound) && sleep(ctx, q.o.patience/20) {
		// The server that hands deliveries out may be a moment ahead of the stream's leader.
		e, err = q.readEvent(ctx, s.home, s.post, s.event)
	}
	return e, err
}

// Settle ends the lease. What became of the delivery is published first, then the delivery is acknowledged: cut off
// between, it comes again, and is found to be done. All that goes on behind Settle, unless there is a memo, which later
// deliveries must find.
func (s *lease) Settle(ctx context.Context, err error, o bellhop.Outcome) error {
	l, q := s.lane, s.lane.q
	id := bellhop.DeliveryID(s.event, l.provider)
	if err := q.start(); err != nil {
		return fmt.Errorf("settling delivery %s: %w", id, err)
	}
	defer q.end()
	l.mu.Lock()
	before, again := s.settled, s.again
	s.settled = true
	l.mu.Unlock()
	if before {
		return fmt.Errorf("settling delivery %s: it is settled already", id)
	}
	if bellhop.IsStopping(err) && again == nil {
		l.putBack(s.entry)
		return nil
	}
	if err == nil && o.Memo != nil {
		if err := q.remember(ctx, l.provider, o.Memo); err != nil {
			q.logger.Error("remembering what was sent", "provider", l.provider, "delivery", id, "error", err)
		}
	}

	d, state := s.d.After(err, o, time.Now())
	if again != nil {
		d.Restart(again.started)
		state = bellhop.Waiting
	}
	end := q.settling.begin()
	t := &settlement{lane: l, entry: s.entry, d: d, state: state, again: again}
	t.publish()
	if state == bellhop.Waiting && again == nil && time.Until(record.Moment(d.Due)) < q.o.ackWait && t.keep() {
		go func() {
			defer end()
			if err := t.confirm(); err != nil {
				q.logger.Warn("recording an attempt", "provider", l.provider, "delivery", id, "error", err)
			}
		}()
		return nil
	}
	go func() {
		defer end()
		t.finish(id)
	}()
	return nil
}

// settlement is a delivery being settled.
type settlement struct {
	*lane
	entry *entry
	d     record.Delivery
	state bellhop.DeliveryState
	again *anew // if it was replayed: this message is acknowledged

	acks acks
	err  error // of publishing
}

// publish sends what became of the delivery, in the order of settling.
func (t *settlement) publish() {
	var kind string
	var message []byte
	switch t.state {
	case bellhop.Waiting:
		r := retry{t.d, t.entry.seq, t.entry.msg.Reply()}
		if t.again != nil {
			r.seq, r.reply = t.again.seq, ""
		}
		kind, message = kindRetry, r.encode()
	case bellhop.Dead:
		kind, message = kindDead, record.EncodeDelivery(&t.d)
	case bellhop.Delivered:
		kind, message = kindDone, encodeDone(isDelivered, &t.d)
	}
	t.acks = nil
	t.err = t.acks.add(t.q.sendRecord(kind, t.provider, t.entry.event, message))
}

// confirm waits for the acknowledgements of what was published.
func (t *settlement) confirm() error {
	if t.err != nil {
		return t.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), t.q.o.patience)
	defer cancel()
	return t.acks.wait(ctx)
}

// keep lines a delivery up again that is due soon. It reports false if the server should rather keep it.
func (t *settlement) keep() bool {
	l, e := t.lane, t.entry
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.line) >= maxRetries || l.held[e.event] != e {
		return false
	}
	switch parked := l.letGo(e); {
	case parked == nil:
		e.d, e.looked, e.retried, e.due = t.d, true, true, t.d.Due
		l.push(e)
	case parked.seq != e.seq: // it was replayed
		e.void()
	}
	l.changedLocked()
	return true
}

// finish waits until what became of the delivery is recorded, and tells the server to forget the delivery or to keep
// it until it is due.
func (t *settlement) finish(id string) {
	q, e := t.q, t.entry
	for begun := time.Now(); ; t.publish() {
		err := t.confirm()
		if err == nil {
			break
		}
		q.logger.Warn("recording what became of a delivery", "provider", t.provider, "delivery", id, "error", err)
		if t.state == bellhop.Delivered && isFull(err) {
			break // better not told than sent again
		}
		if time.Since(begun) > stubborn || !sleep(q.ctx, q.o.patience/10) {
			t.release(e)
			return
		}
	}
	if t.state == bellhop.Waiting && t.again == nil {
		if err := e.msg.NakWithDelay(time.Until(record.Moment(t.d.Due))); err != nil {
			q.logger.Warn("handing back a delivery", "provider", t.provider, "delivery", id, "error", err)
		}
		t.release(e)
		return
	}
	if (e.retried || t.state == bellhop.Dead) && t.again == nil {
		q.tidy(context.Background(), t.provider, e.event)
	}
	for begun := time.Now(); t.again == nil; {
		err := q.acknowledge(context.Background(), e.msg.Reply())
		if err == nil {
			break
		}
		q.logger.Debug("acknowledging a delivery, and trying again", "provider", t.provider, "delivery", id, "error", err) // as whenever a leader changes
		if time.Since(begun) > stubborn || !sleep(q.ctx, q.o.patience/10) {
			q.logger.Warn("acknowledging a delivery", "provider", t.provider, "delivery", id, "error", err)
			break
		}
	}
	t.release(e)
}

// acknowledge tells the server that a delivery does not wait any more, and waits for its answer.
func (q *Queue) acknowledge(ctx context.Context, reply string) error {
	_, err := q.request(ctx, reply, []byte("+ACK"))
	return err
}

// sendRecord publishes what became of a delivery. The record of what is done ends after the history, so that nobody need
// take it away; where its event is kept for longer, sweep makes it last.
func (q *Queue) sendRecord(kind, provider, event string, message []byte) (jetstream.PubAckFuture, error) {
	var options []jetstream.PublishOpt
	if kind == kindDone && q.o.RetentionAge > 0 {
		options = append(options, jetstream.WithMsgTTL(2*q.o.RetentionAge))
	}
	return q.js.PublishMsgAsync(&nats.Msg{Subject: q.names.delivery(kind, provider, event), Data: message}, options...)
}

// tidy takes away the record of a delivery that a later one has made void: that of its retries once it waits no more, the
// dead one once it began anew. All who write one of them do so after that, since another replica may write the other.
// A dead one that is left over goes when the delivery is taken; that of retries says nothing beside what became of it.
func (q *Queue) tidy(ctx context.Context, provider, event string) {
	v, err := q.lookUp(ctx, provider, event)
	switch {
	case err != nil || v.retry == nil:
	case v.isOver():
		err = q.remove(ctx, q.names.records(), v.retryIn)
	case v.dead != nil:
		err = q.bury(ctx, v.dead)
	}
	if err != nil {
		q.logger.Debug("tidying the records of a delivery", "provider", provider, "event", event, "error", err)
	}
}

// Tags that a memo's record has beside those of every engine.
const tagMemoKey = 64

// remember publishes a memo. It ends by itself when it expires.
func (q *Queue) remember(ctx context.Context, provider string, m *bellhop.Memo) error {
	if err := record.CheckMemo(provider, m.Key); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, q.o.patience)
	defer cancel()
	ttl := max(time.Until(m.Expires).Truncate(time.Second)+time.Second, time.Second)
	_, err := q.js.PublishMsg(ctx, &nats.Msg{
		Subject: q.names.memo(provider, m.Key), Data: record.AppendField(record.EncodeMemo(m), tagMemoKey, m.Key),
	}, jetstream.WithMsgTTL(ttl))
	return err
}

// Recall reads what a delivery of the provider left under the key.
func (q *Queue) Recall(ctx context.Context, provider, key string) (bellhop.Memo, bool, error) {
	none := func(err error) (bellhop.Memo, bool, error) { return bellhop.Memo{}, false, err }
	if err := record.CheckMemo(provider, key); err != nil {
		return none(fmt.Errorf("recalling: %w", err))
	}
	if err := q.start(); err != nil {
		return none(err)
	}
	defer q.end()
	m, err := q.latest(ctx, q.names.records(), q.names.memo(provider, key))
	if errors.Is(err, errNone) {
		return none(nil)
	}
	if err != nil {
		return none(fmt.Errorf("recalling a memo of %s: %w", provider, err))
	}
	_, memo, err := decodeMemo(m)
	if err != nil {
		return none(fmt.Errorf("recalling: %w", err))
	}
	if !memo.Expires.After(time.Now()) {
		return none(nil)
	}
	return memo, true, nil
}

func decodeMemo(m *stored) (provider string, memo bellhop.Memo, err error) {
	tokens := strings.Split(m.Subject, ".")
	if len(tokens) != 4 || len(m.Data) == 0 {
		return "", memo, record.ErrDamaged
	}
	provider, _ = untoken(tokens[2])
	if memo, err = record.DecodeMemo(m.Data); err == nil {
		err = record.EachField(m.Data[1:], func(tag uint64, v string) error {
			if tag == tagMemoKey {
				memo.Key = v
			}
			return nil
		})
	}
	if err != nil {
		err = fmt.Errorf("reading a memo of %s: %w", provider, err)
	}
	return provider, memo, err
}
