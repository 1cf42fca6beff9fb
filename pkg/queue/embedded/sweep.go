package embedded

import (
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// sweepPeriod is how often retention looks. A look costs one read and no write if nothing is due.
const sweepPeriod = 10 * time.Second

// syncDelay is how long settled deliveries may be on their way to the disk: after a crash they may be taken
// once more.
const syncDelay = 100 * time.Millisecond

// expiredBatch bounds how many duplicate keys are forgotten between two writes.
const expiredBatch = 4096

// expiry remembers up to where expired keys were forgotten, so that no sweep passes over the same tombstones.
type expiry struct{ from []byte }

func (q *Queue) sweepLoop() {
	timer := time.NewTicker(sweepPeriod)
	defer timer.Stop()
	for {
		var do func() error
		select {
		case <-q.closing:
			return
		case <-q.history.sealed:
			do = q.recordSegments
		case <-timer.C:
			do = q.sweep
		}
		if q.disk.holds() {
			continue
		}
		if err := do(); err != nil {
			q.log.Error("queue: clearing away the history", "error", err)
		}
	}
}

// sweep forgets expired duplicate keys and drops history that is out of bounds.
func (q *Queue) sweep() error {
	q.sweeping.Lock()
	defer q.sweeping.Unlock()
	now := q.now().UnixNano()
	if err := q.forgetKeys(now); err != nil {
		return err
	}
	if err := q.forgetMemos(now); err != nil {
		return err
	}
	q.history.sealOld(now)
	if err := q.recordSealed(); err != nil {
		return err
	}
	for _, s := range q.history.unmeasured(now) {
		if q.stopping() {
			return nil
		}
		if err := q.measure(s); err != nil {
			return err
		}
	}
	for _, s := range q.history.excess(now) {
		if q.stopping() {
			return nil
		}
		if err := q.drop(s); err != nil {
			return err
		}
	}
	return nil
}

func (q *Queue) stopping() bool {
	select {
	case <-q.closing:
		return true
	default:
		return false
	}
}

// recordSegments records what was sealed since the last time. It waits for a sweep, which may drop that just now.
func (q *Queue) recordSegments() error {
	q.sweeping.Lock()
	defer q.sweeping.Unlock()
	return q.recordSealed()
}

// recordSealed is recordSegments for who holds q.sweeping.
func (q *Queue) recordSealed() error {
	keys, values := q.history.unrecorded()
	if len(keys) == 0 {
		return nil
	}
	b := q.db.NewBatch()
	for i := range keys {
		if err := b.Set(keys[i], values[i], nil); err != nil {
			return errors.Join(err, b.Close())
		}
	}
	return q.applySoon(b)
}

// forgetKeys deletes the duplicate keys that expired until now, in the order of their expiry.
func (q *Queue) forgetKeys(now int64) error {
	until := appendTime([]byte{spaceExpiry}, now)
	if q.expired.from == nil {
		q.expired.from = []byte{spaceExpiry}
	}
	for !q.stopping() {
		from := q.expired.from
		keys, next, err := q.expiredRests(from, until)
		if err != nil || len(keys) == 0 {
			return err
		}
		for _, rest := range keys {
			key := string(eventKey(spaceKey, rest))
			if err := q.flights.grounded(key, func() error { return q.forgetKey(key, now) }); err != nil {
				return err
			}
		}
		b := q.db.NewBatch()
		if err := b.DeleteRange(from, next, nil); err != nil {
			return errors.Join(err, b.Close())
		}
		if err := q.applySoon(b); err != nil {
			return err
		}
		q.expired.from = next
	}
	return nil
}

// expiredRests returns what stands behind TIME in a space of expiries, in the order of expiry, and where the
// next ones begin.
func (q *Queue) expiredRests(from, until []byte) (rests []string, next []byte, err error) {
	it, err := q.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: until})
	if err != nil {
		return nil, nil, err
	}
	for ok := it.First(); ok && len(rests) < expiredBatch; ok = it.Next() {
		if len(it.Key()) > 1+timeLen {
			rests = append(rests, string(it.Key()[1+timeLen:]))
		}
		next = append(append(next[:0], it.Key()...), 0)
	}
	return rests, next, closing(it, it.Error())
}

// forgetKey deletes a duplicate key unless it was stored anew. No flight with it can begin meanwhile.
func (q *Queue) forgetKey(key string, now int64) error {
	expires, _, err := lookUpKey(q.db, key)
	if err != nil || expires == 0 || expires > now {
		return err
	}
	return q.db.Delete([]byte(key), pebble.NoSync) // if it is not durable, it has expired all the same
}

// applySoon commits a batch that reaches the disk with the next one that must, and within syncDelay.
func (q *Queue) applySoon(b *pebble.Batch) error {
	if err := q.db.Apply(b, pebble.NoSync); err != nil {
		return err
	}
	select {
	case q.unsynced <- struct{}{}:
	default:
	}
	return b.Close()
}

// syncLoop sees to it that what was applied without a sync does not wait for the next Put for long.
func (q *Queue) syncLoop() {
	for {
		select {
		case <-q.closing:
			return
		case <-q.unsynced:
		}
		select {
		case <-q.closing: // Close syncs
			return
		case <-time.After(syncDelay):
		}
		if q.disk.holds() {
			continue
		}
		if err := q.db.LogData(nil, pebble.Sync); err != nil {
			q.log.Error("queue: syncing", "error", err)
		}
	}
}
