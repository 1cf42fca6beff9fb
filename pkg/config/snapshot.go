package config

import (
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/route"
)

// Snapshot is one whole, checked configuration. It is immutable: a reload builds another and swaps a pointer.
type Snapshot struct {
	// Hash is a digest of all files and secrets that it was built from.
	Hash string
	// Endpoints, Providers and Routes are in the order of the files. Implied routes are in the endpoints'
	// plans only.
	Endpoints []*Endpoint
	Providers []*Provider
	Routes    []*route.Rule

	paths     map[string]*Endpoint
	providers map[string]*Provider
}

// NewSnapshot indexes checked parts; the caller gives them up.
func NewSnapshot(hash string, endpoints []*Endpoint, providers []*Provider, routes []*route.Rule) *Snapshot {
	s := &Snapshot{
		Hash: hash, Endpoints: endpoints, Providers: providers, Routes: routes,
		paths: make(map[string]*Endpoint, len(endpoints)), providers: make(map[string]*Provider, len(providers)),
	}
	for _, e := range endpoints {
		for _, f := range e.Fingerprints {
			s.paths[f] = e
		}
	}
	for _, p := range providers {
		s.providers[p.Name] = p
	}
	return s
}

// Lookup finds the endpoint of a fingerprint, nil if there is none.
func (s *Snapshot) Lookup(fingerprint string) *Endpoint { return s.paths[fingerprint] }

// Provider finds a provider by name, nil if there is none.
func (s *Snapshot) Provider(name string) *Provider { return s.providers[name] }

// Endpoint is a configured webhook URL, ready to use.
type Endpoint struct {
	Name string
	// Kind is the manifest of its source, Source the source itself.
	Kind   bellhop.Kind[bellhop.Source]
	Source bellhop.Source
	// Fingerprints are the last elements of its hook paths, one a key, in the order of the keys.
	Fingerprints []string
	// Keys are what its requests are signed with; `bellhop send` plays the sender with the first.
	Keys []bellhop.Secret
	// Verification is what its requests are known by, `auth` counted in.
	Verification bellhop.Verification
	// Auth are the checks of `auth:`; all must pass, before the source's own.
	Auth []Check
	// Credentials are canonical names of headers that carry its secrets (the kind's and those of `auth`);
	// they are not kept with events.
	Credentials []string
	// Events are the listed event types and kinds, nil for all; see Wants.
	Events []string
	// When is nil if there is none.
	When *route.Condition
	// Plan is where its events go.
	Plan route.Plan
	// MaxBody is 0 for the process's default.
	MaxBody   bellhop.Size
	RateLimit bellhop.Rate
	// Window is how long a delivery is recognised when it comes again; 0 recognises none.
	Window time.Duration
	// Suspend refuses all requests for now: the sender is told to come back.
	Suspend bool
	// Position is where it is written, for messages.
	Position bellhop.Problem
}

// Wants reports whether the endpoint lists the event: its type, its type and action (pull_request.opened), or
// its kind, in any case. GitLab's `Push Hook` may be written push, `Tag Push Hook` tag_push, and the types of
// CDEvents without their version.
func (e *Endpoint) Wants(ev *bellhop.Event) bool {
	if len(e.Events) == 0 {
		return true
	}
	for _, listed := range e.Events {
		if strings.EqualFold(listed, ev.Type) || strings.EqualFold(listed, string(ev.Kind)) ||
			ev.Action != "" && strings.EqualFold(listed, ev.Type+"."+ev.Action) ||
			strings.EqualFold(listed, hookWord(ev.Type)) || unversioned(ev.Type, listed) {
			return true
		}
	}
	return false
}

// hookWord turns GitLab's "Tag Push Hook" into "Tag_Push".
func hookWord(eventType string) string {
	w, ok := strings.CutSuffix(eventType, " Hook")
	if !ok {
		return eventType
	}
	return strings.ReplaceAll(w, " ", "_")
}

// unversioned reports whether a CDEvents type, such as dev.cdevents.change.merged.0.2.0, is the listed one with a
// version behind it.
func unversioned(eventType, listed string) bool {
	n := len(listed)
	return len(eventType) > n+1 && strings.EqualFold(eventType[:n], listed) && eventType[n] == '.' &&
		len(listed) > len("dev.cdevents.") && strings.HasPrefix(eventType, "dev.cdevents.") &&
		strings.Trim(eventType[n+1:], "0123456789.") == ""
}

// Check is one part of `auth:`. It returns a *bellhop.Rejection.
type Check func(*bellhop.Request) error

// Provider is a configured destination, ready to use.
type Provider struct {
	Name string
	Kind bellhop.Kind[bellhop.Provider]
	// Provider sends. When Digest equals that of the running one, keep the running one and its connections.
	Provider bellhop.Provider
	// Digest covers everything that Provider was built from, secrets included; it reveals nothing.
	Digest string
	// Message is the provider's own overrides, nil if none; a route's come on top.
	Message *route.Message

	Timeout     time.Duration
	Concurrency int
	// Rate is the user's rateLimit, else the kind's; zero for none.
	Rate  bellhop.Rate
	Retry Retry
	// Suspend: nothing is sent to it for now. No plan leads to it.
	Suspend bool
	// Close frees its connections once it is out of use; never nil.
	Close func()
	// Position is where it is written, for messages.
	Position bellhop.Problem
}

// Retry is how long and how often a delivery is tried.
type Retry struct {
	MaxAge     time.Duration // from acceptance to dead
	MinBackoff time.Duration
	MaxBackoff time.Duration
}

// Defaults of what the files leave out.
const (
	DefaultTimeout     = 15 * time.Second
	DefaultConcurrency = 4
	DefaultWindow      = 24 * time.Hour
)

// DefaultRetry is the retry of a provider that sets none.
var DefaultRetry = Retry{MaxAge: 24 * time.Hour, MinBackoff: time.Second, MaxBackoff: 5 * time.Minute}
