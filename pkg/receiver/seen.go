package receiver

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Seen is a request as the operator may look at it afterwards.
type Seen struct {
	Time     time.Time     `json:"time"`
	Took     time.Duration `json:"tookNanos"`
	Endpoint string        `json:"endpoint,omitempty"`
	Source   string        `json:"source,omitempty"`
	Remote   string        `json:"remote,omitempty"`
	Method   string        `json:"method"`
	// Path is that of a request no endpoint was found for, cut; known hook paths are not repeated here.
	Path       string `json:"path,omitempty"`
	Status     int    `json:"status"`
	Result     Result `json:"result"`
	Reason     string `json:"reason"`
	Detail     string `json:"detail,omitempty"`
	Event      string `json:"event,omitempty"`
	Type       string `json:"type,omitempty"`
	DeliveryID string `json:"deliveryId,omitempty"`
	Bytes      int    `json:"bytes"`
}

// record counts the request's one outcome, remembers it and logs it.
func (c *call) record(a answer) {
	out := &c.r.unknown
	if c.state != nil {
		out = &c.state.outcomes
	}
	out.count(a.Result, a.Reason)
	if c.traceless {
		return
	}
	s := &Seen{
		Time: c.start, Took: time.Since(c.start), Method: c.req.Method, Status: a.status, Result: a.Result, Reason: a.Reason,
		Detail: cut(c.detail, 500), Type: c.eventType, DeliveryID: c.deliveryID,
	}
	if len(a.IDs) > 0 {
		s.Event = a.IDs[0]
	}
	if c.remote.IsValid() {
		s.Remote = c.remote.String()
	} else {
		s.Remote = c.req.RemoteAddr
	}
	if c.body != nil {
		s.Bytes = len(c.body.bytes())
	}
	if c.endpoint != nil {
		s.Endpoint, s.Source = c.endpoint.Name, c.endpoint.Kind.Name
	} else {
		s.Path = cut(c.req.URL.Path, 128)
	}
	// What points into the body must not outlive it.
	s.Type, s.DeliveryID = strings.Clone(s.Type), strings.Clone(s.DeliveryID)
	if c.state != nil {
		c.state.last.Store(s)
	}
	if a.Result != Accepted {
		c.r.seen.add(s)
	}
	c.log(s)
}

// log says what happened: refusals of a known hook as warnings, the rest for who asks. A stranger's guesses
// are at debug, so that nobody can fill the log.
func (c *call) log(s *Seen) {
	level := slog.LevelDebug
	switch {
	case s.Endpoint == "":
	case s.Result == Rejected, s.Result == Unavailable:
		level = slog.LevelWarn
	case s.Result == Filtered, s.Result == Duplicate, s.Result == Pong:
		level = slog.LevelInfo
	}
	ctx := context.Background()
	if !c.r.logger.Enabled(ctx, level) {
		return
	}
	c.r.logger.LogAttrs(ctx, level, "request",
		slog.String("endpoint", s.Endpoint), slog.String("result", string(s.Result)), slog.String("reason", s.Reason), slog.Int("status", s.Status),
		slog.String("detail", s.Detail), slog.String("event", s.Event), slog.String("type", s.Type),
		slog.String("delivery", s.DeliveryID), slog.String("remote", s.Remote), slog.Int("bytes", s.Bytes))
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

const remembered = 1000

// requestLog is the last requests that made no event. Writers take a slot each and never wait.
type requestLog struct {
	next  atomic.Uint64
	slots [remembered]atomic.Pointer[Seen]
}

func (l *requestLog) add(s *Seen) {
	l.slots[(l.next.Add(1)-1)%remembered].Store(s)
}

func (l *requestLog) newest(limit int) []Seen {
	end := l.next.Load()
	out := make([]Seen, 0, min(limit, remembered))
	for i := uint64(0); i < remembered && i < end && len(out) < limit; i++ {
		if s := l.slots[(end-1-i)%remembered].Load(); s != nil {
			out = append(out, *s)
		}
	}
	return out
}

// outcomes are an endpoint's counters, looked up once each.
type outcomes struct {
	vec              *prometheus.CounterVec
	endpoint, source string
	accepted         atomic.Pointer[prometheus.Counter]
	others           sync.Map // result and reason -> prometheus.Counter
}

func (o *outcomes) bind(vec *prometheus.CounterVec, endpoint, source string) {
	o.vec, o.endpoint, o.source = vec, endpoint, source
}

func (o *outcomes) count(result Result, reason string) {
	if result == Accepted {
		if c := o.accepted.Load(); c != nil {
			(*c).Inc()
			return
		}
		c := o.vec.WithLabelValues(o.endpoint, o.source, string(result), reason)
		o.accepted.Store(&c)
		c.Inc()
		return
	}
	key := [2]string{string(result), reason}
	c, ok := o.others.Load(key)
	if !ok {
		c, _ = o.others.LoadOrStore(key, o.vec.WithLabelValues(o.endpoint, o.source, key[0], key[1]))
	}
	c.(prometheus.Counter).Inc()
}
