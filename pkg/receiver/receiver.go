// Package receiver is HTTP in: it finds the endpoint of a path, has the request verified, parsed and routed,
// puts its events on the queue and answers. What an answer says is decided here and nowhere else (answer.go).
//
// A request costs nothing that grows with the configuration or the backlog: the path is looked up in a map,
// the routes of an endpoint are picked out when the configuration is loaded, and there is no lock that
// requests share. Nothing is decoded before it is verified, and nothing is called outside.
package receiver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/time/rate"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
	"github.com/bellhop-dev/bellhop/pkg/telemetry"
)

// Options are what a Receiver needs. Queue and Metrics are required.
type Options struct {
	Queue   bellhop.Queue
	Metrics *telemetry.Metrics
	Logger  *slog.Logger
	// MaxBody is the largest body of an endpoint that sets none; 25 MiB if zero.
	MaxBody bellhop.Size
	// Memory bounds what all bodies in flight take together; 128 MiB if zero. A body beyond it is answered 503.
	Memory bellhop.Size
	// Workers bounds the requests that are verified and stored at a time; 256 if zero. More wait.
	Workers int
	// TrustedProxies are networks whose X-Forwarded-For is believed; see sender.
	TrustedProxies []netip.Prefix
}

// Receiver is the http.Handler of the public listener. It answers 503 until the first Apply.
type Receiver struct {
	queue   bellhop.Queue
	metrics *telemetry.Metrics
	logger  *slog.Logger
	maxBody int64
	proxies []netip.Prefix
	memory  *budget
	workers chan struct{}
	live    atomic.Pointer[live]
	seen    requestLog
	unknown outcomes
}

// live is a snapshot with the state that outlives it: limiters and counters.
type live struct {
	snapshot *config.Snapshot
	state    map[*config.Endpoint]*endpointState
}

type endpointState struct {
	limiter  *rate.Limiter // nil without a rate
	rate     bellhop.Rate
	outcomes outcomes
	// last is the endpoint's last answer, for the list of endpoints.
	last atomic.Pointer[Seen]
}

// New makes a Receiver.
func New(o Options) *Receiver {
	if o.MaxBody == 0 {
		o.MaxBody = 25 << 20
	}
	if o.Memory == 0 {
		o.Memory = 128 << 20
	}
	if o.Workers <= 0 {
		o.Workers = 256
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Receiver{
		queue: o.Queue, metrics: o.Metrics, logger: o.Logger, maxBody: int64(o.MaxBody), proxies: o.TrustedProxies,
		memory: newBudget(int64(o.Memory)), workers: make(chan struct{}, o.Workers),
	}
	r.unknown.bind(o.Metrics.Received, "", "")
	return r
}

// Apply makes a snapshot the one that serves. Requests under way finish with the one they began with.
func (r *Receiver) Apply(s *config.Snapshot) {
	old := map[string]*endpointState{}
	if l := r.live.Load(); l != nil {
		for ep, st := range l.state {
			old[ep.Name] = st
		}
	}
	l := &live{snapshot: s, state: make(map[*config.Endpoint]*endpointState, len(s.Endpoints))}
	for _, ep := range s.Endpoints {
		st := &endpointState{rate: ep.RateLimit}
		if ep.RateLimit.Limited() {
			st.limiter = rate.NewLimiter(rate.Limit(ep.RateLimit.PerSecond()), max(1, int(ep.RateLimit.Events)))
		}
		if before := old[ep.Name]; before != nil {
			if before.rate == st.rate {
				st.limiter = before.limiter
			}
			st.last.Store(before.last.Load())
		}
		st.outcomes.bind(r.metrics.Received, ep.Name, ep.Kind.Name)
		l.state[ep] = st
	}
	r.live.Store(l)
}

// Requests are the last requests that made no event, newest first.
func (r *Receiver) Requests(limit int) []Seen { return r.seen.newest(limit) }

// Last is the last answer of an endpoint, nil if there was none.
func (r *Receiver) Last(endpoint *config.Endpoint) *Seen {
	if l := r.live.Load(); l != nil {
		if st := l.state[endpoint]; st != nil {
			return st.last.Load()
		}
	}
	return nil
}

// Snapshot is the configuration that serves, nil before the first.
func (r *Receiver) Snapshot() *config.Snapshot {
	if l := r.live.Load(); l != nil {
		return l.snapshot
	}
	return nil
}

// ServeHTTP answers one request. The table of answers is in answer.go.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	c := call{r: r, req: req, start: time.Now()}
	a := c.handle()
	a.write(w)
	r.metrics.ReceiveDuration.Observe(time.Since(c.start).Seconds())
	c.record(a)
	if c.body != nil {
		c.body.free()
	}
}

// call is one request on its way through handle.
type call struct {
	r     *Receiver
	req   *http.Request
	start time.Time

	endpoint *config.Endpoint
	state    *endpointState
	body     *buffer
	remote   netip.Addr
	// eventType and deliveryID are known once the request was parsed.
	eventType, deliveryID string
	detail                string // for the operator, not for the sender
	traceless             bool   // counted, and that is all
}

// handle decides on the answer. The order matters: what is cheap and what a stranger can reach comes first.
func (c *call) handle() answer {
	r := c.r
	l := r.live.Load()
	if l == nil {
		return unavailable("not_configured", 10*time.Second)
	}
	fingerprint, ok := hookPath(c.req.URL.Path)
	if ok {
		c.endpoint = l.snapshot.Lookup(fingerprint)
	}
	if c.endpoint == nil {
		return rejected(http.StatusNotFound, "path_unknown")
	}
	c.state = l.state[c.endpoint]
	if c.endpoint.Suspend {
		return unavailable("suspended", 5*time.Minute)
	}
	if c.req.Method != http.MethodPost {
		origin := c.req.Header.Get("WebHook-Request-Origin")
		if origin != "" && c.req.Method == http.MethodOptions && c.endpoint.Kind.Source.AsksFirst {
			return allowed(origin, c.endpoint.RateLimit)
		}
		return rejected(http.StatusMethodNotAllowed, "method_not_allowed")
	}
	if c.state.limiter != nil {
		if res := c.state.limiter.ReserveN(c.start, 1); res.DelayFrom(c.start) > 0 {
			wait := res.DelayFrom(c.start)
			res.CancelAt(c.start)
			a := rejected(http.StatusTooManyRequests, "rate_limited")
			if c.endpoint.Kind.Source.LosesOn429 {
				a = unavailable("rate_limited", 0)
			}
			a.retryAfter = wait
			return a
		}
	}
	c.remote = r.sender(c.req)
	request := bellhop.Request{
		Header: c.req.Header, RawQuery: c.req.URL.RawQuery, TLS: c.req.TLS, Time: c.start, Remote: c.remote,
	}
	for _, check := range c.endpoint.Auth {
		if err := check(&request); err != nil {
			return c.refused(err)
		}
	}
	limit := r.maxBody
	if c.endpoint.MaxBody > 0 {
		limit = int64(c.endpoint.MaxBody)
	}
	body, err := r.memory.read(c.req.Body, c.req.ContentLength, limit)
	if err != nil {
		return c.unread(err)
	}
	c.body = body
	request.Body = body.bytes()

	if !c.work() {
		return unavailable("busy", 5*time.Second)
	}
	defer func() { <-r.workers }()
	// The sender's going away must not undo what it proved: from here on the request is Bellhop's.
	ctx := context.WithoutCancel(c.req.Context())
	switch err := c.endpoint.Source.Verify(ctx, &request); {
	case errors.Is(err, bellhop.ErrPing):
		c.traceless = true
		return done(Pong, "ping_unsigned")
	case err != nil:
		return c.refused(err)
	}
	events, err := c.endpoint.Source.Parse(&request)
	if err != nil {
		c.detail = err.Error()
		return rejected(http.StatusBadRequest, "body_malformed")
	}
	return c.accept(ctx, events)
}

// sender is the address that a request came from: the connection's, or, if that is a trusted proxy's, the
// last one of X-Forwarded-For that is not. What stands before it there may be anybody's invention.
func (r *Receiver) sender(req *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap()
	hops := req.Header["X-Forwarded-For"]
	for i := len(hops) - 1; i >= 0 && r.trusts(addr); i-- {
		words := strings.Split(hops[i], ",")
		for j := len(words) - 1; j >= 0 && r.trusts(addr); j-- {
			hop, err := netip.ParseAddr(strings.TrimSpace(words[j]))
			if err != nil {
				return addr // the proxy wrote what nobody can read: go no further
			}
			addr = hop.Unmap()
		}
	}
	return addr
}

func (r *Receiver) trusts(addr netip.Addr) bool {
	for _, p := range r.proxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// work waits for one of the workers, but not longer than a sender waits for an answer.
func (c *call) work() bool {
	select {
	case c.r.workers <- struct{}{}:
		return true
	default:
	}
	patience := time.NewTimer(5 * time.Second)
	defer patience.Stop()
	select {
	case c.r.workers <- struct{}{}:
		return true
	case <-c.req.Context().Done():
	case <-patience.C:
	}
	return false
}

// hookPath finds the fingerprint behind the last /hook/ of a path, whatever stands before it.
func hookPath(path string) (string, bool) {
	i := strings.LastIndex(path, "/hook/")
	if i < 0 {
		return "", false
	}
	f := strings.TrimSuffix(path[i+len("/hook/"):], "/")
	return f, len(f) == 2*sha256.Size
}

func (c *call) refused(err error) answer {
	if rejection, ok := errors.AsType[*bellhop.Rejection](err); ok {
		c.detail = rejection.Detail
		return rejected(http.StatusUnauthorized, rejection.Reason)
	}
	// Not the sender's fault: what verification needs, such as an issuer's keys, is out of reach.
	c.detail = err.Error()
	return unavailable("verification_unavailable", 30*time.Second)
}

func (c *call) unread(err error) answer {
	switch {
	case errors.Is(err, errTooLarge):
		return rejected(http.StatusRequestEntityTooLarge, "body_too_large")
	case errors.Is(err, errNoMemory):
		return unavailable("memory_budget", 5*time.Second)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return rejected(http.StatusRequestTimeout, "body_timeout")
	}
	return rejected(http.StatusBadRequest, "body_incomplete")
}

// accept stores the events that are wanted.
func (c *call) accept(ctx context.Context, events []bellhop.Event) answer {
	if len(events) == 0 {
		return done(Filtered, "nothing_to_relay")
	}
	c.eventType, c.deliveryID = events[0].Type, events[0].DeliveryID
	headers := c.headers()
	post := bellhop.Post{Window: c.endpoint.Window}
	items := [4]bellhop.Item{}
	post.Items = items[:0]
	pings, why, deliveries := 0, "", 0
	for i := range events {
		e := &events[i]
		if e.Kind == bellhop.KindPing {
			pings++
			continue
		}
		e.Time, e.Endpoint, e.Source = c.start, c.endpoint.Name, c.endpoint.Kind.Name
		e.Headers, e.Raw = headers, c.body.bytes()
		if e.Severity == "" {
			e.Severity = bellhop.Info
		}
		if !c.endpoint.Wants(e) {
			why = "event_unlisted"
			continue
		}
		if ok, err := c.endpoint.When.Match(e); err != nil {
			why, c.detail = "condition_error", err.Error()
			continue
		} else if !ok {
			why = "condition_false"
			continue
		}
		to, err := c.endpoint.Plan.Targets(e)
		if err != nil {
			c.detail = err.Error()
		}
		if len(to) == 0 {
			why = "no_route"
			if err != nil {
				why = "condition_error"
			}
			continue
		}
		e.ID = newID(c.start)
		deliveries += len(to)
		post.Items = append(post.Items, bellhop.Item{Event: e, To: to})
	}
	if len(post.Items) == 0 {
		if pings > 0 {
			return done(Pong, "ping")
		}
		return done(Filtered, why)
	}
	post.Key = c.duplicateKey()
	receipt, err := c.r.queue.Put(ctx, &post)
	if err != nil {
		c.detail = err.Error()
		if !errors.Is(err, bellhop.ErrUnavailable) {
			c.r.logger.Error("storing an event", "endpoint", c.endpoint.Name, "error", err)
		}
		return unavailable("queue_unavailable", 10*time.Second)
	}
	a := answer{status: http.StatusAccepted, Result: Accepted, IDs: receipt.IDs, Deliveries: deliveries}
	if receipt.Duplicate {
		a = done(Duplicate, "delivery_seen")
		a.IDs = receipt.IDs
	}
	return a
}

// duplicateKey is what the same delivery has in common when it comes again.
func (c *call) duplicateKey() string {
	switch {
	case c.endpoint.Window <= 0:
		return ""
	case c.deliveryID != "":
		return c.endpoint.Name + "\x00id\x00" + c.deliveryID
	case c.endpoint.Kind.Source.Repeats:
		return ""
	}
	digest := sha256.Sum256(c.body.bytes())
	return c.endpoint.Name + "\x00body\x00" + hex.EncodeToString(digest[:])
}

// headers are the sender's without what could let somebody in.
func (c *call) headers() map[string]string {
	out := make(map[string]string, len(c.req.Header))
	for name, values := range c.req.Header {
		if len(values) > 0 && !isCredential(name) {
			out[name] = values[0]
		}
	}
	for _, name := range c.endpoint.Credentials {
		delete(out, name)
	}
	return out
}

// newID is a ULID. Its entropy needs to be unique, not secret.
func newID(t time.Time) string {
	var id ulid.ULID
	_ = id.SetTime(ulid.Timestamp(t)) // fails in the year 10889
	hi, lo := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		id[6+i] = byte(hi >> (8 * i))
	}
	id[14], id[15] = byte(lo), byte(lo>>8)
	return id.String()
}
