// Package queuetest is what every engine of bellhop.Queue has to show. Run is the promise of the interface,
// case by case; Crash kills a process under load, again and again, and counts what is lost; GroupCommitLog is
// the hand-written log that benchmarks measure an engine against.
package queuetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Engine is a store of its own, empty at first. Tests open it, close it, and open it again.
type Engine interface {
	// Open opens the store, fatally for the test if that cannot be done.
	Open(t testing.TB) bellhop.Queue
}

// Retainer is an Engine whose history can be made old.
type Retainer interface {
	Engine
	// Expire lets all that is stored now reach the end of its retention, and returns once retention has run.
	Expire(t testing.TB, q bellhop.Queue)
}

// Mortal is an Engine whose open queues can be killed.
type Mortal interface {
	Engine
	// Kill cuts a queue off from its store for good, as the end of its process would. It is closed after that.
	Kill(t testing.TB, q bellhop.Queue)
}

// patience bounds every wait; it is only ever used up by a failing test.
const patience = 2 * time.Minute

// soon is a due time that tests wait for.
const soon = 40 * time.Millisecond

// Run runs the suite. Each case gets an engine of its own.
func Run(t *testing.T, engine func(t *testing.T) Engine) {
	for _, group := range []struct {
		name  string
		cases []testCase
	}{
		{"Put", putCases},
		{"Duplicate", duplicateCases},
		{"Take", takeCases},
		{"Settle", settleCases},
		{"Memo", memoCases},
		{"Pause", pauseCases},
		{"ID", idCases},
		{"Replica", replicaCases},
		{"Operate", operateCases},
		{"List", listCases},
		{"History", historyCases},
		{"Move", moveCases},
		{"Close", closeCases},
		{"Model", modelCases},
	} {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			runCases(t, engine, group.cases)
		})
	}
}

func runCases(t *testing.T, engine func(t *testing.T) Engine, cases []testCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := &rig{T: t, engine: engine(t), another: engine}
			r.Queue = r.engine.Open(t)
			t.Cleanup(func() {
				if err := r.Close(); err != nil {
					t.Errorf("closing: %v", err)
				}
			})
			c.run(r)
		})
	}
}

type testCase struct {
	name string
	run  func(r *rig)
}

// rig is a queue under test with the words that the cases are written in. All of them are fatal on an error.
type rig struct {
	*testing.T
	bellhop.Queue
	engine  Engine
	another func(t *testing.T) Engine
}

func (r *rig) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r.Cleanup(cancel)
	return ctx
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// reopen closes the queue and opens the same store.
func (r *rig) reopen() {
	r.Helper()
	r.must(r.Close())
	r.Queue = r.engine.Open(r.T)
}

var (
	idMu      sync.Mutex
	idEntropy = ulid.Monotonic(rand.Reader, 0)
)

// NewID returns an event id, later than all before.
func NewID() string {
	idMu.Lock()
	defer idMu.Unlock()
	return ulid.MustNew(ulid.Now(), idEntropy).String()
}

// NewEvent is a small event with an id of its own.
func NewEvent(body string) *bellhop.Event {
	return &bellhop.Event{
		ID: NewID(), Time: time.Now().UTC(), Endpoint: "app", Source: "github", Type: "push",
		Kind: bellhop.KindGitPush, Title: "push to main", Headers: map[string]string{"Content-Type": "application/json"},
		Raw: []byte(body),
	}
}

// Noise is n bytes that no engine can make smaller.
func Noise(n int) string {
	b := make([]byte, n)
	_, _ = mathrand.NewChaCha8([32]byte{}).Read(b) // never fails
	return string(b)
}

func targets(providers ...string) []bellhop.Target {
	to := make([]bellhop.Target, len(providers))
	for i, p := range providers {
		to[i] = bellhop.Target{Provider: p}
	}
	return to
}

// put stores an event for providers and returns its id.
func (r *rig) put(providers ...string) string {
	r.Helper()
	e := NewEvent(`{"ref":"refs/heads/main"}`)
	receipt, err := r.Put(r.context(), &bellhop.Post{Items: []bellhop.Item{{Event: e, To: targets(providers...)}}})
	r.must(err)
	if receipt.Duplicate || len(receipt.IDs) != 1 || receipt.IDs[0] != e.ID {
		r.Fatalf("receipt %+v for event %s", receipt, e.ID)
	}
	return e.ID
}

func (r *rig) take(provider string) bellhop.Lease {
	r.Helper()
	lease, err := r.Take(r.context(), provider)
	r.must(err)
	return lease
}

// takeID takes a delivery and wants it to be an event's.
func (r *rig) takeID(provider, event string) bellhop.Lease {
	r.Helper()
	lease := r.take(provider)
	if got := lease.Delivery().Event; got != event {
		r.Fatalf("took event %s, want %s", got, event)
	}
	return lease
}

func (r *rig) settle(l bellhop.Lease, err error, o ...bellhop.Outcome) {
	r.Helper()
	outcome := bellhop.Outcome{Started: time.Now()}
	if len(o) > 0 {
		outcome = o[0]
	}
	r.must(l.Settle(r.context(), err, outcome))
}

// die makes a delivery dead.
func (r *rig) die(provider string) {
	r.Helper()
	r.settle(r.take(provider), bellhop.Permanent(errors.New("no such channel")))
}

// nothing wants no delivery to be due: an expired context is handed in, so that nothing is waited for.
func (r *rig) nothing(provider string) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	lease, err := r.Take(ctx, provider)
	if err == nil {
		r.Fatalf("took %+v, want nothing to be due", lease.Delivery())
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		r.Fatalf("Take: %v, want the context's error", err)
	}
}

func (r *rig) stats(provider string) bellhop.Stats {
	r.Helper()
	s, err := r.Stats(r.context(), provider)
	r.must(err)
	return s
}

func (r *rig) counts(provider string, depth, dead int64) {
	r.Helper()
	if s := r.stats(provider); s.Depth != depth || s.Dead != dead {
		r.Fatalf("%s: depth %d, dead %d, want %d, %d", provider, s.Depth, s.Dead, depth, dead)
	}
}

// delivery is one delivery as listed.
func (r *rig) delivery(event, provider string) *bellhop.Delivery {
	r.Helper()
	ds, _, err := r.Deliveries(r.context(), bellhop.DeliveryFilter{Event: event, Provider: provider}, bellhop.Page{Limit: 10})
	r.must(err)
	if len(ds) != 1 {
		r.Fatalf("%d deliveries of event %s to %s, want one", len(ds), event, provider)
	}
	return ds[0]
}

// allDeliveries reads a list page by page.
func (r *rig) allDeliveries(f bellhop.DeliveryFilter, limit int) []string {
	r.Helper()
	var ids []string
	for page := (bellhop.Page{Limit: limit}); ; {
		ds, next, err := r.Deliveries(r.context(), f, page)
		r.must(err)
		if len(ds) > limit {
			r.Fatalf("%d deliveries on a page of %d", len(ds), limit)
		}
		for _, d := range ds {
			ids = append(ids, d.ID)
		}
		if next == "" {
			return ids
		}
		page.Cursor = next
	}
}

func (r *rig) allEvents(limit int) []string {
	r.Helper()
	var ids []string
	for page := (bellhop.Page{Limit: limit}); ; {
		es, next, err := r.Events(r.context(), page)
		r.must(err)
		for _, e := range es {
			ids = append(ids, e.ID)
		}
		if next == "" {
			return ids
		}
		page.Cursor = next
	}
}

// FullEvent has every field of an event filled, each differently, so that a lost one is seen.
func FullEvent() *bellhop.Event {
	e := &bellhop.Event{}
	n := 0
	fill(reflect.ValueOf(e).Elem(), &n)
	e.ID = NewID()
	e.Time = time.Date(2026, 3, 1, 12, 30, 15, 123456789, time.FixedZone("", 5400))
	e.Headers["X-Bytes"] = "not UTF-8: \xff\xfe"
	e.Raw = []byte("{\"bytes\":\"\x00\xff\"}")
	return e
}

func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d é", *n))
	case reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for _, field := range v.Fields() {
			fill(field, n)
		}
	case reflect.Pointer: // what a route asks for while an event is delivered is not stored
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{fmt.Sprintf("Key-%d", *n): "value", "Empty": "", "": "nameless"}))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			if v.Type().Elem().Kind() == reflect.Uint8 {
				v.Index(i).SetUint(uint64(i))
				continue
			}
			fill(v.Index(i), n)
		}
	default:
		panic("queuetest: an event's field of kind " + v.Kind().String())
	}
}
