package queuetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

var modelCases = []testCase{
	{"A", func(r *rig) { newModel(r).walk(1500) }},
	{"B", func(r *rig) { newModel(r).walk(1500) }},
	{"C", func(r *rig) { newModel(r).walk(1500) }},
}

// model is what a queue must hold after any row of operations: the simplest thing that can be said of it.
type model struct {
	*rig
	rand   *rand.Rand
	events []string
	state  map[string]bellhop.DeliveryState // by delivery
	leases map[string]bellhop.Lease         // by delivery; those are waiting
	again  map[string]bool                  // leased and replayed meanwhile
}

var modelProviders = []string{"p", "q", "r"}

func newModel(r *rig) *model {
	seed := rand.Uint64()
	r.Logf("seed %d", seed)
	return &model{
		rig: r, rand: rand.New(rand.NewPCG(seed, 0)),
		state: make(map[string]bellhop.DeliveryState), leases: make(map[string]bellhop.Lease), again: make(map[string]bool),
	}
}

func (m *model) walk(steps int) {
	for i := range steps {
		switch n := m.rand.IntN(100); {
		case n < 35:
			m.put()
		case n < 60:
			m.take()
		case n < 85:
			m.settle()
		case n < 89:
			m.retryOrDrop()
		case n < 95:
			m.replay()
		case n < 96:
			m.reopen()
		default:
			m.check(i)
		}
	}
	m.reopen()
	m.check(steps)
}

// pick returns one of the deliveries that match, or "".
func (m *model) pick(match func(id string) bool) string {
	var ids []string
	for id := range m.state {
		if match(id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return ""
	}
	slices.Sort(ids) // so that a seed tells the whole walk
	return ids[m.rand.IntN(len(ids))]
}

func (m *model) put() {
	var to []string
	for _, p := range modelProviders {
		if m.rand.IntN(2) == 0 {
			to = append(to, p)
		}
	}
	id := m.rig.put(to...)
	m.events = append(m.events, id)
	for _, p := range to {
		m.state[bellhop.DeliveryID(id, p)] = bellhop.Waiting
	}
}

func (m *model) take() {
	provider := modelProviders[m.rand.IntN(len(modelProviders))]
	if m.pick(func(id string) bool {
		return strings.HasSuffix(id, "."+provider) && m.state[id] == bellhop.Waiting && m.leases[id] == nil
	}) == "" {
		return // it would wait
	}
	l := m.rig.take(provider)
	id := l.Delivery().ID
	if m.state[id] != bellhop.Waiting || m.leases[id] != nil {
		m.Fatalf("took %s, which is %q, leased %t", id, m.state[id], m.leases[id] != nil)
	}
	m.leases[id] = l
}

func (m *model) settle() {
	id := m.pick(func(id string) bool { return m.leases[id] != nil })
	if id == "" {
		return
	}
	l, outcome := m.leases[id], bellhop.Outcome{Due: time.Now()}
	var err error
	to := bellhop.Waiting
	switch m.rand.IntN(6) {
	case 0:
		err = bellhop.ErrStopping
	case 1:
		err = errDown
	case 2:
		err = bellhop.RetryAfter(0, errDown)
	case 3:
		err, to = bellhop.Permanent(errDown), bellhop.Dead
	case 4:
		err, outcome.Dead, to = errDown, true, bellhop.Dead
	default:
		to = bellhop.Delivered
	}
	m.must(l.Settle(m.context(), err, outcome))
	if m.again[id] {
		to = bellhop.Waiting
	}
	m.state[id] = to
	delete(m.leases, id)
	delete(m.again, id)
}

func (m *model) retryOrDrop() {
	id := m.pick(func(id string) bool { return m.state[id] == bellhop.Dead })
	if id == "" {
		return
	}
	if m.rand.IntN(2) == 0 {
		m.must(m.Retry(m.context(), id))
		m.state[id] = bellhop.Waiting
	} else {
		m.must(m.Drop(m.context(), id))
		delete(m.state, id)
	}
}

func (m *model) replay() {
	if len(m.events) == 0 {
		return
	}
	event, provider := m.events[m.rand.IntN(len(m.events))], modelProviders[m.rand.IntN(len(modelProviders))]
	id := bellhop.DeliveryID(event, provider)
	if m.rand.IntN(2) == 0 { // what is being delivered: there it is hardest
		if leased := m.pick(func(id string) bool { return m.leases[id] != nil }); leased != "" {
			id = leased
			event, provider, _ = strings.Cut(id, ".")
		}
	}
	ids, err := m.Replay(m.context(), event, targets(provider))
	m.must(err)
	if !slices.Equal(ids, []string{id}) {
		m.Fatalf("replayed %v, want %s", ids, id)
	}
	m.state[id] = bellhop.Waiting
	if m.leases[id] != nil {
		m.again[id] = true
	}
}

func (m *model) reopen() {
	m.rig.reopen()
	clear(m.leases)
	clear(m.again)
}

func (m *model) check(step int) {
	for _, p := range modelProviders {
		var want []string
		var depth, dead int64
		for id, s := range m.state {
			if strings.HasSuffix(id, "."+p) {
				want = append(want, fmt.Sprintf("%s %s", id, s))
				depth += count(s == bellhop.Waiting)
				dead += count(s == bellhop.Dead)
			}
		}
		slices.Sort(want)
		slices.Reverse(want)
		if s := m.stats(p); s.Depth != depth || s.Dead != dead || s.Oldest.IsZero() != (depth == 0) {
			m.Fatalf("step %d: %s has %+v, want depth %d, dead %d", step, p, s, depth, dead)
		}
		var got []string
		for page := (bellhop.Page{Limit: 100}); ; {
			ds, next, err := m.Deliveries(m.context(), bellhop.DeliveryFilter{Provider: p}, page)
			m.must(err)
			for _, d := range ds {
				got = append(got, fmt.Sprintf("%s %s", d.ID, d.State))
			}
			if next == "" {
				break
			}
			page.Cursor = next
		}
		if !slices.Equal(got, want) {
			m.Fatalf("step %d: deliveries to %s:\n%v\nwant\n%v", step, p, got, want)
		}
	}
}

func count(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
