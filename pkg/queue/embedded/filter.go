package embedded

import (
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// Nearly every delivery is a first one, and asking Pebble for a key that is not there is the dearest read
// there is. A Bloom filter over the keys that are remembered answers that from memory: what it does not hold
// was never stored. It grows with the keys up to maxGenerations; beyond that, and until it was filled from
// the disk after a start, Pebble is asked each time.
const (
	generationWords = 1 << 16                      // 512 KiB
	generationKeys  = generationWords * 64 / 10    // ten bits a key: one in a hundred is asked for in vain
	filterProbes    = 7                            // what suits ten bits
	maxGenerations  = 16                           // 6.7 million keys, 8 MiB
	generationBits  = uint64(generationWords) * 64 // a power of two
)

type keyFilter struct {
	seed   maphash.Seed
	filled atomic.Bool  // all keys of the disk are in it
	blind  atomic.Int64 // until then (nanoseconds) keys may be remembered that did not fit

	live atomic.Pointer[[]*generation]
	mu   sync.Mutex // one change of live at a time
}

// generation holds keys of about one time, so that it can go once the last of them expired.
type generation struct {
	bits    [generationWords]atomic.Uint64
	keys    atomic.Int64
	expires atomic.Int64
}

func (f *keyFilter) init() {
	f.seed = maphash.MakeSeed()
	f.live.Store(&[]*generation{})
}

// mayHold reports whether the key may be remembered. False is certain.
func (f *keyFilter) mayHold(key string, now int64) bool {
	if !f.filled.Load() || now < f.blind.Load() {
		return true
	}
	h := maphash.String(f.seed, key)
	for _, g := range *f.live.Load() {
		if g.holds(h) {
			return true
		}
	}
	return false
}

// add must be called before anybody who asks could be told of the key by Pebble.
func (f *keyFilter) add(key string, expires, now int64) {
	g := f.room(expires, now)
	if g == nil {
		raise(&f.blind, expires)
		return
	}
	h := maphash.String(f.seed, key)
	for i := range uint64(filterProbes) {
		bit := probe(h, i)
		g.bits[bit/64].Or(1 << (bit % 64))
	}
}

// room is the generation that takes a key, nil if there is none.
func (f *keyFilter) room(expires, now int64) *generation {
	if live := *f.live.Load(); len(live) > 0 {
		if g := live[len(live)-1]; g.take(expires) {
			return g
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	live := slices.DeleteFunc(slices.Clone(*f.live.Load()), func(g *generation) bool {
		return g.keys.Load() >= generationKeys && g.expires.Load() < now
	})
	if len(live) > 0 {
		if g := live[len(live)-1]; g.take(expires) {
			return g // somebody else was quicker
		}
	}
	if len(live) == maxGenerations {
		return nil
	}
	g := new(generation)
	g.take(expires)
	live = append(live, g)
	f.live.Store(&live)
	return g
}

// take claims room for a key. The expiry comes first: whoever finds a generation full finds the expiry of all
// its keys.
func (g *generation) take(expires int64) bool {
	if g.keys.Load() >= generationKeys {
		return false
	}
	raise(&g.expires, expires)
	return g.keys.Add(1) <= generationKeys
}

func (g *generation) holds(h uint64) bool {
	for i := range uint64(filterProbes) {
		bit := probe(h, i)
		if g.bits[bit/64].Load()&(1<<(bit%64)) == 0 {
			return false
		}
	}
	return true
}

// probe is the i-th bit of a hash, by double hashing.
func probe(h, i uint64) uint64 { return (h + i*(h>>32|1)) % generationBits }

func raise(v *atomic.Int64, to int64) {
	for {
		old := v.Load()
		if old >= to || v.CompareAndSwap(old, to) {
			return
		}
	}
}

// fillFilter reads the keys that the disk remembered at the start. It runs beside everything else.
func (q *Queue) fillFilter(now int64) {
	start := time.Now()
	n, err := q.readKeys(now)
	if err != nil {
		q.log.Error("queue: reading the duplicate keys; each delivery is looked up on the disk", "error", err)
		return
	}
	q.filter.filled.Store(true)
	q.log.Debug("queue: duplicate keys read", "keys", n, "took", time.Since(start))
}

func (q *Queue) readKeys(now int64) (n int, err error) {
	it, err := q.space(spaceExpiry)
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%1024 == 0 && q.stopping() {
			return n, closing(it, errStopped)
		}
		at := it.Key()[1:]
		expires, ok := timeOf(at)
		if !ok {
			return n, closing(it, fmt.Errorf("key %d: %w", n, record.ErrDamaged))
		}
		q.filter.add(string(eventKey(spaceKey, string(at[timeLen:]))), expires, now)
	}
	return n, closing(it, it.Error())
}
