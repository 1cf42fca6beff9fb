package rig

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Ledger holds what a sender was promised against what one destination got, by the deliveries' numbers.
type Ledger struct {
	mu      sync.Mutex
	entries map[int64]entry
	tally   Tally
	news    chan struct{} // has a token whenever something was counted

	acknowledged time.Time // the last acknowledgement
	progress     time.Time // the last delivery, or the acknowledgement since which one is owed
}

type entry struct {
	acknowledged bool
	delivered    bool
}

// Tally is what a ledger adds up to.
type Tally struct {
	Acknowledged int64 // deliveries answered with 2xx
	Delivered    int64 // of those, how many the destination has accepted
	Duplicates   int64 // deliveries that the destination has accepted more than once, each further time counted
	Unanswered   int64 // delivered, but not acknowledged: the sender would send it again
	Lost         int64 // acknowledged, but not delivered so far
	Strangers    int64 // bodies without a delivery's number
	// AcceptStall is the longest time between two acknowledgements, DeliverStall the longest without a
	// delivery while one was owed.
	AcceptStall, DeliverStall time.Duration
}

// NewLedger is an empty one.
func NewLedger() *Ledger {
	return &Ledger{entries: map[int64]entry{}, news: make(chan struct{}, 1)}
}

// Acknowledge counts an answer of 2xx; it is made for Load.Acknowledged.
func (l *Ledger) Acknowledge(n int64, _, _ time.Time) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[n]
	if e.acknowledged {
		return
	}
	e.acknowledged = true
	l.entries[n] = e
	if l.tally.Acknowledged > 0 {
		l.tally.AcceptStall = max(l.tally.AcceptStall, now.Sub(l.acknowledged))
	}
	l.acknowledged = now
	l.tally.Acknowledged++
	if e.delivered {
		l.tally.Unanswered--
		l.tally.Delivered++
	} else {
		if l.tally.Lost == 0 {
			l.progress = now
		}
		l.tally.Lost++
	}
	l.tell()
}

// Deliver counts what a destination accepted; it is made for Sink.Received.
func (l *Ledger) Deliver(body []byte) {
	n, ok := DeliveryOf(body)
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.tell()
	if !ok {
		l.tally.Strangers++
		return
	}
	e := l.entries[n]
	if e.delivered {
		l.tally.Duplicates++
		return
	}
	e.delivered = true
	l.entries[n] = e
	if l.tally.Lost > 0 {
		l.tally.DeliverStall = max(l.tally.DeliverStall, now.Sub(l.progress))
		l.progress = now
	}
	if e.acknowledged {
		l.tally.Lost--
		l.tally.Delivered++
	} else {
		l.tally.Unanswered++
	}
}

func (l *Ledger) tell() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// Tally is how things stand now.
func (l *Ledger) Tally() Tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tally
}

// Await returns once enough holds, or with an error when nothing was counted for as long as idle. One caller
// at a time.
func (l *Ledger) Await(ctx context.Context, idle time.Duration, enough func(Tally) bool) error {
	t := time.NewTimer(idle)
	defer t.Stop()
	for !enough(l.Tally()) {
		select {
		case <-l.news:
			t.Reset(idle)
		case <-t.C:
			return fmt.Errorf("nothing happened for %v", idle)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
