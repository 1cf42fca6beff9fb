package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Healthy says why a Put would not be taken: no connection, a stream without a leader, no room.
func (q *Queue) Healthy() error {
	if err := q.begin(); err != nil {
		return err
	}
	defer q.end()
	if why := q.trouble.Load(); why != nil {
		return unavailable(*why)
	}
	if err := q.connected(); err != nil {
		return unavailable(err)
	}
	return nil
}

func (q *Queue) troubled(why error) { q.trouble.Store(&why) }

// watch looks after the streams until the queue is closed, and sets them up if that is not done yet.
func (q *Queue) watch() {
	failed, told := 0, ""
	for sleep(q.ctx, q.o.look) {
		if q.prepared() != nil {
			if err := q.prepare(q.ctx); err == nil {
				q.logger.Info("queue is ready")
			} else if text := err.Error(); text != told && q.ctx.Err() == nil {
				told = text
				q.logger.Warn("queue is not ready", "error", err)
			}
			continue
		}
		err := q.inspect(q.ctx)
		if err == nil {
			if failed = 0; q.trouble.Swap(nil) != nil {
				q.logger.Info("queue is well again")
			}
			continue
		}
		// A slow answer is no trouble yet.
		if failed++; failed > 1 && q.ctx.Err() == nil {
			if failed == 2 {
				q.logger.Error("queue is in trouble", "error", err)
			}
			q.troubled(err)
		}
	}
}

// inspect asks the leaders of the streams, and looks for room.
func (q *Queue) inspect(ctx context.Context) error {
	if err := q.connected(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, q.o.patience/2)
	defer cancel()
	for _, name := range []string{q.names.events(), q.names.records()} {
		s, err := q.js.Stream(ctx, name)
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("stream %s has no leader", name)
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", name, err)
		}
		info := s.CachedInfo()
		q.learn(info.Config)
		if info.Cluster != nil && info.Cluster.Leader == "" {
			return fmt.Errorf("stream %s has no leader", name)
		}
		if limit := info.Config.MaxBytes; limit > 0 && info.State.Bytes+uint64(q.nc.MaxPayload()) > uint64(limit) {
			return fmt.Errorf("stream %s is full: %d of %d bytes", name, info.State.Bytes, limit)
		}
	}
	return nil
}

// sweepAlways shortens the history now and then.
func (q *Queue) sweepAlways() {
	// Replicas that were started together sweep apart.
	for sleep(q.ctx, q.o.sweep+time.Duration(time.Now().UnixNano())%(q.o.sweep/4+1)) {
		if q.prepared() != nil {
			continue
		}
		if err := q.sweep(q.ctx); err != nil && q.ctx.Err() == nil {
			q.logger.Warn("shortening the history", "error", err)
		}
	}
}
