package queuetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

var modelCases = []testCase{
	{"A", func(r *rig) { newModel(r, 1).walk(700) }},
	{"B", func(r *rig) { newModel(r, 1).walk(700) }},
}

// RunReplicas walks through operations at random, each by one of several queues that are open on one store.
func RunReplicas(t *testing.T, engine func(t *testing.T) Engine) {
	runCases(t, engine, []testCase{
		{"TwoA", func(r *rig) { newModel(r, 2).walk(250) }},
		{"TwoB", func(r *rig) { newModel(r, 2).walk(250) }},
		{"Three", func(r *rig) { newModel(r, 3).walk(250) }},
	})
}

// model is what a queue must hold after any row of operations: the simplest thing that can be said of it.
type model struct {
	*rig    // its queue is the one that the operation goes to
	rand    *rand.Rand
	open    []bellhop.Queue
	settler bellhop.Queue // the one that settled last
	events  []string
	posts   []*bellhop.Post // those with a key
	fates   map[string]*fate
	memos   map[string]bellhop.Memo // by provider
	paused  map[string]time.Time    // by provider
	killed  bool
	// replayed is the delivery that was replayed last.
	replayed string
}

// fate is what has become of a delivery.
type fate struct {
	state bellhop.DeliveryState
	// tried says whether it was tried since it began, later that it is not due.
	tried    bool
	attempts int
	later    bool
	lease    bellhop.Lease // nil if it is not leased
	by       bellhop.Queue
	// again says that it began anew after a time, and what is said above is of the one before, which a queue may still
	// have in hand.
	again answer
	since time.Time
}

// unknown attempts are as many as the engine says.
const unknown = -1

// answer is one that may depend on which of two queues was faster.
type answer int

const (
	no answer = iota
	maybe
	yes
)

var modelProviders = []string{"p", "q", "r"}

func newModel(r *rig, replicas int) *model {
	seed := rand.Uint64()
	r.Logf("seed %d", seed)
	m := &model{
		rig: r, rand: rand.New(rand.NewPCG(seed, 0)), open: []bellhop.Queue{r.Queue},
		fates: make(map[string]*fate), memos: make(map[string]bellhop.Memo), paused: make(map[string]time.Time),
	}
	for len(m.open) < replicas {
		m.open = append(m.open, r.engine.Open(r.T))
	}
	r.Cleanup(func() {
		for _, q := range m.open {
			if err := q.Close(); err != nil {
				r.Errorf("closing: %v", err)
			}
		}
	})
	return m
}

func (m *model) walk(steps int) {
	for i := range steps {
		m.turn()
		switch n := m.rand.IntN(1000); {
		case n < 150:
			m.put()
		case n < 170:
			m.putAgain()
		case n < 420:
			m.take()
		case n < 670:
			m.settle()
		case n < 750:
			m.retryOrDrop()
		case n < 930:
			m.replay()
		case n < 940:
			m.reopen()
		case n < 950:
			m.pause()
		default:
			m.check(i)
		}
	}
	m.reopen()
	m.check(steps)
}

// turn lets any of the queues have the next operation.
func (m *model) turn() {
	m.Queue = m.open[m.rand.IntN(len(m.open))]
	if m.settler != m.Queue {
		m.recorded()
	}
}

// recorded returns once what was settled is there for all: the queue that settled it waits for that before it reads.
func (m *model) recorded() {
	if m.settler != nil {
		_, err := m.settler.Stats(m.context(), modelProviders[0])
		m.must(err)
	}
	m.settler = nil
}

func (m *model) provider() string { return modelProviders[m.rand.IntN(len(modelProviders))] }

// matching are the deliveries that match, in an order that a seed tells.
func (m *model) matching(match func(id string, f *fate) bool) []string {
	var ids []string
	for id, f := range m.fates {
		if match(id, f) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// pick returns one of the deliveries that match, or "".
func (m *model) pick(match func(f *fate) bool) string {
	ids := m.matching(func(_ string, f *fate) bool { return match(f) })
	if len(ids) == 0 {
		return ""
	}
	return ids[m.rand.IntN(len(ids))]
}

func isLeased(f *fate) bool { return f.lease != nil }

func isTo(provider, id string) bool { return strings.HasSuffix(id, "."+provider) }

func (m *model) put() {
	post := &bellhop.Post{}
	var want []string
	for range 1 + m.rand.IntN(4)/3*(1+m.rand.IntN(2)) { // seldom more than one
		item := bellhop.Item{Event: NewEvent(`{"ref":"refs/heads/main"}`)}
		want = append(want, item.Event.ID)
		for _, p := range modelProviders {
			if m.rand.IntN(2) == 0 {
				item.To = append(item.To, bellhop.Target{Provider: p})
				m.fates[bellhop.DeliveryID(item.Event.ID, p)] = &fate{state: bellhop.Waiting}
			}
		}
		post.Items = append(post.Items, item)
	}
	if m.rand.IntN(4) == 0 {
		post.Key, post.Window = want[0], time.Hour
		m.posts = append(m.posts, post)
	}
	receipt, err := m.Put(m.context(), post)
	m.must(err)
	if receipt.Duplicate || !slices.Equal(receipt.IDs, want) {
		m.Fatalf("receipt %+v for events %s", receipt, want)
	}
	m.events = append(m.events, want...)
}

func (m *model) putAgain() {
	if len(m.posts) == 0 {
		return
	}
	post := m.posts[m.rand.IntN(len(m.posts))]
	receipt, err := m.Put(m.context(), post)
	m.must(err)
	if !receipt.Duplicate || len(receipt.IDs) != len(post.Items) || receipt.IDs[0] != post.Items[0].Event.ID {
		m.Fatalf("receipt %+v for a duplicate of event %s", receipt, post.Items[0].Event.ID)
	}
}

// take asks all queues at once, since the provider's deliveries may be given to any of them; but sometimes one alone,
// which is given them as soon as no other has anything of the provider in hand.
func (m *model) take() {
	provider := m.provider()
	due := m.matching(func(id string, f *fate) bool {
		return isTo(provider, id) && f.state == bellhop.Waiting && f.lease == nil && (!f.later || f.again == yes)
	})
	if len(due) == 0 || !m.paused[provider].IsZero() {
		return // it would wait
	}
	from := m.open
	if m.rand.IntN(10) == 0 && len(m.matching(func(id string, f *fate) bool { return isTo(provider, id) && f.lease != nil && f.by != m.Queue })) == 0 {
		from = []bellhop.Queue{m.Queue}
	}
	type taken struct {
		lease bellhop.Lease
		by    bellhop.Queue
		err   error
	}
	got := make(chan taken)
	ctx, cancel := context.WithCancel(m.context())
	defer cancel()
	for _, q := range from {
		go func() {
			lease, err := q.Take(ctx, provider)
			got <- taken{lease, q, err}
		}()
	}
	some := false
	for range from {
		t := <-got
		cancel() // one will do
		if t.err != nil {
			if !errors.Is(t.err, context.Canceled) {
				m.Fatalf("taking one of %v: %v", due, t.err)
			}
			continue
		}
		some = true
		d := t.lease.Delivery()
		f := m.fates[d.ID]
		if f != nil && f.again != no && !d.Started.Before(f.since) {
			*f = fate{state: bellhop.Waiting}
		}
		if f == nil || f.state != bellhop.Waiting || f.lease != nil || f.later || f.attempts != unknown && f.attempts != d.Attempts {
			m.Fatalf("took %+v, which is %+v", d, f)
		}
		f.lease, f.by, f.attempts = t.lease, t.by, d.Attempts
	}
	if !some {
		m.Fatalf("took none of %v", due)
	}
}

func (m *model) settle() {
	id := m.pick(isLeased)
	if id == "" {
		return
	}
	f := m.fates[id]
	if m.settler != f.by {
		m.recorded()
	}
	event, provider, _ := strings.Cut(id, ".")
	outcome := bellhop.Outcome{Due: time.Now()}
	var err error
	is := fate{state: bellhop.Waiting, tried: true, attempts: f.attempts, again: f.again, since: f.since}
	switch m.rand.IntN(10) {
	case 0:
		err, is.tried = bellhop.ErrStopping, f.tried
	case 1:
		err, is.attempts = errDown, f.attempts+1
	case 2:
		err, outcome.Due, is.attempts = errDown, time.Now().Add(soon), f.attempts+1
	case 3:
		err, outcome.Due, is.attempts, is.later = errDown, time.Now().Add(time.Hour), f.attempts+1, true
	case 4:
		err = bellhop.RetryAfter(0, errDown)
	case 5:
		err, is.state = bellhop.Permanent(errDown), bellhop.Dead
	case 6:
		err, outcome.Dead, is.state = errDown, true, bellhop.Dead
	case 7:
		memo := bellhop.Memo{
			Key: "key", Value: strconv.Itoa(m.rand.Int()), Event: id, Time: time.Now().UTC(), Expires: time.Now().Add(time.Hour).UTC(),
		}
		outcome.Memo, m.memos[provider] = &memo, memo
		is.state = bellhop.Delivered
	default:
		is.state = bellhop.Delivered
	}
	m.must(f.lease.Settle(m.context(), err, outcome))
	m.settler = f.by
	if is.again == no && m.Queue != f.by && m.rand.IntN(4) == 0 { // it may not be recorded yet
		is.since = time.Now()
		m.again(id)
		switch {
		case f.tried:
			is.again = yes
		case is.tried:
			is.again = maybe
		}
	}
	if is.again == maybe && is.state != bellhop.Waiting {
		m.recorded()
		if is.again = no; m.delivery(event, provider).State == bellhop.Waiting {
			is.again = yes
		}
	}
	if is.again == yes && (is.state != bellhop.Waiting || is.later || len(m.open) == 1) {
		is = fate{state: bellhop.Waiting}
	}
	*f = is
}

func (m *model) retryOrDrop() {
	id := m.pick(func(f *fate) bool { return f.state == bellhop.Dead })
	if id == "" {
		return
	}
	if m.rand.IntN(2) == 0 {
		m.must(m.Retry(m.context(), id))
		*m.fates[id] = fate{state: bellhop.Waiting}
	} else {
		m.must(m.Drop(m.context(), id))
		delete(m.fates, id)
	}
}

func (m *model) replay() {
	if len(m.events) == 0 {
		return
	}
	id := bellhop.DeliveryID(m.events[m.rand.IntN(len(m.events))], m.provider())
	if leased := m.pick(isLeased); leased != "" && m.rand.IntN(2) == 0 { // what is being delivered: there it is hardest
		id = leased
	} else if m.replayed != "" && m.rand.IntN(2) == 0 {
		id = m.replayed
	}
	m.replayed = id
	for range 1 + m.rand.IntN(2) {
		m.replayOf(id)
		m.turn()
	}
}

func (m *model) replayOf(id string) {
	since := time.Now()
	m.again(id)
	f := m.fates[id]
	switch {
	case f == nil || f.lease == nil && (f.state != bellhop.Waiting || len(m.open) == 1):
		m.fates[id] = &fate{state: bellhop.Waiting}
	case f.again == yes:
	case f.again == maybe && f.lease == nil:
		f.again = yes // if it had not begun anew, it has now
	case f.tried && f.later:
		*f = fate{state: bellhop.Waiting}
	case f.tried || f.lease != nil && f.by == m.Queue:
		if f.again == no {
			f.since = since
		}
		f.again = yes
	}
}

// again replays a delivery.
func (m *model) again(id string) {
	event, provider, _ := strings.Cut(id, ".")
	ids, err := m.Replay(m.context(), event, targets(provider))
	m.must(err)
	if !slices.Equal(ids, []string{id}) {
		m.Fatalf("replayed %v, want %s", ids, id)
	}
}

// reopen closes the queue, or lets it die, and opens another in its place.
func (m *model) reopen() {
	i := slices.Index(m.open, m.Queue)
	if k, ok := m.engine.(Mortal); ok && !m.killed {
		m.recorded()
		k.Kill(m.T, m.Queue)
		m.killed = true
	}
	m.rig.reopen()
	for _, f := range m.fates {
		if f.by != m.open[i] {
			continue
		}
		if f.again == yes { // whether it has begun anew already is the engine's
			*f = fate{state: bellhop.Waiting, attempts: unknown}
		}
		f.lease, f.by = nil, nil
	}
	m.open[i] = m.Queue
	m.settler = nil
}

// pause pauses a provider, or lifts that, and returns when all know it.
func (m *model) pause() {
	provider := m.provider()
	for range 1 + m.rand.IntN(3) {
		until := time.Now().Add(time.Duration(1+m.rand.IntN(100)) * time.Hour)
		if m.rand.IntN(2) == 0 {
			until = time.Time{}
		}
		m.must(m.Pause(m.context(), provider, until))
		if until.IsZero() || until.After(m.paused[provider]) {
			m.paused[provider] = until
		}
		m.turn()
	}
	for _, q := range m.open {
		ctx := m.context()
		for {
			s, err := q.Stats(ctx, provider)
			m.must(err)
			if s.PausedUntil.Equal(m.paused[provider]) {
				break
			}
		}
	}
	if !m.paused[provider].IsZero() {
		m.nothing(provider)
	}
}

func (m *model) check(step int) {
	var busy []string
	for _, p := range modelProviders {
		var depth, dead int64
		for id, f := range m.fates {
			if isTo(p, id) {
				depth += count(f.state == bellhop.Waiting)
				dead += count(f.state == bellhop.Dead)
			}
		}
		s := m.stats(p)
		if s.Depth != depth || s.Dead != dead || s.Oldest.IsZero() != (depth == 0) {
			m.Fatalf("step %d: %s has %+v, want depth %d, dead %d", step, p, s, depth, dead)
		}
		if depth+dead > 0 {
			busy = append(busy, p)
		}
		if memo, ok := m.memos[p]; ok {
			m.remembered(p, memo)
		}
	}
	ps, err := m.Providers(m.context())
	m.must(err)
	if !slices.Equal(ps, busy) {
		m.Fatalf("step %d: providers %v, want %v", step, ps, busy)
	}
	for _, p := range modelProviders {
		m.checkList(step, bellhop.DeliveryFilter{Provider: p}, 100)
	}
	m.checkList(step, bellhop.DeliveryFilter{State: bellhop.Waiting}, 1+m.rand.IntN(100))
	m.checkList(step, bellhop.DeliveryFilter{Provider: m.provider(), State: bellhop.Waiting}, 1+m.rand.IntN(100))
	m.checkList(step, bellhop.DeliveryFilter{State: bellhop.Dead}, 1+m.rand.IntN(10))
	if len(m.events) > 0 {
		m.checkList(step, bellhop.DeliveryFilter{Event: m.events[m.rand.IntN(len(m.events))]}, 1+m.rand.IntN(3))
	}
	events := slices.Clone(m.events)
	slices.Reverse(events)
	if got := m.allEvents(1 + m.rand.IntN(100)); !slices.Equal(got, events) {
		m.Fatalf("step %d: events\n%v\nwant\n%v", step, got, events)
	}
}

// checkList checks what is listed, those that wait in any order.
func (m *model) checkList(step int, filter bellhop.DeliveryFilter, limit int) {
	want := m.matching(func(id string, f *fate) bool {
		event, provider, _ := strings.Cut(id, ".")
		return (filter.Event == "" || filter.Event == event) && (filter.Provider == "" || filter.Provider == provider) &&
			(filter.State == "" || filter.State == f.state)
	})
	for i, id := range want {
		want[i] = fmt.Sprintf("%s %s", id, m.fates[id].state)
	}
	var got []string
	for page := (bellhop.Page{Limit: limit}); ; {
		ds, next, err := m.Deliveries(m.context(), filter, page)
		m.must(err)
		for _, d := range ds {
			got = append(got, fmt.Sprintf("%s %s", d.ID, d.State))
		}
		if next == "" {
			break
		}
		page.Cursor = next
	}
	if filter.State == bellhop.Waiting { // in the order of their messages
		slices.Sort(got)
	} else {
		slices.Reverse(got)
		got = GroupedByEvent(got)
	}
	if !slices.Equal(got, want) {
		m.Fatalf("step %d: deliveries of %+v:\n%v\nwant\n%v", step, filter, got, want)
	}
}

func count(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
