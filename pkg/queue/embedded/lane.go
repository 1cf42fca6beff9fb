package embedded

import (
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// prefetch is how many entries of a line are kept in memory: enough that a scan is rare, few enough that a
// thousand providers with long lines stay small.
const prefetch = 128

// entry is a waiting delivery in memory.
type entry struct {
	pos   string // its key behind the lane's prefix: the event's id, in the line of due times the time first
	event string
	due   int64
	fresh bool
	route string // of fresh entries
	size  int64  // of fresh entries
}

// line is an ordered set of waiting deliveries on disk, of which the head is in memory. Every entry up to
// cursor is in memory or held (see lane); behind it nothing is known if more is set, and nothing is there if
// it is not. A scan begins behind the cursor, so it never meets what was taken off the head.
type line struct {
	space   byte
	entries []entry // by pos
	cursor  string
	more    bool
}

// add takes in an entry that is on disk and no longer held.
func (l *line) add(e entry) {
	if l.more && e.pos > l.cursor {
		return // a scan will find it
	}
	i := len(l.entries)
	for i > 0 && l.entries[i-1].pos > e.pos { // nearly always the last
		i--
	}
	l.entries = slices.Insert(l.entries, i, e)
	if !l.more {
		l.cursor = max(l.cursor, e.pos)
	}
	// A head that grew twice as long as a scan makes it is cut back.
	if n := len(l.entries); n > 2*prefetch {
		clear(l.entries[prefetch:])
		l.entries = l.entries[:prefetch]
		l.cursor, l.more = l.entries[prefetch-1].pos, true
	}
}

// take takes the entry of an event out of memory; nil if it was not there.
func (l *line) take(event string) *entry {
	i := slices.IndexFunc(l.entries, func(e entry) bool { return e.event == event })
	if i < 0 {
		return nil
	}
	e := l.entries[i]
	l.entries = slices.Delete(l.entries, i, i+1)
	return &e
}

// first returns the head, or nil. It is valid until the line changes.
func (l *line) first() *entry {
	if len(l.entries) == 0 {
		return nil
	}
	return &l.entries[0]
}

func (l *line) pop() entry {
	e := l.entries[0]
	l.entries[0] = entry{}
	l.entries = l.entries[1:]
	return e
}

// noneBegun is behind all positions of space a.
const noneBegun = "\xff"

// lane is what is known of one provider. A delivery that somebody has in hand is held: a lease, a Put that is
// not durable yet, an operator's change. Nobody else takes it, and scans pass it by. Who lets go of it adds
// it to its line, if it still waits.
type lane struct {
	name string

	// changes serialises what operators do: retry, drop, replay.
	changes sync.Mutex

	mu      sync.Mutex
	fresh   line
	again   line
	held    map[string]*lease // by event; nil for all but leases
	settled sync.Cond         // a lease ended
	waiters []chan struct{}   // takers, first come first woken
	timer   *time.Timer
	armed   int64 // when the timer wakes somebody; 0 if it does not

	paused int64 // until when; 0 if not
	depth  int64
	dead   int64
	begun  string // no key of space a is before this position
}

func newLane(name string) *lane {
	l := &lane{
		name:  name,
		fresh: line{space: spaceFresh},
		again: line{space: spaceDue},
		held:  make(map[string]*lease),
		begun: noneBegun,
	}
	l.settled.L = &l.mu
	return l
}

// fill reads the next entries of a line if none are in memory. The caller holds l.mu, so that nothing is
// added meanwhile; what is committed but not added yet is held.
func (l *lane) fill(db *pebble.DB, ln *line) error {
	if len(ln.entries) > 0 || !ln.more {
		return nil
	}
	prefix := lanePrefix(ln.space, l.name)
	it, err := db.NewIter(&pebble.IterOptions{
		LowerBound: append(slices.Clone(prefix), ln.cursor+"\x00"...),
		UpperBound: after(prefix),
	})
	if err != nil {
		return err
	}
	entries := make([]entry, 0, prefetch)
	cursor, more := ln.cursor, false
	for ok := it.First(); ok; ok = it.Next() {
		if len(entries) == prefetch {
			more = true
			break
		}
		e := entry{pos: string(it.Key()[len(prefix):])}
		cursor = e.pos
		if ln.space == spaceFresh {
			d, err := decodeFresh(it.Value())
			if err != nil {
				return closing(it, err)
			}
			e.event, e.due, e.fresh, e.route, e.size = e.pos, d.Due, true, d.Route, d.Size
		} else {
			due, ok := timeOf([]byte(e.pos))
			if !ok {
				return closing(it, record.ErrDamaged)
			}
			e.event, e.due = e.pos[timeLen:], due
		}
		if _, held := l.held[e.event]; !held {
			entries = append(entries, e)
		}
	}
	if err := closing(it, it.Error()); err != nil {
		return err
	}
	ln.entries, ln.cursor, ln.more = entries, cursor, more
	return nil
}

// next takes the entry that is due now, or says when one will be (0: no saying).
func (l *lane) next(db *pebble.DB, now int64) (e entry, ok bool, wake int64, err error) {
	if l.paused > now {
		return entry{}, false, l.paused, nil
	}
	l.paused = 0
	if err := l.fill(db, &l.fresh); err != nil {
		return entry{}, false, 0, err
	}
	if err := l.fill(db, &l.again); err != nil {
		return entry{}, false, 0, err
	}
	f, a := l.fresh.first(), l.again.first()
	if a != nil && a.due > now {
		wake, a = a.due, nil
	}
	switch {
	case f == nil && a == nil:
		return entry{}, false, wake, nil
	case a == nil || f != nil && f.due <= a.due:
		return l.fresh.pop(), true, 0, nil
	default:
		return l.again.pop(), true, 0, nil
	}
}

// letGo ends the holding of an event. The entry is nil if it no longer waits.
func (l *lane) letGo(event string, e *entry) {
	delete(l.held, event)
	if e == nil {
		return
	}
	if e.fresh {
		l.fresh.add(*e)
	} else {
		l.again.add(*e)
	}
	l.wake()
}

// wake wakes the taker that waits longest. It looks for itself, and wakes the next if there is more.
func (l *lane) wake() {
	if len(l.waiters) == 0 {
		return
	}
	close(l.waiters[0])
	l.waiters[0] = nil
	l.waiters = l.waiters[1:]
}

// wait registers a taker and sees to it that somebody is woken at the given time (0: no time known).
func (l *lane) wait(wake, now int64) chan struct{} {
	ch := make(chan struct{})
	l.waiters = append(l.waiters, ch)
	if wake != 0 && (l.armed == 0 || wake < l.armed) {
		l.arm(wake, now)
	}
	return ch
}

func (l *lane) arm(wake, now int64) {
	l.armed = wake
	d := max(time.Duration(wake-now), 0)
	if l.timer == nil {
		l.timer = time.AfterFunc(d, l.ring)
		return
	}
	l.timer.Reset(d)
}

// ring is the timer's end. The woken taker arms it anew.
func (l *lane) ring() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = 0
	l.wake()
}

// leave takes a taker out of the waiting ones. If it was woken already, the next one is.
func (l *lane) leave(ch chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.waiters, ch); i >= 0 {
		l.waiters = slices.Delete(l.waiters, i, i+1)
		return
	}
	l.wake()
}

func (l *lane) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
}

// lanes are all providers that were ever seen, configured or not.
type lanes struct {
	mu sync.RWMutex
	m  map[string]*lane
}

// get returns a provider's lane, nil if it was never seen.
func (ls *lanes) get(name string) *lane {
	ls.mu.RLock()
	defer ls.mu.RUnlock()
	return ls.m[name]
}

// open returns a provider's lane, a new one if need be.
func (ls *lanes) open(name string) *lane {
	if l := ls.get(name); l != nil {
		return l
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.m[name]
	if l == nil {
		if ls.m == nil {
			ls.m = make(map[string]*lane)
		}
		l = newLane(name)
		ls.m[name] = l
	}
	return l
}

// all returns the lanes by name.
func (ls *lanes) all() []*lane {
	ls.mu.RLock()
	defer ls.mu.RUnlock()
	out := make([]*lane, 0, len(ls.m))
	for _, l := range ls.m {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *lane) int {
		if a.name < b.name {
			return -1
		}
		return 1 // names differ
	})
	return out
}
