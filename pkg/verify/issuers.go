package verify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

const (
	// maxStale is how long after the last successful fetch an issuer's keys are used. An outage of a weekend
	// must not cost an event; keys that nobody has confirmed for longer say nothing any more.
	maxStale = 72 * time.Hour
	// fetchInterval is how often an issuer is asked again at most, whatever tokens come: nobody turns
	// requests to Bellhop into requests to an issuer.
	fetchInterval = time.Minute
	// retryInterval takes its place while there is no key to go by.
	retryInterval = 10 * time.Second
	// fetchTimeout is for both documents of an issuer.
	fetchTimeout = 10 * time.Second
	// maxIssuers is how many issuers are remembered; the one that was not asked for longest makes room.
	maxIssuers = 1000
)

// Issuers are the OIDC issuers that a program has met, each with its public keys: bellhop.Issuers.
//
// An issuer's keys are found by discovery (the issuer, then /.well-known/openid-configuration, then what that
// names as jwks_uri) and fetched once for all who ask. They are kept for as long as the issuer's Cache-Control
// says (5 minutes to 24 hours; an hour if it says nothing) and then fetched anew in the background, while the
// old ones are used on: so they are while the issuer is out of reach, up to 72 hours. A token whose key is not
// among them has them fetched at once, but not more often than once a minute. A key that is not in the set any
// more is refused from then on.
//
// Discovery is https, and so are the keys; a plain http issuer is asked in plain http, which whoever
// configures it answers for. Redirects are not followed.
// https://openid.net/specs/openid-connect-discovery-1_0.html
type Issuers struct {
	client *http.Client
	logger *slog.Logger
	// ctx ends with Close.
	ctx  context.Context
	stop context.CancelFunc

	mu      sync.Mutex
	met     map[string]*issuer
	fetches sync.WaitGroup // no more once ctx has ended
}

// NewIssuers returns Issuers that have met nobody. The client's proxy, certificates and refused addresses are
// obeyed. The logger is told of issuers that are out of reach.
func NewIssuers(client *http.Client, logger *slog.Logger) *Issuers {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s := &Issuers{client: &own, logger: logger, met: map[string]*issuer{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Close ends what is under way and waits for it. Keys that are there can still be used.
func (s *Issuers) Close() {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	s.fetches.Wait()
}

// Payload returns the claims of a token that a key of the issuer signed; see bellhop.Issuers. The issuer is
// the URL that it calls itself, to the letter.
func (s *Issuers) Payload(ctx context.Context, issuer, token string) ([]byte, error) {
	t, err := parseToken(token)
	if err != nil {
		return nil, err
	}
	i := s.issuer(issuer)
	keys, err := i.current(ctx)
	if err != nil {
		return nil, err
	}
	if payload, known, err := keys.payload(t); known {
		return payload, err
	}
	if keys, err = i.newer(ctx); err != nil {
		return nil, err
	}
	payload, known, err := keys.payload(t)
	if !known {
		return nil, bellhop.Reject(bellhop.ReasonTokenKeyUnknown,
			"the token is signed with a key that %s does not publish; look whether it is another issuer's", issuer)
	}
	return payload, err
}

// issuer is the issuer of that name, met by now.
func (s *Issuers) issuer(name string) *issuer {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if i, ok := s.met[name]; ok {
		i.used = now
		return i
	}
	if len(s.met) >= maxIssuers {
		var oldest *issuer
		for _, i := range s.met {
			if oldest == nil || i.used.Before(oldest.used) {
				oldest = i
			}
		}
		delete(s.met, oldest.name)
	}
	i := &issuer{all: s, name: name, used: now}
	s.met[name] = i
	return i
}

// start runs f unless everything has ended.
func (s *Issuers) start(f func(context.Context)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.fetches.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, fetchTimeout)
		defer cancel()
		f(ctx)
	})
	return true
}

// issuer is one issuer and what is known of its keys.
type issuer struct {
	all  *Issuers
	name string
	used time.Time // under all.mu

	mu sync.Mutex
	// keys are nil before the first fetch that succeeds, which was at fetched; they are fresh until expires.
	keys             *keySet
	fetched, expires time.Time
	// asked is when the last fetch began, err what came of it.
	asked time.Time
	err   error
	// fetching is closed when the fetch under way ends; nil if there is none.
	fetching chan struct{}
}

// current are the keys to verify with. It waits for the issuer only if there is nothing better.
func (i *issuer) current(ctx context.Context) (*keySet, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	switch {
	case !i.usable(now):
		i.ask(now, retryInterval)
	case now.Before(i.expires):
		return i.keys, nil
	default:
		i.ask(now, fetchInterval)
		if confirmed := now.Sub(i.expires) < i.expires.Sub(i.fetched); confirmed || i.err != nil {
			return i.keys, nil // the fetch goes on in the background
		}
		// Nobody has asked for so long that the keys may have changed long ago.
	}
	if err := i.wait(ctx); err != nil {
		return nil, err
	}
	if i.usable(time.Now()) {
		return i.keys, nil
	}
	return nil, i.outOfReach()
}

// newer are the keys to verify a token with that names none of the current ones. They may be the same: the
// issuer is not asked for every token.
func (i *issuer) newer(ctx context.Context) (*keySet, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ask(time.Now(), fetchInterval)
	if err := i.wait(ctx); err != nil {
		return nil, err
	}
	if i.err != nil { // the key may be a new one: nobody can say
		return nil, i.outOfReach()
	}
	return i.keys, nil
}

func (i *issuer) usable(now time.Time) bool { return i.keys != nil && now.Sub(i.fetched) < maxStale }

func (i *issuer) outOfReach() error {
	if i.keys != nil && !i.usable(time.Now()) {
		return fmt.Errorf("the keys of the issuer %s are older than %v: %w", i.name, maxStale, i.err)
	}
	return fmt.Errorf("the keys of the issuer %s are out of reach: %w", i.name, i.err)
}

// ask begins a fetch if none is under way and the last one began so long ago.
func (i *issuer) ask(now time.Time, interval time.Duration) {
	if i.fetching != nil || !i.asked.IsZero() && now.Sub(i.asked) < interval {
		return
	}
	done := make(chan struct{})
	started := i.all.start(func(ctx context.Context) {
		defer close(done)
		keys, age, err := fetchKeys(ctx, i.all.client, i.name)
		i.mu.Lock()
		defer i.mu.Unlock()
		i.fetching, i.err = nil, err
		if err == nil {
			i.keys, i.fetched = keys, time.Now()
			i.expires = i.fetched.Add(age)
			return
		}
		i.all.logger.Warn("the keys of an OIDC issuer are out of reach", "issuer", i.name, "error", err, "usable", i.usable(time.Now()))
	})
	if !started {
		i.err = errStopped
		return
	}
	i.asked, i.fetching = now, done
}

var errStopped = errors.New("the program stops")

// wait waits for the fetch under way, if there is one. It gives up i.mu meanwhile.
func (i *issuer) wait(ctx context.Context) error {
	done := i.fetching
	if done == nil {
		return nil
	}
	i.mu.Unlock()
	defer i.mu.Lock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the keys of the issuer %s: %w", i.name, ctx.Err())
	}
}
