package receiver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
	"github.com/bellhop-dev/bellhop/pkg/route"
	"github.com/bellhop-dev/bellhop/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const canary = "c4nary-key"

// word is a source whose bodies are the words of what shall happen; its signature is the key itself.
type word struct{ parsed *atomic.Int32 }

func (s word) Verify(_ context.Context, r *bellhop.Request) error {
	switch r.Header.Get("X-Key") {
	case canary:
		return nil
	case "unsigned ping":
		return bellhop.ErrPing
	case "outage":
		return errors.New("fetching the issuer's keys: connection refused")
	}
	return bellhop.Reject(bellhop.ReasonTokenMismatch, "X-Key is not the endpoint's key")
}

func (s word) Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	s.parsed.Add(1)
	var events []bellhop.Event
	for w := range strings.FieldsSeq(string(r.Body)) {
		switch w {
		case "broken":
			return nil, errors.New("no words")
		case "nothing":
		case "ping":
			events = append(events, bellhop.Event{Type: w, Kind: bellhop.KindPing})
		default:
			events = append(events, bellhop.Event{Type: w, Kind: bellhop.KindOther, DeliveryID: r.Header.Get("X-Delivery")})
		}
	}
	return events, nil
}

// shelf is a queue that remembers what was put.
type shelf struct {
	bellhop.Queue
	mu    sync.Mutex
	posts []bellhop.Post
	keys  map[string][]string
	err   error
	gate  chan struct{}
}

func (q *shelf) Put(_ context.Context, p *bellhop.Post) (bellhop.Receipt, error) {
	if q.gate != nil {
		<-q.gate
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return bellhop.Receipt{}, q.err
	}
	if ids := q.keys[p.Key]; p.Key != "" && ids != nil {
		return bellhop.Receipt{Duplicate: true, IDs: ids}, nil
	}
	var ids []string
	kept := *p
	kept.Items = nil
	for _, it := range p.Items {
		e := *it.Event
		e.Raw = bytes.Clone(e.Raw)
		kept.Items = append(kept.Items, bellhop.Item{Event: &e, To: it.To})
		ids = append(ids, e.ID)
	}
	q.posts = append(q.posts, kept)
	if q.keys == nil {
		q.keys = map[string][]string{}
	}
	q.keys[p.Key] = ids
	return bellhop.Receipt{IDs: ids}, nil
}

type house struct {
	*Receiver
	queue    *shelf
	registry *prometheus.Registry
	log      *bytes.Buffer
	parsed   atomic.Int32
}

func fingerprint(n int) string { return fmt.Sprintf("%064x", n) }

// newHouse has one endpoint per test's need; snapshot lists them.
func newHouse(t *testing.T, o Options) *house {
	t.Helper()
	h := &house{queue: &shelf{}, registry: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	o.Queue, o.Metrics = h.queue, telemetry.NewMetrics(h.registry)
	o.Logger = slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.Receiver = New(o)
	h.Apply(h.snapshot(t))
	return h
}

func (h *house) snapshot(t *testing.T) *config.Snapshot {
	t.Helper()
	kind := bellhop.Kind[bellhop.Source]{Name: "word"}
	repeats := kind
	repeats.Source.Repeats = true
	asks := kind
	asks.Source.AsksFirst = true
	deaf := kind
	deaf.Source.LosesOn429 = true
	when := func(expr string) *route.Condition {
		c, err := route.CompileCondition(expr)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	source := word{&h.parsed}
	all := &route.Rule{Name: "all", To: []string{"a", "b"}}
	some := &route.Rule{Name: "some", When: when(`event.type == "push" || body.x == 1`), To: []string{"a"}}
	denied := func(r *bellhop.Request) error {
		if r.Remote.String() == "192.0.2.66" {
			return bellhop.Reject(bellhop.ReasonAddressDenied, "%s is not in the list", r.Remote)
		}
		return nil
	}
	return config.NewSnapshot("h", []*config.Endpoint{
		{Name: "plain", Kind: kind, Source: source, Fingerprints: []string{fingerprint(1)}, Plan: route.Plan{all}, Window: time.Hour,
			Auth: []config.Check{denied}, Credentials: []string{"X-Key"}},
		{Name: "picky", Kind: kind, Source: source, Fingerprints: []string{fingerprint(2)}, Plan: route.Plan{some}, Window: time.Hour,
			Events: []string{"push", "pull", "odd"}, When: when(`event.type != "pull"`), MaxBody: 32},
		{Name: "repeats", Kind: repeats, Source: source, Fingerprints: []string{fingerprint(3)}, Plan: route.Plan{all}, Window: time.Hour},
		{Name: "limited", Kind: kind, Source: source, Fingerprints: []string{fingerprint(4)}, Plan: route.Plan{all},
			RateLimit: bellhop.Rate{Events: 1, Per: time.Minute}},
		{Name: "limited deaf", Kind: deaf, Source: source, Fingerprints: []string{fingerprint(6)}, Plan: route.Plan{all},
			RateLimit: bellhop.Rate{Events: 1, Per: time.Minute}},
		{Name: "asks", Kind: asks, Source: source, Fingerprints: []string{fingerprint(8)}, Plan: route.Plan{all}},
		{Name: "asks, limited", Kind: asks, Source: source, Fingerprints: []string{fingerprint(9)}, Plan: route.Plan{all},
			RateLimit: bellhop.Rate{Events: 2, Per: time.Second}},
		{Name: "suspended", Kind: kind, Source: source, Fingerprints: []string{fingerprint(7)}, Plan: route.Plan{all}, Suspend: true},
		{Name: "lonely", Kind: kind, Source: source, Fingerprints: []string{fingerprint(5)}, Window: time.Hour},
	}, nil, []*route.Rule{all, some})
}

type reply struct {
	ID         string
	IDs        []string
	Result     Result
	Reason     string
	Deliveries *int
}

func (h *house) do(t *testing.T, req *http.Request) (*http.Response, reply) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	var a reply
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Header().Get("Content-Type") != "application/json" || a.Deliveries == nil {
		t.Fatalf("the answer is not the contract's: %v: %q", err, w.Body)
	}
	if strings.Contains(w.Body.String(), canary) {
		t.Errorf("the answer holds the key: %s", w.Body)
	}
	return w.Result(), a
}

func post(n int, body string, headers ...string) *http.Request {
	req := httptest.NewRequest(http.MethodPost, "/hook/"+fingerprint(n), strings.NewReader(body))
	req.Header.Set("X-Key", canary)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

func with(req *http.Request, f func(*http.Request)) *http.Request {
	f(req)
	return req
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	get := with(post(1, ""), func(r *http.Request) { r.Method = http.MethodGet })
	for _, tc := range []struct {
		name   string
		req    *http.Request
		status int
		result Result
		reason string
		stored int
	}{
		{"unknown path", post(99, "push"), 404, Rejected, "path_unknown", 0},
		{"no hook path", httptest.NewRequest(http.MethodPost, "/", nil), 404, Rejected, "path_unknown", 0},
		{"half a fingerprint", httptest.NewRequest(http.MethodPost, "/hook/0001", nil), 404, Rejected, "path_unknown", 0},
		{"unknown path, wrong method", httptest.NewRequest(http.MethodGet, "/hook/"+fingerprint(99), nil), 404, Rejected, "path_unknown", 0},
		{"wrong method", get, 405, Rejected, "method_not_allowed", 0},
		{"wrong key", post(1, "push", "X-Key", "other"), 401, Rejected, "token_mismatch", 0},
		{"no key", with(post(1, "push"), func(r *http.Request) { r.Header.Del("X-Key") }), 401, Rejected, "token_mismatch", 0},
		{"wrong address", with(post(1, "push"), func(r *http.Request) { r.RemoteAddr = "192.0.2.66:1" }), 401, Rejected, "address_denied", 0},
		{"wrong address, mapped", with(post(1, "push"), func(r *http.Request) { r.RemoteAddr = "[::ffff:192.0.2.66]:1" }), 401, Rejected, "address_denied", 0},
		{"verification out of reach", post(1, "push", "X-Key", "outage"), 503, Unavailable, "verification_unavailable", 0},
		{"unsigned ping", post(1, "push", "X-Key", "unsigned ping"), 200, Pong, "ping_unsigned", 0},
		{"suspended", post(7, "push"), 503, Unavailable, "suspended", 0},
		{"malformed", post(1, "broken"), 400, Rejected, "body_malformed", 0},
		{"body over the limit", post(2, strings.Repeat("x ", 17)), 413, Rejected, "body_too_large", 0},
		{"body over the limit, unannounced", with(post(2, ""), func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x ", 17))), -1
		}), 413, Rejected, "body_too_large", 0},
		{"connection lost", with(post(1, ""), func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)), 7
		}), 400, Rejected, "body_incomplete", 0},
		{"nothing in it", post(1, "nothing"), 200, Filtered, "nothing_to_relay", 0},
		{"ping", post(1, "ping"), 200, Pong, "ping", 0},
		{"ping of an endpoint that does not list it", post(2, "ping"), 200, Pong, "ping", 0},
		{"unlisted event", post(2, "star"), 200, Filtered, "event_unlisted", 0},
		{"when is false", post(2, "pull"), 200, Filtered, "condition_false", 0},
		{"a route's condition fails", post(2, "odd"), 200, Filtered, "condition_error", 0},
		{"no route wants it", post(5, "push"), 200, Filtered, "no_route", 0},
		{"accepted", post(1, "push"), 202, Accepted, "", 1},
		{"accepted, listed", post(2, "push"), 202, Accepted, "", 1},
		{"accepted, body at the limit", post(2, "push"+strings.Repeat(" ", 28)), 202, Accepted, "", 1},
		{"accepted, unannounced length", with(post(1, ""), func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(iotest.OneByteReader(strings.NewReader("push"))), -1
		}), 202, Accepted, "", 1},
		{"prefix and query", with(post(1, "push"), func(r *http.Request) {
			r.URL.Path, r.URL.RawQuery = "/some/prefix/hook/"+fingerprint(1), "a=b"
		}), 202, Accepted, "", 1},
	} {
		h := newHouse(t, Options{})
		res, a := h.do(t, tc.req)
		if res.StatusCode != tc.status || a.Result != tc.result || a.Reason != tc.reason || len(h.queue.posts) != tc.stored {
			t.Errorf("%s: %d %+v, %d stored", tc.name, res.StatusCode, a, len(h.queue.posts))
		}
		if (tc.status == 202) != (a.ID != "" && *a.Deliveries > 0) {
			t.Errorf("%s: id %q, deliveries %d", tc.name, a.ID, *a.Deliveries)
		}
		if (tc.status == 405) != (res.Header.Get("Allow") == "POST") || (tc.status == 503) != (res.Header.Get("Retry-After") != "") {
			t.Errorf("%s: headers %v", tc.name, res.Header)
		}
		if (tc.status/100 != 2 || tc.name == "unsigned ping") && tc.name != "malformed" && h.parsed.Load() != 0 {
			t.Errorf("%s: parsed although it was not verified", tc.name)
		}
		if got := h.received(t); len(got) != 1 {
			t.Errorf("%s: one request has the outcomes %v", tc.name, got)
		}
		if strings.Contains(h.log.String(), canary) || tc.status != 404 && strings.Contains(h.log.String(), fingerprint(1)) {
			t.Errorf("%s: the log shows a key or a hook path: %s", tc.name, h.log)
		}
	}
}

// received are the counted outcomes.
func (h *house) received(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "bellhop_received_total" {
			for _, m := range f.GetMetric() {
				out[labels(m)] = m.GetCounter().GetValue()
			}
		}
	}
	return out
}

func labels(m *dto.Metric) string {
	var s []string
	for _, l := range m.GetLabel() {
		s = append(s, l.GetName()+"="+l.GetValue())
	}
	return strings.Join(s, ",")
}

func TestNothingIsServedBeforeTheFirstConfiguration(t *testing.T) {
	t.Parallel()
	r := New(Options{Queue: &shelf{}, Metrics: telemetry.NewMetrics(prometheus.NewRegistry())})
	h := &house{Receiver: r}
	if res, a := h.do(t, post(1, "push")); res.StatusCode != 503 || a.Reason != "not_configured" || res.Header.Get("Retry-After") == "" {
		t.Errorf("%d %+v", res.StatusCode, a)
	}
}

func TestDuplicates(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name          string
		first, second *http.Request
		duplicate     bool
	}{
		{"same id", post(1, "push", "X-Delivery", "1"), post(1, "tag", "X-Delivery", "1"), true},
		{"other id, same body", post(1, "push", "X-Delivery", "1"), post(1, "push", "X-Delivery", "2"), false},
		{"no id, same body", post(1, "push"), post(1, "push"), true},
		{"no id, other body", post(1, "push"), post(1, "tag"), false},
		{"same id, other endpoint", post(1, "push", "X-Delivery", "1"), post(2, "push", "X-Delivery", "1"), false},
		{"an id that looks like a digest", post(1, "push"), post(1, "push", "X-Delivery", "c7dc"), false},
		{"bodies repeat there", post(3, "push"), post(3, "push"), false},
		{"bodies repeat there, same id", post(3, "push", "X-Delivery", "1"), post(3, "push", "X-Delivery", "1"), true},
	} {
		h := newHouse(t, Options{})
		_, first := h.do(t, tc.first)
		res, second := h.do(t, tc.second)
		if tc.duplicate && (res.StatusCode != 200 || second.Result != Duplicate || second.ID != first.ID || second.Reason == "") {
			t.Errorf("%s: %d %+v after %+v", tc.name, res.StatusCode, second, first)
		}
		if !tc.duplicate && res.StatusCode != 202 {
			t.Errorf("%s: %d %+v", tc.name, res.StatusCode, second)
		}
	}
}

func TestSeveralEventsInOneRequest(t *testing.T) {
	t.Parallel()
	h := newHouse(t, Options{})
	_, a := h.do(t, post(1, "push ping tag"))
	if len(a.IDs) != 2 || a.ID != a.IDs[0] || *a.Deliveries != 4 {
		t.Errorf("%+v", a)
	}
	if len(h.queue.posts) != 1 || len(h.queue.posts[0].Items) != 2 {
		t.Errorf("stored %+v", h.queue.posts)
	}
	if h.queue.posts[0].Items[0].Event.ID == h.queue.posts[0].Items[1].Event.ID {
		t.Error("two events have one id")
	}
}

func TestWhatIsKeptWithTheEvent(t *testing.T) {
	t.Parallel()
	h := newHouse(t, Options{})
	before := time.Now()
	h.do(t, post(1, "push", "User-Agent", "test", "X-Hub-Signature-256", "sha256=1", "Authorization", "Basic x", "X-Gitlab-Token", "t",
		"Cookie", "c", "X-Api-Key", "k", "X-Event", "push"))
	e := h.queue.posts[0].Items[0].Event
	if e.Endpoint != "plain" || e.Source != "word" || e.Severity != bellhop.Info || string(e.Raw) != "push" || len(e.ID) != 26 || e.Time.Before(before) {
		t.Errorf("%+v", e)
	}
	if len(e.Headers) != 2 || e.Headers["User-Agent"] != "test" || e.Headers["X-Event"] != "push" {
		t.Errorf("headers kept: %v", e.Headers)
	}
}

func TestSenderThatAsksFirst(t *testing.T) {
	t.Parallel()
	h := newHouse(t, Options{})
	for _, tc := range []struct {
		endpoint  int
		origin    string
		status    int
		echo, per string
	}{
		{8, "eventgrid.example", 200, "eventgrid.example", "*"},
		{9, "eventgrid.example", 200, "eventgrid.example", "120"},
		{8, "", 405, "", ""},
		{1, "eventgrid.example", 405, "", ""},
		{99, "eventgrid.example", 404, "", ""},
	} {
		req := httptest.NewRequest(http.MethodOptions, "/hook/"+fingerprint(tc.endpoint), nil)
		if tc.origin != "" {
			req.Header.Set("WebHook-Request-Origin", tc.origin)
		}
		res, a := h.do(t, req)
		if res.StatusCode != tc.status || res.Header.Get("WebHook-Allowed-Origin") != tc.echo || res.Header.Get("WebHook-Allowed-Rate") != tc.per {
			t.Errorf("%+v: %d %+v %v", tc, res.StatusCode, a, res.Header)
		}
		if tc.status == 200 && (a.Result != Pong || a.Reason != "handshake" || len(h.queue.posts) != 0) {
			t.Errorf("%+v: %+v", tc, a)
		}
	}
}

func TestSenderBehindProxies(t *testing.T) {
	t.Parallel()
	const proxy, other = "10.1.2.3:4", "203.0.113.9:4"
	for _, tc := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"no proxy", other, nil, "203.0.113.9"},
		{"a stranger claims to be somebody", other, []string{"192.0.2.1"}, "203.0.113.9"},
		{"one proxy", proxy, []string{"192.0.2.1"}, "192.0.2.1"},
		{"one proxy, mapped", "[::ffff:10.1.2.3]:4", []string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		{"two proxies", proxy, []string{"192.0.2.1, 10.9.9.9"}, "192.0.2.1"},
		{"two headers", proxy, []string{"198.51.100.7", "192.0.2.1, 10.9.9.9"}, "192.0.2.1"},
		{"what the sender wrote itself", proxy, []string{"127.0.0.1, 192.0.2.1"}, "192.0.2.1"},
		{"a proxy that adds nothing", proxy, nil, "10.1.2.3"},
		{"unreadable", proxy, []string{"192.0.2.1, nobody"}, "10.1.2.3"},
		{"no address at all", "@", []string{"192.0.2.1"}, "invalid IP"},
	} {
		h := newHouse(t, Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
		req := post(1, "push")
		req.RemoteAddr = tc.peer
		req.Header["X-Forwarded-For"] = tc.forwarded
		if got := h.sender(req); got.String() != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestQueueTroubleIs503(t *testing.T) {
	t.Parallel()
	for _, err := range []error{fmt.Errorf("disk full: %w", bellhop.ErrUnavailable), errors.New("something else in " + canary)} {
		h := newHouse(t, Options{})
		h.queue.err = err
		res, a := h.do(t, post(1, "push"))
		if res.StatusCode != 503 || a.Result != Unavailable || a.Reason != "queue_unavailable" || res.Header.Get("Retry-After") == "" || a.ID != "" {
			t.Errorf("%v: %d %+v", err, res.StatusCode, a)
		}
		h.queue.err = nil
		if res, _ := h.do(t, post(1, "push")); res.StatusCode != 202 {
			t.Errorf("after %v: %d", err, res.StatusCode)
		}
	}
}

func TestEndpointRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{})
		if res, _ := h.do(t, post(4, "a")); res.StatusCode != 202 {
			t.Fatalf("the first: %d", res.StatusCode)
		}
		res, a := h.do(t, post(4, "b"))
		if res.StatusCode != 429 || a.Reason != "rate_limited" || res.Header.Get("Retry-After") != "60" {
			t.Errorf("the second: %d %+v %v", res.StatusCode, a, res.Header)
		}
		h.do(t, post(6, "a"))
		if res, a := h.do(t, post(6, "b")); res.StatusCode != 503 || a.Reason != "rate_limited" || res.Header.Get("Retry-After") == "" {
			t.Errorf("the second of a sender that loses on 429: %d %+v %v", res.StatusCode, a, res.Header)
		}
		h.Apply(h.snapshot(t)) // a reload does not refill the bucket
		if res, _ := h.do(t, post(4, "c")); res.StatusCode != 429 {
			t.Errorf("after a reload: %d", res.StatusCode)
		}
		if res, _ := h.do(t, post(1, "c")); res.StatusCode != 202 {
			t.Errorf("another endpoint: %d", res.StatusCode)
		}
		time.Sleep(time.Minute)
		if res, _ := h.do(t, post(4, "d")); res.StatusCode != 202 {
			t.Errorf("a minute later: %d", res.StatusCode)
		}
	})
}

func TestBodiesShareABudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Options{Memory: 1 << 20, MaxBody: 1 << 20})
		h.queue.gate = make(chan struct{})
		big := "push" + strings.Repeat(" ", 600<<10)
		done := make(chan int)
		go func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, post(1, big))
			done <- w.Code
		}()
		synctest.Wait() // the first body waits in the queue
		if res, a := h.do(t, post(1, big)); res.StatusCode != 503 || a.Reason != "memory_budget" || res.Header.Get("Retry-After") == "" {
			t.Errorf("the second: %d %+v", res.StatusCode, a)
		}
		// Who announces much and sends nothing takes nothing from the others.
		idle, _ := io.Pipe()
		slow := post(1, "")
		slow.Body, slow.ContentLength = idle, 1<<20
		go h.ServeHTTP(httptest.NewRecorder(), slow)
		synctest.Wait()
		close(h.queue.gate)
		if code := <-done; code != 202 {
			t.Errorf("the first: %d", code)
		}
		if res, _ := h.do(t, post(1, big+" ")); res.StatusCode != 202 {
			t.Errorf("after the first is answered: %d", res.StatusCode)
		}
		_ = idle.CloseWithError(io.ErrUnexpectedEOF)
		synctest.Wait()
		if left := h.memory.left.Load(); left != 1<<20 {
			t.Errorf("%d bytes of the budget are lost", 1<<20-left)
		}
	})
}

func TestRequestsAreRemembered(t *testing.T) {
	t.Parallel()
	h := newHouse(t, Options{})
	for range remembered + 10 {
		h.do(t, post(99, ""))
	}
	h.do(t, post(1, "push"))
	h.do(t, post(1, "push", "X-Key", "wrong"))
	h.do(t, post(1, "push", "X-Key", "unsigned ping")) // leaves no trace
	seen := h.Requests(5000)
	if len(seen) != remembered {
		t.Fatalf("%d remembered", len(seen))
	}
	if s := seen[0]; s.Status != 401 || s.Endpoint != "plain" || s.Reason != "token_mismatch" || s.Detail == "" || s.Path != "" {
		t.Errorf("newest: %+v", s)
	}
	if s := seen[1]; s.Status != 404 || s.Path == "" {
		t.Errorf("the one before: %+v", s)
	}
	if got := h.Requests(3); len(got) != 3 {
		t.Errorf("asked for 3, got %d", len(got))
	}
	if last := h.Last(h.Snapshot().Endpoints[0]); last == nil || last.Status != 401 {
		t.Errorf("last of the endpoint: %+v", last)
	}
}

// Requests and reloads side by side: each request is answered by one whole configuration.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	h := newHouse(t, Options{Workers: 2})
	var senders sync.WaitGroup
	for i := range 4 {
		senders.Go(func() {
			for j := range 100 {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, post(1, fmt.Sprint("push ", i, j)))
				if w.Code != 202 {
					t.Errorf("%d: %s", w.Code, w.Body)
				}
			}
		})
	}
	for range 50 {
		h.Apply(h.snapshot(t))
	}
	senders.Wait()
	if got := h.received(t)["endpoint=plain,reason=,result=accepted,source=word"]; got != 400 {
		t.Errorf("%v of 400 are counted", got)
	}
}

func FuzzServeHTTP(f *testing.F) {
	f.Add("/hook/"+fingerprint(1), "POST", []byte("push"), int64(-1))
	f.Add("/hook/"+fingerprint(2)+"/", "PUT", []byte("push pull"), int64(9))
	f.Add("/hook//hook/", "POST", []byte{}, int64(0))
	f.Fuzz(func(t *testing.T, path, method string, body []byte, length int64) {
		h := newHouse(t, Options{Memory: 1 << 20, MaxBody: 64 << 10})
		req := post(1, "")
		req.URL.Path, req.Method = path, method
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), length
		res, a := h.do(t, req)
		if (a.Result == Accepted) != (res.StatusCode == 202) || (a.Reason == "") != (a.Result == Accepted) {
			t.Errorf("%d %+v", res.StatusCode, a)
		}
		if left := h.memory.left.Load(); left != 1<<20 {
			t.Errorf("%d bytes of the budget are lost", 1<<20-left)
		}
	})
}
