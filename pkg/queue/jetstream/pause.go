package jetstream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// pauses are what is known of the providers' pauses: a copy of the records, which every replica follows.
type pauses struct {
	mu sync.Mutex
	m  map[string]pause
}

// pause is until when a provider pauses, and the sequence of the record that says so.
type pause struct {
	until int64
	seq   uint64
}

func (ps *pauses) get(provider string) pause {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.m[provider]
}

// learn takes in a record, unless a later one is known.
func (ps *pauses) learn(provider string, p pause) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.m == nil {
		ps.m = make(map[string]pause)
	}
	if p.seq > ps.m[provider].seq {
		ps.m[provider] = p
	}
}

// followPauses reads the pauses and keeps them up to date until the queue is closed.
func (q *Queue) followPauses(ctx context.Context) error {
	found, err := q.listAll(ctx, q.names.records(), []string{q.names.pause(anyone)})
	if err != nil {
		return err
	}
	for _, m := range found {
		q.learnPause(m.Subject, m.Data, m.Seq)
	}
	c, err := q.js.OrderedConsumer(ctx, q.names.records(), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{q.names.pause(anyone)}, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
	})
	if err != nil {
		return fmt.Errorf("following the pauses: %w", err)
	}
	following, err := c.Consume(func(m jetstream.Msg) {
		if meta, err := m.Metadata(); err == nil {
			q.learnPause(m.Subject(), m.Data(), meta.Sequence.Stream)
		}
	})
	if err != nil {
		return fmt.Errorf("following the pauses: %w", err)
	}
	q.following.Go(func() {
		<-q.ctx.Done()
		following.Stop() // it may wait for an answer that never comes, until the connection is closed
	})
	return nil
}

func (q *Queue) learnPause(subject string, message []byte, seq uint64) {
	until, ok := pausedUntil(message)
	if !ok {
		return
	}
	provider := last(subject)
	q.pauses.learn(provider, pause{until, seq})
	if l := q.lanes.get(provider); l != nil {
		l.changed()
	}
}

// pausedUntil reads the record of a pause; 0 if it was lifted.
func pausedUntil(message []byte) (until int64, ok bool) {
	until, n := binary.Varint(message)
	return until, n > 0
}

// Pause holds back a provider's deliveries on all replicas.
func (q *Queue) Pause(ctx context.Context, provider string, until time.Time) error {
	if err := record.CheckProvider(provider); err != nil {
		return fmt.Errorf("pausing: %w", err)
	}
	if err := q.start(); err != nil {
		return fmt.Errorf("pausing %s: %w", provider, err)
	}
	defer q.end()
	subject, ns := q.names.pause(provider), record.Nanos(until)
	for {
		if err := q.lookUpPause(ctx, provider); err != nil { // another replica may have lifted it just now
			return fmt.Errorf("pausing %s: %w", provider, err)
		}
		now := q.pauses.get(provider)
		if ns != 0 && ns <= now.until {
			return nil
		}
		message := binary.AppendVarint(nil, ns)
		ack, err := q.js.Publish(ctx, subject, message, jetstream.WithExpectLastSequencePerSubject(now.seq))
		if err == nil {
			q.learnPause(subject, message, ack.Sequence)
			return nil
		}
		if !isConflict(err) {
			return fmt.Errorf("pausing %s: %w", provider, err)
		}
	}
}

// lookUpPause asks the leader for a provider's pause.
func (q *Queue) lookUpPause(ctx context.Context, provider string) error {
	m, err := q.latest(ctx, q.names.records(), q.names.pause(provider))
	if errors.Is(err, errNone) {
		return nil
	}
	if err != nil {
		return err
	}
	q.learnPause(m.Subject, m.Data, m.Seq)
	return nil
}
