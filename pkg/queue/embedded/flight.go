package embedded

import (
	"hash/maphash"
	"sync"
)

// flights are the duplicate keys that are on their way to the disk. Who brings a key in flight waits for its
// end: an answer "duplicate" promises that the first one is durable. The stripes keep Puts apart; none is
// locked while anything is written.
type flights struct {
	seed    maphash.Seed
	stripes [64]stripe
}

type stripe struct {
	mu sync.Mutex
	m  map[string]*flight
}

// flight is one Put with a key. err is valid once done is closed.
type flight struct {
	done chan struct{}
	err  error
}

func (f *flights) init() {
	f.seed = maphash.MakeSeed()
	for i := range f.stripes {
		f.stripes[i].m = make(map[string]*flight)
	}
}

func (f *flights) stripe(key string) *stripe {
	return &f.stripes[maphash.String(f.seed, key)%uint64(len(f.stripes))]
}

// board begins a flight, or returns the one that is under way.
func (f *flights) board(key string) (mine, other *flight) {
	s := f.stripe(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.m[key]; other != nil {
		return nil, other
	}
	mine = &flight{done: make(chan struct{})}
	s.m[key] = mine
	return mine, nil
}

// land ends a flight.
func (f *flights) land(key string, mine *flight, err error) {
	s := f.stripe(key)
	s.mu.Lock()
	delete(s.m, key)
	s.mu.Unlock()
	mine.err = err
	close(mine.done)
}

// grounded calls do while no flight with the key can begin; not at all if one is under way.
func (f *flights) grounded(key string, do func() error) error {
	s := f.stripe(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[key] != nil {
		return nil
	}
	return do()
}
