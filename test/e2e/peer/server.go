// Package peer is the other side of the end-to-end tests: a pod that sends signed pushes to Bellhop as a sender
// would, and records what Bellhop delivers to it. It runs inside the cluster, because nothing else reaches a
// Service on every kind of cluster; the tests tell it what to do through a forwarded port.
package peer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/bellhop-dev/bellhop/test/rig"
)

// Message is a request to send.
type Message struct {
	URL    string
	Header map[string]string
	Body   []byte
	// CA is what an https URL's certificate is verified against (PEM), over a connection of the message's own.
	CA []byte
}

// Answer is what became of it: a status and a body, or why there is none.
type Answer struct {
	Status int
	Body   string
	// Serial is the served certificate's, in hexadecimal.
	Serial string
	Error  string
}

// Load is a load of pushes to one hook; the fields are those of rig.Load, and CA is as in a Message.
type Load struct {
	URL         string
	Key         []byte
	CA          []byte
	Connections int
	Fresh       int
	Count       int64
	For         time.Duration
	Rate        float64
	First       int64
	Persist     bool
}

// Result is what became of a load. Error is why it ended early.
type Result struct {
	rig.Result
	Error string
}

// Received is what was delivered.
type Received struct {
	// Times is how often each delivery came, by the sender's delivery id.
	Times map[string]int
	// Last is the newest body.
	Last json.RawMessage
	// Mistake is the first request that was not what a destination expects.
	Mistake string
}

const (
	// pushSize is in bytes, about what GitHub sends for a push of a few commits; variants is how many a load has.
	pushSize, variants = 8 << 10, 64
	// postTimeout bounds one posted message.
	postTimeout = 30 * time.Second
	// answerMax bounds what is kept of an answer, in bytes.
	answerMax = 64 << 10
)

// server is the pod's handler.
type server struct {
	sink   rig.Sink
	client http.Client

	mu    sync.Mutex
	times map[string]int
	last  []byte
	stop  context.CancelFunc // of the load; nil before the first
	done  chan struct{}      // closed when it ended; result is valid then
	res   Result
}

// NewServer is the handler of the pod. Each answer to a delivery takes delay.
func NewServer(delay time.Duration) http.Handler {
	s := &server{times: map[string]int{}, client: http.Client{Timeout: postTimeout}}
	s.sink.Delay = delay
	s.sink.Received = s.received
	mux := http.NewServeMux()
	mux.Handle("POST /sink", &s.sink)
	mux.HandleFunc("GET /received", s.report)
	mux.HandleFunc("POST /post", s.post)
	mux.HandleFunc("POST /load", s.begin)
	mux.HandleFunc("GET /load", s.await)
	mux.HandleFunc("DELETE /load", s.end)
	return mux
}

// received books a delivery. Its id is the sender's, as `format: cloudevents` posts it.
func (s *server) received(body []byte) {
	var posted struct {
		Data struct {
			DeliveryID string `json:"deliveryId"`
		} `json:"data"`
	}
	_ = json.Unmarshal(body, &posted) // an event without an id is booked under none
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times[posted.Data.DeliveryID]++
	s.last = append(s.last[:0], body...)
}

func (s *server) report(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	r := Received{Times: maps.Clone(s.times), Last: append(json.RawMessage(nil), s.last...)}
	s.mu.Unlock()
	if len(r.Last) == 0 {
		r.Last = json.RawMessage("null")
	}
	if err := s.sink.Err(); err != nil {
		r.Mistake = err.Error()
	}
	reply(w, r)
}

func (s *server) post(w http.ResponseWriter, r *http.Request) {
	var m Message
	if !read(w, r, &m) {
		return
	}
	a, err := s.send(r.Context(), m)
	if err != nil {
		a.Error = err.Error()
	}
	reply(w, a)
}

func (s *server) send(ctx context.Context, m Message) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.URL, strings.NewReader(string(m.Body)))
	if err != nil {
		return Answer{}, err
	}
	for name, value := range m.Header {
		req.Header.Set(name, value)
	}
	client := &s.client
	if len(m.CA) > 0 {
		pool, err := authorities(m.CA)
		if err != nil {
			return Answer{}, err
		}
		client = &http.Client{Timeout: postTimeout, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true,
		}}
	}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	a := Answer{Status: resp.StatusCode}
	if resp.TLS != nil {
		a.Serial = resp.TLS.PeerCertificates[0].SerialNumber.Text(16)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	a.Body = string(body)
	return a, err
}

// authorities are the system's if there is no PEM.
func authorities(pem []byte) (*x509.CertPool, error) {
	if len(pem) == 0 {
		return nil, nil //nolint:nilnil // as crypto/tls has it
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("the CA holds no certificate: give PEM")
	}
	return pool, nil
}

// begin starts a load; there is one at a time.
func (s *server) begin(w http.ResponseWriter, r *http.Request) {
	var l Load
	if !read(w, r, &l) {
		return
	}
	hook, err := rig.NewHook(l.URL, l.Key, pushSize, variants)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	pool, err := authorities(l.CA)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		select {
		case <-s.done:
		default:
			http.Error(w, "a load is running", http.StatusConflict)
			return
		}
	}
	// It outlives the request that began it; Count and For bound it.
	ctx, stop := context.WithCancel(context.WithoutCancel(r.Context()))
	done := make(chan struct{})
	s.stop, s.done = stop, done
	go func() {
		defer close(done)
		defer stop()
		load := rig.Load{
			Hooks: []*rig.Hook{hook}, Connections: l.Connections, Fresh: l.Fresh, RootCAs: pool,
			Count: l.Count, For: l.For, Rate: l.Rate, First: l.First, Persist: l.Persist,
		}
		result, err := load.Run(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.res = Result{Result: result}
		if err != nil {
			s.res.Error = err.Error()
		}
	}()
	w.WriteHeader(http.StatusAccepted)
}

// await answers once the load ended.
func (s *server) await(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	done := s.done
	s.mu.Unlock()
	if done == nil {
		http.Error(w, errNoLoad.Error(), http.StatusNotFound)
		return
	}
	select {
	case <-done:
	case <-r.Context().Done():
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	reply(w, s.res)
}

var errNoLoad = errors.New("no load was begun")

// end ends the load, then answers as await does.
func (s *server) end(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.stop != nil {
		s.stop()
	}
	s.mu.Unlock()
	s.await(w, r)
}

func read(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // whoever asked went away
}
