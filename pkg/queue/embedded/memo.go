package embedded

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// Recall reads what a delivery of the provider left under the key.
func (q *Queue) Recall(_ context.Context, provider, key string) (bellhop.Memo, bool, error) {
	none := func(err error) (bellhop.Memo, bool, error) { return bellhop.Memo{}, false, err }
	if err := record.CheckMemo(provider, key); err != nil {
		return none(fmt.Errorf("recalling: %w", err))
	}
	if err := q.begin(); err != nil {
		return none(err)
	}
	defer q.end()
	memo, err := q.readMemo(laneKey(spaceMemo, provider, key))
	if errors.Is(err, pebble.ErrNotFound) || err == nil && memo.Expires.UnixNano() <= q.now().UnixNano() {
		return none(nil)
	}
	if err != nil {
		return none(fmt.Errorf("recalling a memo of %s: %w", provider, err))
	}
	memo.Key = key
	return memo, true, nil
}

func (q *Queue) readMemo(key []byte) (bellhop.Memo, error) {
	v, closer, err := q.db.Get(key)
	if err != nil {
		return bellhop.Memo{}, err
	}
	memo, err := record.DecodeMemo(v)
	return memo, closing(closer, err)
}

// remember adds a memo to a batch. The caller holds q.memos until the batch is applied.
func remember(b *pebble.Batch, provider string, m *bellhop.Memo) error {
	if err := record.CheckMemo(provider, m.Key); err != nil {
		return fmt.Errorf("remembering: %w", err)
	}
	key := laneKey(spaceMemo, provider, m.Key)
	if err := b.Set(key, record.EncodeMemo(m), nil); err != nil {
		return err
	}
	return b.Set(append(appendTime([]byte{spaceMemoExpiry}, record.Nanos(m.Expires)), key[1:]...), nil, nil)
}

// forgetMemos deletes the memos that expired until now. One that was left anew meanwhile stays.
func (q *Queue) forgetMemos(now int64) error {
	until := appendTime([]byte{spaceMemoExpiry}, now+1)
	if q.expiredMemos.from == nil {
		q.expiredMemos.from = []byte{spaceMemoExpiry}
	}
	for !q.stopping() {
		from := q.expiredMemos.from
		rests, next, err := q.expiredRests(from, until)
		if err != nil || len(rests) == 0 {
			return err
		}
		if err := q.forgetMemoBatch(rests, from, next, now); err != nil {
			return err
		}
		q.expiredMemos.from = next
	}
	return nil
}

func (q *Queue) forgetMemoBatch(rests []string, from, next []byte, now int64) error {
	q.memos.Lock()
	defer q.memos.Unlock()
	b := q.db.NewBatch()
	for _, rest := range rests {
		key := eventKey(spaceMemo, rest)
		memo, err := q.readMemo(key)
		if errors.Is(err, pebble.ErrNotFound) || err == nil && memo.Expires.UnixNano() > now {
			continue
		}
		if err == nil {
			err = b.Delete(key, nil)
		}
		if err != nil {
			return errors.Join(err, b.Close())
		}
	}
	if err := b.DeleteRange(from, next, nil); err != nil {
		return errors.Join(err, b.Close())
	}
	return q.applySoon(b)
}
