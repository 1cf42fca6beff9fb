package rig

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Sink is a destination: an http.Handler that counts what it is sent, and misbehaves on request. It is
// strict: what is not a POST of valid JSON is answered 400 and remembered as an error.
type Sink struct {
	// Every n-th request is answered with Fault; 0 for none. RetryAfter goes with it, if set.
	Every      int64
	Fault      int
	RetryAfter time.Duration
	// Delay is how long each answer takes.
	Delay time.Duration
	// Received is told of each request that is answered with 200, before the answer: nil for nobody. The body
	// is only valid during the call. It is called by all connections at the same time.
	Received func(body []byte)

	requests, accepted, faults atomic.Int64
	held                       atomic.Int64 // Hold's duration

	mu  sync.Mutex
	err error // the first mistake
}

// Hold answers every request with 429 and this Retry-After, until it is called with 0. Whole seconds count.
func (s *Sink) Hold(retryAfter time.Duration) { s.held.Store(int64(retryAfter)) }

// Requests counts all requests.
func (s *Sink) Requests() int64 { return s.requests.Load() }

// Accepted counts the requests that were answered with 200.
func (s *Sink) Accepted() int64 { return s.accepted.Load() }

// Faults counts the requests that were answered with Fault or held back.
func (s *Sink) Faults() int64 { return s.faults.Load() }

// Err is the first request that was not what a destination expects.
func (s *Sink) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// ServeHTTP answers one delivery.
func (s *Sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.requests.Add(1)
	body := bodies.Get().(*bytes.Buffer)
	body.Reset()
	defer bodies.Put(body)
	if _, err := io.Copy(body, http.MaxBytesReader(w, r.Body, 64<<20)); err != nil {
		return // the sender went away in the middle: it will come again
	}
	if err := check(r, body.Bytes()); err != nil {
		s.mu.Lock()
		if s.err == nil {
			s.err = fmt.Errorf("request %d: %w", n, err)
		}
		s.mu.Unlock()
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !wait(r.Context(), s.Delay) {
		return
	}
	if held := time.Duration(s.held.Load()); held > 0 {
		s.refuse(w, http.StatusTooManyRequests, held)
		return
	}
	if s.Every > 0 && n%s.Every == 0 {
		s.refuse(w, s.Fault, s.RetryAfter)
		return
	}
	if s.Received != nil {
		s.Received(body.Bytes())
	}
	s.accepted.Add(1)
	w.WriteHeader(http.StatusOK)
}

func (s *Sink) refuse(w http.ResponseWriter, status int, retryAfter time.Duration) {
	s.faults.Add(1)
	if retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64(retryAfter.Seconds()), 10))
	}
	w.WriteHeader(status)
}

func check(r *http.Request, body []byte) error {
	if r.Method != http.MethodPost {
		return fmt.Errorf("method %s, not POST", r.Method)
	}
	switch mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); {
	case err != nil:
		return fmt.Errorf("content type: %w", err)
	case mt != "application/json" && mt != "application/cloudevents+json":
		return fmt.Errorf("content type %s", mt)
	}
	if !jsontext.Value(body).IsValid() {
		return fmt.Errorf("the body of %d bytes is not JSON", len(body))
	}
	return nil
}

// DeliveryOf finds the number of the delivery in an event's JSON, as `format: cloudevents` posts it.
func DeliveryOf(body []byte) (n int64, ok bool) {
	_, rest, ok := bytes.Cut(body, []byte(`"deliveryId":"`))
	if !ok {
		return 0, false
	}
	id, _, ok := bytes.Cut(rest, []byte(`"`))
	if !ok {
		return 0, false
	}
	return ParseDeliveryID(string(id))
}
