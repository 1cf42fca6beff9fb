package jetstream

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// prefetch is how many deliveries of a provider are fetched ahead: enough that a taker seldom waits for the
// server, few enough that the signs of life cost little.
const prefetch = 64

// doubtful is how many deliveries under a new pin are looked up: a leader that dies may have handed out some without
// telling the next one, which takes them for fresh.
const doubtful = 512

// maxRetries is how many deliveries that are due soon are kept here rather than by the server.
const maxRetries = 1 << 10

// group is the one priority group of every consumer.
const group = "owner"

// entry is a delivery that the server has handed to us.
type entry struct {
	event   string
	home    string // where the event is stored: the home and the id of its post
	post    string
	msg     jetstream.Msg
	seq     uint64
	d       record.Delivery
	looked  bool   // d is all that is recorded
	retried bool   // there may be a record of kindRetry
	again   *anew  // how it began anew, if it was replayed while it was held
	due     int64  // its place in the line: when it is due, of fresh ones when it was stored
	arrived uint64 // its place among those with the same due
	since   time.Time
	index   int // in the line
}

// anew is the message with which a delivery began anew.
type anew struct {
	started int64
	seq     uint64
}

// line is a heap of entries in the order in which they are due.
type line []*entry

func (l *line) Len() int { return len(*l) }

func (l *line) Less(i, j int) bool {
	a, b := (*l)[i], (*l)[j]
	if a.due != b.due {
		return a.due < b.due
	}
	return a.arrived < b.arrived
}

func (l *line) Swap(i, j int) {
	s := *l
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

func (l *line) Push(x any) {
	e := x.(*entry)
	e.index = len(*l)
	*l = append(*l, e)
}

func (l *line) Pop() any {
	old := *l
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*l = old[:len(old)-1]
	return e
}

// lane is a provider on this replica. Of all replicas that want its deliveries the server gives them to one, the
// pinned client, so that what the notifier keeps in memory of a provider (its rate, its concurrency, the order of
// what is about the same thing) holds for all.
type lane struct {
	q        *Queue
	provider string

	mu      sync.Mutex
	change  chan struct{} // closed and made anew at every change that a taker or the loop waits for
	running bool
	line    line
	waiting map[string]*entry // what is in the line, by event
	held    map[string]*entry // what is leased or being settled, by event
	parked  map[string]*entry // what came of an event while it was held: a replay, or the same again
	count   uint64
	takers  int
	left    time.Time // when the last taker went
	quit    bool      // it was sent away: its context ended
	pin     string    // our pin, if we have one
	checked bool      // the provider's pause was looked up under this pin
	gathers bool      // what comes back to us under a new pin is still coming
	doubts  int       // how many deliveries are to be looked up yet, though the server says that they are fresh
	void    time.Time // when we learned that pins are void; the loop's alone
	since   uint64    // what was stored up to then may have been delivered under another consumer; the loop's alone
}

// lanes are the providers that were taken from.
type lanes struct {
	mu sync.Mutex
	m  map[string]*lane
}

func (ls *lanes) get(provider string) *lane {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.m[provider]
}

func (ls *lanes) open(q *Queue, provider string) *lane {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.m[provider]
	if l == nil {
		if ls.m == nil {
			ls.m = make(map[string]*lane)
		}
		l = &lane{
			q: q, provider: provider, change: make(chan struct{}),
			waiting: make(map[string]*entry), held: make(map[string]*entry), parked: make(map[string]*entry),
		}
		ls.m[provider] = l
	}
	return l
}

// Take waits for a delivery that is due. The first one of a provider makes its consumer.
func (q *Queue) Take(ctx context.Context, provider string) (bellhop.Lease, error) {
	if err := record.CheckProvider(provider); err != nil {
		return nil, fmt.Errorf("taking: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := q.begin(); err != nil {
		return nil, err
	}
	defer q.end()
	l := q.lanes.open(q, provider)
	l.enter()
	lease, err := l.take(ctx)
	l.leave(ctx.Err() != nil)
	return lease, err
}

func (l *lane) enter() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.takers++; l.takers == 1 {
		l.changedLocked()
	}
	if !l.running {
		l.running = true
		l.q.tasks.Go(l.run)
		l.q.tasks.Go(l.live)
	}
}

func (l *lane) leave(quit bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.takers--
	l.left, l.quit = time.Now(), quit
}

func (l *lane) take(ctx context.Context) (bellhop.Lease, error) {
	for {
		l.mu.Lock()
		e, wait := l.next(time.Now())
		change := l.change
		l.mu.Unlock()
		if e != nil {
			due, err := l.look(ctx, e)
			if err != nil {
				l.putBack(e)
				return nil, fmt.Errorf("taking a delivery to %s: %w", l.provider, err)
			}
			if due {
				return &lease{lane: l, entry: e}, nil
			}
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-l.q.ctx.Done():
		case <-change:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if l.q.ctx.Err() != nil {
			return nil, errStopped
		}
	}
}

// next takes what is due first out of the line and holds it, or says how long to wait.
func (l *lane) next(now time.Time) (*entry, time.Duration) {
	if until := l.q.pauses.get(l.provider).until; until > now.UnixNano() {
		return nil, time.Duration(until - now.UnixNano())
	}
	if len(l.line) == 0 || !l.checked || l.gathers {
		return nil, time.Hour
	}
	e := l.line[0]
	if e.due > now.UnixNano() {
		return nil, time.Duration(e.due - now.UnixNano())
	}
	if !l.ours(e, now) {
		return nil, time.Hour // the next sign of life tells
	}
	heap.Pop(&l.line)
	delete(l.waiting, e.event)
	l.held[e.event] = e
	return e, 0
}

// ours reports whether the server gives e to nobody else for a while yet.
func (l *lane) ours(e *entry, now time.Time) bool {
	return now.Sub(e.since) < l.q.o.ackWait*3/4
}

// look reads what is recorded of a held delivery that is not fresh. It reports false if it is not to be taken now.
func (l *lane) look(ctx context.Context, e *entry) (bool, error) {
	if e.looked {
		return true, nil
	}
	q := l.q
	is, err := q.lookUp(ctx, l.provider, e.event)
	if err != nil {
		return false, err
	}
	found, done := e.d, false
	for state, d := range is.records() {
		switch {
		case d.Started > e.d.Started: // it was replayed or retried by hand since, and has another message
			done = true
		case d.Started == e.d.Started:
			found, done = *d, done || state != bellhop.Waiting
		case state == bellhop.Dead: // a retry that was cut off before it had taken the dead one away
			if err := q.bury(ctx, is.dead); err != nil {
				return false, err
			}
		default:
			found.Log = d.Log
		}
	}
	l.mu.Lock()
	e.d = found
	l.mu.Unlock()
	e.retried = e.retried || is.retry != nil
	if done { // or its acknowledgement was lost
		if is.retry != nil {
			q.tidy(ctx, l.provider, e.event)
		}
		if err := q.acknowledge(ctx, e.msg.Reply()); err != nil {
			return false, err
		}
		l.release(e)
		return false, nil
	}
	e.looked = true
	if e.d.Due > time.Now().UnixNano() {
		e.due = e.d.Due
		l.putBack(e)
		return false, nil
	}
	return true, nil
}

// putBack ends the holding of an entry that waits again.
func (l *lane) putBack(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.letGo(e) == nil {
		l.push(e)
	}
	l.changedLocked()
}

// release ends the holding of an entry that does not wait any more.
func (l *lane) release(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.letGo(e)
	l.changedLocked()
}

// letGo ends the holding of an entry, and lines up what came of its event meanwhile.
func (l *lane) letGo(e *entry) (parked *entry) {
	if l.held[e.event] == e {
		delete(l.held, e.event)
	}
	if parked = l.parked[e.event]; parked != nil {
		delete(l.parked, e.event)
		l.push(parked)
	}
	return parked
}

// withdraw takes an event's delivery out of the line; nil if it is not there.
func (l *lane) withdraw(event string) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.waiting[event]
	if e != nil {
		l.drop(e)
	}
	return e
}

// supersede tells whoever holds an event's delivery that it began anew in another message. It returns what is held, nil
// if nothing is.
func (l *lane) supersede(event string, by *anew) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.held[event]
	if e != nil {
		e.again = by
	}
	return e
}

// holding is when the delivery of an event that is held began, 0 if none is.
func (l *lane) holding(event string) int64 {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.held[event]; e != nil {
		return e.d.Started
	}
	return 0
}

// drop takes an entry out of the line.
func (l *lane) drop(e *entry) {
	heap.Remove(&l.line, e.index)
	delete(l.waiting, e.event)
}

func (l *lane) push(e *entry) {
	l.waiting[e.event] = e
	heap.Push(&l.line, e)
}

func (l *lane) changed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changedLocked()
}

func (l *lane) changedLocked() {
	close(l.change)
	l.change = make(chan struct{})
}

// live gives signs of life of what we have, until the queue is closed, whatever the pulls wait for.
func (l *lane) live() {
	for sleep(l.q.ctx, l.q.o.pull) {
		l.showLife(time.Now())
	}
}

// run fetches deliveries, until the queue is closed.
func (l *lane) run() {
	var c jetstream.Consumer
	for l.q.ctx.Err() == nil {
		l.own(l.pin) // only this goroutine sets it
		room, change, wait := l.room()
		if room == 0 {
			l.yield()
			timer := time.NewTimer(wait)
			select {
			case <-change:
			case <-timer.C:
			case <-l.q.ctx.Done():
			}
			timer.Stop()
			continue
		}
		err := l.q.prepared()
		if err == nil && c == nil {
			c, l.since, err = l.q.consumer(l.q.ctx, l.provider)
		}
		if err == nil {
			err = l.fetch(c, room)
		}
		if err != nil && l.q.ctx.Err() == nil {
			if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) {
				c = nil
				l.unpinned() // leaders do not tell each other of pins
			}
			l.q.logger.Debug("fetching deliveries", "provider", l.provider, "error", err)
			sleep(l.q.ctx, l.q.o.pull/4)
		}
	}
	// What is being settled is settled first; then nothing of ours is left.
	ctx, cancel := context.WithTimeout(context.Background(), l.q.o.patience)
	defer cancel()
	l.q.operations.Wait()
	l.q.settling.wait(ctx)
	l.yield()
}

// room is how many deliveries to fetch: none if nobody takes them here, so that another replica can.
func (l *lane) room() (n int, change chan struct{}, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if pause := time.Duration(l.q.pauses.get(l.provider).until - now.UnixNano()); pause > 2*l.q.o.pull {
		return 0, l.change, pause - l.q.o.pull
	}
	if l.takers == 0 && len(l.held) == 0 {
		patience := l.q.o.idle
		if l.quit {
			patience = l.q.o.gone
		}
		if now.Sub(l.left) > patience {
			return 0, l.change, time.Hour
		}
	}
	retries := 0
	for _, e := range l.line {
		if e.due > now.UnixNano() {
			retries++
		}
	}
	// One at least, since a pull keeps the pin.
	return max(1, prefetch-(len(l.line)-retries)), l.change, 0
}

// fetch makes one pull.
func (l *lane) fetch(c jetstream.Consumer, room int) error {
	began := time.Now()
	batch, err := c.Fetch(room, jetstream.FetchMaxWait(l.q.o.pull), jetstream.FetchPriorityGroup(group))
	if err != nil {
		return err
	}
	for more := true; more; {
		var quiet <-chan time.Time
		if l.isGathering() {
			quiet = time.After(l.q.o.quiet)
		}
		select {
		case m, ok := <-batch.Messages():
			if more = ok; ok {
				l.receive(m, began)
			}
		case <-quiet:
			l.gathered()
		}
	}
	switch err = batch.Error(); {
	case errors.Is(err, jetstream.ErrPinIDMismatch): // another replica has the provider now
		l.unpinned()
		l.yield()
		return nil
	case errors.Is(err, jetstream.ErrConsumerLeadershipChanged): // the new leader says so, and pins who pulls first
		l.unpinned()
		return nil
	case err == nil && l.pin == "": // another has had the provider all the while
		l.yield()
	}
	return err
}

// unpinned hands nothing out any more. What we have we may be asked for again, by the next pin, but another may have
// delivered it by then.
func (l *lane) unpinned() {
	l.void = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pin, l.checked, l.gathers = "", false, false
	for _, e := range l.line {
		e.looked = false
	}
}

// receive lines up a delivery that a pull of some time ago brought.
func (l *lane) receive(m jetstream.Msg, pulled time.Time) {
	meta, err := m.Metadata()
	if err != nil {
		l.q.logger.Error("a message without its numbers", "provider", l.provider, "error", err)
		return
	}
	_, _, event := l.q.names.splitMessage(m.Subject())
	p, err := pointerOf(l.provider, event, m.Headers())
	if err != nil {
		l.q.logger.Error("a delivery that cannot be read is given up", "provider", l.provider, "event", event, "error", err)
		_ = m.TermWithReason("damaged") // or it comes again
		return
	}
	l.own(m.Headers().Get("Nats-Pin-Id"))
	e := &entry{
		event: event, home: p.home, post: p.post, msg: m, seq: meta.Sequence.Stream, d: p.delivery, retried: p.again, since: pulled,
		looked: meta.NumDelivered == 1 && !p.again && meta.Sequence.Stream > l.since,
	}
	e.due = meta.Timestamp.UnixNano()
	if time.Since(meta.Timestamp) > l.q.o.ackWait-2*l.q.o.pull {
		// The leader tells the others when it was stored, not when it was delivered: whoever leads next, before the first
		// sign of life, would give it to another at once.
		_ = m.InProgress() // or the next sign of life tells
	}
	switch gathering := l.isGathering(); {
	case meta.NumDelivered > 1 && !gathering:
		e.due = l.place(e)
	case meta.NumDelivered == 1 && gathering: // what comes back comes first
		l.gathered()
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	e.arrived = l.count
	held, old := l.held[event], l.waiting[event]
	if held != nil {
		old = l.parked[event]
	}
	if old != nil {
		void := old
		if old.d.Started > e.d.Started {
			void = e
		}
		if old.seq != e.seq && (held == nil || held.seq != void.seq) {
			void.void()
		}
		if void == e {
			return
		}
	}
	if l.doubts > 0 || held != nil {
		e.looked = false
	}
	l.doubts = max(0, l.doubts-1)
	if held != nil {
		l.parked[event] = e
		return
	}
	if old != nil {
		l.drop(old)
	}
	l.push(e)
	l.changedLocked()
}

// void gives up a message that another of the same delivery has taken the place of.
func (e *entry) void() { _ = e.msg.Ack() } // or it comes again, and look finds the same

// own makes the provider ours under a pin. Its pause is asked for first, since whoever had it before may have been
// told to wait just now.
func (l *lane) own(pin string) {
	l.mu.Lock()
	known := pin == l.pin && l.checked
	l.mu.Unlock()
	if known || pin == "" {
		return
	}
	err := l.q.lookUpPause(l.q.ctx, l.provider)
	l.mu.Lock()
	defer l.mu.Unlock()
	if pin != l.pin {
		l.gathers, l.doubts = true, doubtful
	}
	l.pin, l.checked = pin, err == nil
	l.changedLocked()
}

// The server hands what comes back to a new owner before all else, but while the old one has the pin it turns that
// line round and round. So nothing is handed out until all of it is here, and in its order again.

func (l *lane) isGathering() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gathers
}

// gathered puts what came back in its order.
func (l *lane) gathered() {
	l.mu.Lock()
	back := slices.DeleteFunc(slices.Clone(l.line), func(e *entry) bool { return e.looked })
	l.mu.Unlock()
	if len(back) > 0 {
		// Whoever was sending it when the pins became void has a moment to record it.
		sleep(l.q.ctx, time.Until(l.void.Add(l.q.o.pull/3)))
	}
	places := make([]int64, len(back))
	var wg sync.WaitGroup
	hands := make(chan struct{}, 16)
	for i, e := range back {
		hands <- struct{}{}
		wg.Go(func() {
			defer func() { <-hands }()
			places[i] = l.place(e)
		})
	}
	wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, e := range back {
		e.due = places[i]
	}
	heap.Init(&l.line)
	l.gathers = false
	l.changedLocked()
}

// place finds out when a delivery that came back is due.
func (l *lane) place(e *entry) int64 {
	m, err := l.q.latest(l.q.ctx, l.q.names.records(), l.q.names.delivery(kindRetry, l.provider, e.event))
	if err == nil {
		if r, err := decodeRetry(m.Data); err == nil && r.Started == e.d.Started && r.Due > 0 {
			return r.Due
		}
	}
	return e.due // that of a fresh one
}

// yield hands back what nobody has taken yet, in its order, and lets go of the provider. No pull is under way.
func (l *lane) yield() {
	l.mu.Lock()
	pin := l.pin
	l.pin, l.checked, l.gathers = "", false, false
	var back []*entry
	for len(l.line) > 0 {
		back = append(back, heap.Pop(&l.line).(*entry))
	}
	clear(l.waiting)
	if l.q.ctx.Err() != nil {
		leased := slices.AppendSeq(slices.Collect(maps.Values(l.held)), maps.Values(l.parked))
		leased = slices.DeleteFunc(leased, func(e *entry) bool { return e.again != nil }) // acknowledged when it was replayed
		slices.SortFunc(leased, func(a, b *entry) int { return cmp.Compare(a.seq, b.seq) })
		back = append(leased, back...)
		clear(l.held)
		clear(l.parked)
	}
	l.mu.Unlock()
	now := time.Now().UnixNano()
	for _, e := range back {
		if e.looked && e.due > now {
			_ = e.msg.NakWithDelay(time.Duration(e.due - now)) // or it comes back by itself
		} else {
			_ = e.msg.Nak()
		}
	}
	if len(back) == 0 && pin == "" || !l.q.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.q.o.patience)
	defer cancel()
	if pin == "" {
		_ = l.q.nc.FlushWithContext(ctx) // or they come back by themselves
		return
	}
	s, err := l.q.js.Stream(ctx, l.q.names.events())
	if err == nil {
		err = s.UnpinConsumer(ctx, consumer(l.provider), group)
	}
	if err != nil {
		l.q.logger.Debug("letting go of a provider", "provider", l.provider, "error", err)
	}
}

// showLife tells the server that we work on what we have. Where it does not answer, what has not been taken yet may be
// another's soon, and is forgotten.
func (l *lane) showLife(now time.Time) {
	l.mu.Lock()
	ours := make([]*entry, 0, len(l.line)+len(l.held)+len(l.parked))
	ours = append(ours, l.line...)
	for _, m := range []map[string]*entry{l.held, l.parked} {
		for _, e := range m {
			ours = append(ours, e)
		}
	}
	l.mu.Unlock()
	if len(ours) == 0 {
		return
	}
	err := l.q.showLife(ours)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range ours {
		if err == nil {
			e.since = now
		} else if l.waiting[e.event] == e && time.Since(e.since) > l.q.o.ackWait {
			l.drop(e)
		}
	}
	l.changedLocked()
}

// showLife returns once the consumer's leader has heard of all.
func (q *Queue) showLife(entries []*entry) error {
	progress := []byte("+WPI")
	for _, e := range entries[1:] {
		if err := q.nc.Publish(e.msg.Reply(), progress); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(q.ctx, q.o.pull)
	defer cancel()
	_, err := q.nc.RequestWithContext(ctx, entries[0].msg.Reply(), progress)
	return err
}

// since is what the metadata of a consumer say of the stream's last message when it was made.
const since = "bellhop-since"

// consumer opens a provider's consumer, which all replicas share. What is stored up to a sequence may have been
// delivered under another, if somebody deleted that.
func (q *Queue) consumer(ctx context.Context, provider string) (_ jetstream.Consumer, upTo uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, q.o.patience)
	defer cancel()
	stream := q.names.events()
	want := jetstream.ConsumerConfig{
		Durable: consumer(provider), Description: "Bellhop: provider " + provider,
		FilterSubject: q.names.deliveries(provider), HeadersOnly: true, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: q.o.ackWait, MaxDeliver: -1, MaxAckPending: -1,
		PriorityPolicy: jetstream.PriorityPolicyPinned, PriorityGroups: []string{group}, PinnedTTL: q.o.pinned,
	}
	c, err := q.js.Consumer(ctx, stream, want.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		var s jetstream.Stream
		if s, err = q.js.Stream(ctx, stream); err == nil {
			want.Metadata = map[string]string{since: strconv.FormatUint(s.CachedInfo().State.LastSeq, 10)}
			c, err = q.js.CreateOrUpdateConsumer(ctx, stream, want)
		}
	}
	if err != nil {
		return nil, 0, q.explained(fmt.Errorf("opening consumer %s of stream %s: %w", want.Durable, stream, err))
	}
	is := c.CachedInfo().Config
	if is.FilterSubject != want.FilterSubject || is.PriorityPolicy != want.PriorityPolicy || !slices.Equal(is.PriorityGroups, want.PriorityGroups) ||
		is.AckPolicy != want.AckPolicy || is.MaxDeliver > 0 || is.MaxAckPending > 0 || is.AckWait != want.AckWait || is.PinnedTTL != want.PinnedTTL ||
		!is.HeadersOnly {
		want.Metadata = is.Metadata
		if c, err = q.js.UpdateConsumer(ctx, stream, want); err != nil {
			return nil, 0, q.explained(fmt.Errorf("consumer %s of stream %s is set otherwise than it must be, and cannot be changed; "+
				"run: nats consumer rm %s %s, and it is made anew: %w", want.Durable, stream, stream, want.Durable, err))
		}
	}
	upTo, err = strconv.ParseUint(is.Metadata[since], 10, 64)
	if err != nil {
		upTo = math.MaxUint64 // not made by us: all is looked up
	}
	return c, upTo, nil
}
