package receiver

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

// credentialWords mark the headers that carry secrets or signatures, whoever sends them.
var credentialWords = []string{"Authorization", "Cookie", "Signature", "Token", "Secret", "Password", "Api-Key", "Apikey", "Credential"}

// isCredential reports whether a header, by its canonical name, is not to be kept with an event.
func isCredential(canonical string) bool { return verdicts.of(canonical) }

// verdicts remembers the answer for the names that senders use: there are few, and they come with every
// request. Readers share no lock; a new name copies the map.
var verdicts nameCache

type nameCache struct {
	live atomic.Pointer[map[string]bool]
	mu   sync.Mutex // one writer at a time
}

const maxNames = 1000 // more are judged each time, so that no sender can fill the memory

func (c *nameCache) of(name string) bool {
	known := c.live.Load()
	if known != nil {
		if is, ok := (*known)[name]; ok {
			return is
		}
	}
	is := false
	for _, word := range credentialWords {
		is = is || strings.Contains(name, word)
	}
	if known == nil || len(*known) < maxNames {
		c.mu.Lock()
		defer c.mu.Unlock()
		next := map[string]bool{}
		if known := c.live.Load(); known != nil {
			next = maps.Clone(*known)
		}
		next[strings.Clone(name)] = is
		c.live.Store(&next)
	}
	return is
}
