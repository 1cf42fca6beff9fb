package admin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/bellhop-dev/bellhop/pkg/admin"
	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
	"github.com/bellhop-dev/bellhop/pkg/notifier"
	"github.com/bellhop-dev/bellhop/pkg/queue"
	"github.com/bellhop-dev/bellhop/pkg/receiver"
	"github.com/bellhop-dev/bellhop/pkg/route"
	"github.com/bellhop-dev/bellhop/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "t0ken-canary"

// desk is the handler over a real queue in which nothing is sent.
type desk struct {
	http.Handler
	queue bellhop.Queue
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	q, err := queue.Open(t.Context(), "file://"+t.TempDir(), queue.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	metrics := prometheus.NewRegistry()
	rule := &route.Rule{Name: "all", To: []string{"a"}}
	kind := bellhop.Kind[bellhop.Provider]{Name: "fake"}
	snapshot := config.NewSnapshot("hash",
		[]*config.Endpoint{{Name: "app", Kind: bellhop.Kind[bellhop.Source]{Name: "github"}, Fingerprints: []string{"f1", "f2"},
			Verification: bellhop.BySignature, Plan: route.Plan{rule}}},
		[]*config.Provider{{Name: "a", Kind: kind}, {Name: "b", Kind: kind}}, []*route.Rule{rule})
	m := telemetry.NewMetrics(metrics)
	r := receiver.New(receiver.Options{Queue: q, Metrics: m})
	r.Apply(snapshot)
	status := func() admin.Status { return admin.Status{Version: "v", NotReady: []string{"queue: disk full"}} }
	return &desk{queue: q, Handler: admin.New(admin.Options{
		Queue: q, Receiver: r, Notifier: notifier.New(notifier.Options{Queue: q, Metrics: m}), Metrics: metrics,
		Logger: slog.New(slog.DiscardHandler), Status: status, PublicURL: "https://hooks.example/",
		Token: func() bellhop.Secret { return bellhop.NewSecret([]byte(token)) },
	})}
}

// put stores n events for the providers and returns their ids, oldest first.
func (d *desk) put(t *testing.T, n int, providers ...string) (ids []string) {
	t.Helper()
	for i := range n {
		e := &bellhop.Event{ID: fmt.Sprintf("%026d", i), Time: time.Now(), Endpoint: "app", Kind: bellhop.KindOther, Raw: []byte(`{"n":1}`)}
		var to []bellhop.Target
		for _, p := range providers {
			to = append(to, bellhop.Target{Provider: p})
		}
		if _, err := d.queue.Put(t.Context(), &bellhop.Post{Items: []bellhop.Item{{Event: e, To: to}}}); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

// bury makes a provider's deliveries dead.
func (d *desk) bury(t *testing.T, n int, provider string) {
	t.Helper()
	for range n {
		lease, err := d.queue.Take(t.Context(), provider)
		if err != nil {
			t.Fatal(err)
		}
		if err := lease.Settle(t.Context(), bellhop.Permanent(errors.New("404 no such hook")), bellhop.Outcome{Started: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
}

func (d *desk) do(method, path, body string, change ...func(*http.Request)) (int, string) {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.RemoteAddr, req.Host = "127.0.0.1:1234", "localhost:9090"
	req.Header.Set("Content-Type", "application/json")
	for _, f := range change {
		f(req)
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, req)
	return w.Code, w.Body.String()
}

func (d *desk) items(t *testing.T, path string) (items []map[string]any, next string) {
	t.Helper()
	status, text := d.do(http.MethodGet, path, "")
	var l struct {
		Items []map[string]any
		Next  *string
	}
	if err := json.Unmarshal([]byte(text), &l); err != nil || status != 200 || l.Items == nil || l.Next == nil {
		t.Fatalf("%s: %d %v %s", path, status, err, text)
	}
	return l.Items, *l.Next
}

func TestWhoMayLook(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	remote := func(addr string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = addr } }
	bearer := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	form := func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }
	for _, tc := range []struct {
		name, method, path string
		change             []func(*http.Request)
		want               int
	}{
		{"loopback", "GET", "/api/v1/status", nil, 200},
		{"loopback, mapped", "GET", "/api/v1/status", []func(*http.Request){remote("[::ffff:127.0.0.1]:1")}, 200},
		{"IPv6 loopback", "GET", "/api/v1/status", []func(*http.Request){remote("[::1]:1"), host("[::1]:9090")}, 200},
		{"elsewhere", "GET", "/api/v1/status", []func(*http.Request){remote("10.0.0.1:1")}, 401},
		{"elsewhere, nothing there", "GET", "/x", []func(*http.Request){remote("10.0.0.1:1")}, 401},
		{"elsewhere, wrong token", "GET", "/api/v1/status", []func(*http.Request){remote("10.0.0.1:1"), bearer("x")}, 401},
		{"elsewhere, empty token", "GET", "/api/v1/status", []func(*http.Request){remote("10.0.0.1:1"), bearer("")}, 401},
		{"elsewhere, token", "GET", "/api/v1/status", []func(*http.Request){remote("10.0.0.1:1"), bearer(token), host("bellhop.apps:9090")}, 200},
		{"loopback, wrong token", "GET", "/api/v1/status", []func(*http.Request){bearer("x")}, 401},
		{"a foreign name points here", "GET", "/api/v1/events", []func(*http.Request){host("evil.example")}, 403},
		{"a page posts a form", "POST", "/api/v1/dead/drop", []func(*http.Request){form}, 415},
		{"health", "GET", "/healthz", []func(*http.Request){remote("10.0.0.1:1")}, 200},
		{"readiness", "GET", "/readyz", []func(*http.Request){remote("10.0.0.1:1")}, 503},
		{"metrics", "GET", "/metrics", []func(*http.Request){remote("10.0.0.1:1")}, 200},
		{"nothing there", "GET", "/api/v1/nothing", nil, 404},
		{"wrong method", "DELETE", "/api/v1/events", nil, 404},
	} {
		if status, text := d.do(tc.method, tc.path, "", tc.change...); status != tc.want || strings.Contains(text, token) {
			t.Errorf("%s: %d %s", tc.name, status, text)
		}
	}
	if _, text := d.do("GET", "/readyz", ""); !strings.Contains(text, "disk full") {
		t.Errorf("readyz does not say why: %s", text)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, path := range []string{"events", "deliveries", "dead", "requests"} {
		if items, next := d.items(t, "/api/v1/"+path); len(items) != 0 || next != "" {
			t.Errorf("%s of nothing: %v %q", path, items, next)
		}
	}
	ids := d.put(t, 7, "a")
	var got []string
	path := "/api/v1/events?limit=3"
	for next := ""; ; {
		items, n := d.items(t, path+"&cursor="+next)
		for _, it := range items {
			got = append(got, it["id"].(string))
		}
		if next = n; next == "" {
			break
		}
	}
	if len(got) != 7 || got[0] != ids[6] || got[6] != ids[0] {
		t.Errorf("paged: %v", got)
	}
	for _, bad := range []string{"events?limit=0", "events?limit=x", "endpoints?cursor=x", "endpoints?cursor=-1", "deliveries?state=lost"} {
		if status, text := d.do("GET", "/api/v1/"+bad, ""); status != 400 || !strings.Contains(text, "error") {
			t.Errorf("%s: %d %s", bad, status, text)
		}
	}
	if items, _ := d.items(t, "/api/v1/events?limit=100000"); len(items) != 7 {
		t.Errorf("a large limit: %d", len(items))
	}
	endpoints, _ := d.items(t, "/api/v1/endpoints")
	if urls := endpoints[0]["urls"].([]any); len(urls) != 2 || urls[0] != "https://hooks.example/hook/f1" || endpoints[0]["verification"] != "signature" {
		t.Errorf("endpoints %v", endpoints)
	}
	first, next := d.items(t, "/api/v1/providers?limit=1")
	second, _ := d.items(t, "/api/v1/providers?cursor="+next)
	if first[0]["name"] != "a" || first[0]["depth"] != 7.0 || second[0]["name"] != "b" {
		t.Errorf("providers %v then %v", first, second)
	}
	if routes, _ := d.items(t, "/api/v1/routes"); routes[0]["name"] != "all" {
		t.Errorf("routes %v", routes)
	}
}

func TestAProviderThatIsGoneIsShown(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.put(t, 2, "gone")
	items, _ := d.items(t, "/api/v1/providers")
	last := items[len(items)-1]
	if last["name"] != "gone" || last["configured"] != false || last["depth"] != 2.0 {
		t.Errorf("%v", last)
	}
}

func TestEvent(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := d.put(t, 1, "a")[0]
	status, text := d.do("GET", "/api/v1/events/"+id, "")
	if status != 200 || !strings.Contains(text, `"body":{"n":1}`) {
		t.Errorf("%d %s", status, text)
	}
	if status, text := d.do("GET", "/api/v1/events/nothing", ""); status != 404 || !strings.Contains(text, "error") {
		t.Errorf("%d %s", status, text)
	}
}

func TestDead(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ids := d.put(t, 5, "a")
	d.bury(t, 5, "a")
	dead, _ := d.items(t, "/api/v1/dead")
	if len(dead) != 5 {
		t.Fatalf("%v", dead)
	}
	for _, field := range []string{"id", "event", "provider", "attempts", "error", "time"} {
		if dead[0][field] == nil {
			t.Errorf("a dead delivery lacks %s: %v", field, dead[0])
		}
	}
	for _, bad := range []string{"", "{}", `{"ids":["x"],"all":true}`, `{"id":"x"}`, `[`, `{"ids":1}`} {
		if status, text := d.do("POST", "/api/v1/dead/drop", bad); status != 400 {
			t.Errorf("%q: %d %s", bad, status, text)
		}
	}
	if status, text := d.do("POST", "/api/v1/dead/retry", `{"ids":["nothing.a"]}`); status != 404 {
		t.Errorf("%d %s", status, text)
	}
	one := bellhop.DeliveryID(ids[0], "a")
	if status, text := d.do("POST", "/api/v1/dead/retry", `{"ids":["`+one+`"]}`); status != 200 || text != `{"done":1}`+"\n" {
		t.Errorf("retry: %d %s", status, text)
	}
	lease, err := d.queue.Take(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if got := lease.Delivery(); got.ID != one || got.Attempts != 0 {
		t.Errorf("retried %+v", got)
	}
	if err := lease.Settle(t.Context(), nil, bellhop.Outcome{}); err != nil {
		t.Fatal(err)
	}
	if status, text := d.do("POST", "/api/v1/dead/drop", `{"all":true}`); status != 200 || text != `{"done":4}`+"\n" {
		t.Errorf("drop: %d %s", status, text)
	}
	if dead, _ := d.items(t, "/api/v1/dead"); len(dead) != 0 {
		t.Errorf("left: %v", dead)
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := d.put(t, 1, "a")[0]
	lease, err := d.queue.Take(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.Settle(t.Context(), nil, bellhop.Outcome{}); err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]int{`{"providers":["nobody"]}`: 422, `{"to":[]}`: 400} {
		if status, text := d.do("POST", "/api/v1/events/"+id+"/replay", body); status != want {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	if status, _ := d.do("POST", "/api/v1/events/nothing/replay", ""); status != 404 {
		t.Errorf("of nothing: %d", status)
	}
	for body, provider := range map[string]string{"": "a", `{"providers":["b"]}`: "b"} {
		status, text := d.do("POST", "/api/v1/events/"+id+"/replay", body)
		if status != 202 || !strings.Contains(text, bellhop.DeliveryID(id, provider)) {
			t.Errorf("%s: %d %s", body, status, text)
		}
		lease, err := d.queue.Take(t.Context(), provider)
		if err != nil {
			t.Fatal(err)
		}
		if err := lease.Settle(t.Context(), nil, bellhop.Outcome{}); err != nil {
			t.Fatal(err)
		}
	}
}
