package embedded

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Recall reads what a delivery of the provider left under the key.
func (q *Queue) Recall(_ context.Context, provider, key string) (bellhop.Memo, bool, error) {
	none := func(err error) (bellhop.Memo, bool, error) { return bellhop.Memo{}, false, err }
	if err := checkMemo(provider, key); err != nil {
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
	memo, err := decodeMemo(v)
	return memo, closing(closer, err)
}

// remember adds a memo to a batch. The caller holds q.memos until the batch is applied.
func remember(b *pebble.Batch, provider string, m *bellhop.Memo) error {
	if err := checkMemo(provider, m.Key); err != nil {
		return fmt.Errorf("remembering: %w", err)
	}
	key := laneKey(spaceMemo, provider, m.Key)
	if err := b.Set(key, encodeMemo(m), nil); err != nil {
		return err
	}
	return b.Set(append(appendTime([]byte{spaceMemoExpiry}, nanos(m.Expires)), key[1:]...), nil, nil)
}

func checkMemo(provider, key string) error {
	if err := checkProvider(provider); err != nil {
		return err
	}
	if key == "" || len(key) > maxName {
		return fmt.Errorf("memo key %.40q: it must have 1 to %d bytes", key, maxName)
	}
	return nil
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

// Tags of a memo's record.
const (
	tagMemoValue   = 1
	tagMemoEvent   = 2
	tagMemoTime    = 3 // nanoseconds
	tagMemoExpires = 4 // nanoseconds
)

func encodeMemo(m *bellhop.Memo) []byte {
	b := []byte{format1}
	b = appendField(b, tagMemoValue, m.Value)
	b = appendField(b, tagMemoEvent, m.Event)
	b = appendNumber(b, tagMemoTime, nanos(m.Time))
	return appendNumber(b, tagMemoExpires, nanos(m.Expires))
}

func decodeMemo(record []byte) (bellhop.Memo, error) {
	var m bellhop.Memo
	if len(record) == 0 || record[0] != format1 {
		return m, errRecord
	}
	err := eachField(record[1:], func(tag uint64, v string) error {
		var ns int64
		switch tag {
		case tagMemoValue:
			m.Value = v
		case tagMemoEvent:
			m.Event = v
		case tagMemoTime, tagMemoExpires:
			if err := number(v, &ns); err != nil {
				return err
			}
			if tag == tagMemoTime {
				m.Time = moment(ns)
			} else {
				m.Expires = moment(ns)
			}
		}
		return nil
	})
	return m, err
}
