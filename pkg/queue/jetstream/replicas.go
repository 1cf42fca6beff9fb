package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Announce tells the other replicas of this process. The server forgets it by itself.
func (q *Queue) Announce(ctx context.Context, r bellhop.Replica) error {
	if err := q.start(); err != nil {
		return fmt.Errorf("announcing replica %s: %w", r.Name, err)
	}
	defer q.end()
	r.Seen = time.Time{}
	message, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("announcing replica %s: %w", r.Name, err)
	}
	subject := q.names.replica(r.Name)
	if _, err := q.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: message}, jetstream.WithMsgTTL(bellhop.ReplicaLifetime)); err != nil {
		return fmt.Errorf("announcing replica %s: %w", r.Name, err)
	}
	q.announced.Store(&subject)
	return nil
}

// leave takes the announcement back.
func (q *Queue) leave(ctx context.Context) error {
	subject := q.announced.Load()
	if subject == nil || !q.nc.IsConnected() {
		return nil
	}
	s, err := q.js.Stream(ctx, q.names.records())
	if err != nil {
		return err
	}
	return s.Purge(ctx, jetstream.WithPurgeSubject(*subject))
}

// Replicas are the processes that announced themselves, by name.
func (q *Queue) Replicas(ctx context.Context) ([]bellhop.Replica, error) {
	if err := q.start(); err != nil {
		return nil, err
	}
	defer q.end()
	found, err := q.listAll(ctx, q.names.records(), []string{q.names.replica(anyone)})
	if err != nil {
		return nil, fmt.Errorf("listing replicas: %w", err)
	}
	rs := make([]bellhop.Replica, len(found))
	for i, m := range found {
		if err := json.Unmarshal(m.Data, &rs[i]); err != nil {
			return nil, fmt.Errorf("listing replicas: %w", err)
		}
		rs[i].Seen = m.Time
	}
	slices.SortFunc(rs, func(a, b bellhop.Replica) int { return strings.Compare(a.Name, b.Name) })
	return rs, nil
}
