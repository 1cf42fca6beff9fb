package embedded

import (
	"fmt"
	"sync"
	"testing"
)

func newFilter() *keyFilter {
	f := &keyFilter{}
	f.init()
	return f
}

func TestFilterHoldsWhatWasAdded(t *testing.T) {
	t.Parallel()
	f := newFilter()
	if !f.mayHold("x", 1) {
		t.Error("certain of a key before it was filled")
	}
	f.filled.Store(true)
	const n = generationKeys + generationKeys/2
	var adders sync.WaitGroup
	for part := range 4 {
		adders.Go(func() {
			for i := part; i < n; i += 4 {
				f.add(fmt.Sprint("key-", i), 100, 1)
			}
		})
	}
	adders.Wait()
	for i := range n {
		if !f.mayHold(fmt.Sprint("key-", i), 2) {
			t.Fatalf("key %d is lost", i)
		}
	}
	if got := len(*f.live.Load()); got != 2 {
		t.Errorf("%d generations", got)
	}
	wrong := 0
	for i := range 10_000 {
		if f.mayHold(fmt.Sprint("other-", i), 2) {
			wrong++
		}
	}
	if wrong > 500 {
		t.Errorf("%d of 10000 keys that were never added are asked for", wrong)
	}
}

func TestFilterForgetsExpiredGenerations(t *testing.T) {
	t.Parallel()
	f := newFilter()
	f.filled.Store(true)
	fill := func(name string, generations int, expires, now int64) {
		for i := range generations * generationKeys {
			f.add(fmt.Sprint(name, i), expires, now)
		}
	}
	fill("a", 2, 10, 1)
	fill("b", 1, 20, 5)
	fill("c", 1, 30, 15) // makes the a's go
	if got := len(*f.live.Load()); got != 2 {
		t.Errorf("%d generations", got)
	}
	if !f.mayHold("b1", 15) || !f.mayHold("c1", 15) {
		t.Error("what has not expired is lost")
	}
}

func TestFilterThatIsFullSaysSo(t *testing.T) {
	t.Parallel()
	f := newFilter()
	f.filled.Store(true)
	live := make([]*generation, maxGenerations)
	for i := range live {
		live[i] = new(generation)
		live[i].keys.Store(generationKeys)
		live[i].expires.Store(100)
	}
	f.live.Store(&live)
	f.add("late", 50, 1)
	if !f.mayHold("late", 2) || !f.mayHold("never", 2) {
		t.Error("certain of keys although one did not fit")
	}
	if f.mayHold("never", 50) {
		t.Error("blind longer than the key that did not fit lives")
	}
	f.add("new", 200, 150) // all others expired
	if got := len(*f.live.Load()); got != 1 || !f.mayHold("new", 150) {
		t.Errorf("%d generations after all expired", got)
	}
}
