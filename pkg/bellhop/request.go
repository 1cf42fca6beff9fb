package bellhop

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/netip"
	"time"
)

// Request is what a sender posted, before anything of it is believed.
type Request struct {
	Header http.Header
	// RawQuery is the URL's query without the question mark.
	RawQuery string
	// Body is the whole body. It is borrowed: it is reused once the request is answered.
	Body []byte
	// Remote is the peer's address, unmapped.
	Remote netip.Addr
	// TLS is nil for a request that came in plain.
	TLS *tls.ConnectionState
	// Time is when the request was received; signatures with a timestamp are measured against it.
	Time time.Time
}

// Source understands one kind of sender. It is pure: no I/O but what Verify needs to fetch a sender's public
// keys, and safe for concurrent use.
type Source interface {
	// Verify proves that a holder of a key sent r. It runs first and decodes nothing. What it refuses is a
	// *Rejection; ErrPing is a test of the connection that proves nothing and brings nothing.
	Verify(ctx context.Context, r *Request) error
	// Parse reads a verified request. No events and no error: understood, nothing to relay. An error means
	// that the body is not what its content type says; JSON of an unknown shape is an event of KindOther.
	// The events may point into r.
	Parse(r *Request) ([]Event, error)
}

// Verified is what a Source implements whose requests are known by something that depends on its keys or
// settings.
type Verified interface {
	// Verification takes the place of the kind's.
	Verification() Verification
}

// Provider speaks to one destination. It is safe for concurrent use and reuses its connections.
type Provider interface {
	// Send returns nil once the vendor said that it has the message. A plain error is retried with backoff,
	// Permanent(err) goes dead, RetryAfter(d, err) pauses the provider and costs no attempt. It returns soon
	// after ctx ends.
	Send(ctx context.Context, e *Event) error
}

// Stateful is what a Provider implements whose messages set something at the vendor, each in place of the one
// before: a commit's status. The notifier sends only what changes it, one at a time, and no older event after
// a newer one.
type Stateful interface {
	// State is what sending e would set. Without a Subject the event sets nothing and is just sent.
	State(e *Event) State
}

// State is what an event says of something that can be in one state only.
type State struct {
	// Subject is what is set, such as a repository, a commit and a context; unique within the provider.
	Subject string
	// Value is what it is set to. The same value is not sent again.
	Value string
	// Time is when it became so, by the sender's clock if the event tells it.
	Time time.Time
}

// Requester is what most providers are: a pure function from an event to the vendor's request, the same
// bytes for the same event. httpsend makes it a Provider.
type Requester interface {
	Request(ctx context.Context, e *Event) (*http.Request, error)
}
