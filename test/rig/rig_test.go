package rig

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// receiver answers as Bellhop would, but for what a test changes, and remembers the deliveries.
type receiver struct {
	key    []byte
	answer func(w http.ResponseWriter, n int64) // n counts requests from 1
	host   string

	mu       sync.Mutex
	requests int64
	ids      map[string]int
	problems []string
}

func (s *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	mac := hmac.New(sha256.New, s.key)
	mac.Write(body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	switch {
	case err != nil:
		s.problems = append(s.problems, err.Error())
	case r.Header.Get("X-Hub-Signature-256") != "sha256="+hex.EncodeToString(mac.Sum(nil)):
		s.problems = append(s.problems, "wrong signature")
	case !json.Valid(body):
		s.problems = append(s.problems, "not JSON")
	case r.Header.Get("X-GitHub-Event") != "push":
		s.problems = append(s.problems, "not a push")
	}
	if s.answer != nil {
		s.answer(w, s.requests)
		return
	}
	s.ids[r.Header.Get("X-GitHub-Delivery")]++
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, `{"result":"accepted"}`)
}

func startReceiver(t *testing.T, answer func(w http.ResponseWriter, n int64)) (*receiver, *Hook) {
	t.Helper()
	s := &receiver{key: []byte("a key"), answer: answer, ids: map[string]int{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.host = server.Listener.Addr().String()
	hook, err := NewHook(server.URL+"/hook/"+Fingerprint(s.key), s.key, 8<<10, 4)
	if err != nil {
		t.Fatal(err)
	}
	return s, hook
}

func TestLoadSendsEachDeliveryOnce(t *testing.T) {
	t.Parallel()
	s, hook := startReceiver(t, nil)
	var told atomic.Int64
	l := Load{
		Hooks: []*Hook{hook}, Connections: 4, Count: 100, For: time.Minute, First: 7,
		Acknowledged: func(int64, time.Time, time.Time) { told.Add(1) },
	}
	result, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if result.Acknowledged != 100 || told.Load() != 100 || len(result.Latencies) != 100 || result.Statuses[202] != 100 || result.Refused() != 0 {
		t.Errorf("result: %v, told %d", result, told.Load())
	}
	if len(s.problems) > 0 {
		t.Errorf("what was sent is wrong: %v", s.problems)
	}
	for n := range int64(100) {
		if s.ids[DeliveryID(n+7)] != 1 {
			t.Errorf("delivery %d came %d times", n+7, s.ids[DeliveryID(n+7)])
		}
	}
}

func TestLoadReportsRefusals(t *testing.T) {
	t.Parallel()
	_, hook := startReceiver(t, func(w http.ResponseWriter, _ int64) { w.WriteHeader(http.StatusUnauthorized) })
	l := Load{Hooks: []*Hook{hook}, Connections: 2, Count: 10, For: time.Minute}
	result, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if result.Refused() != 10 || result.Acknowledged != 0 {
		t.Errorf("result: %v", result)
	}

	// With Persist a refusal that no repetition heals is an error.
	l.Persist = true
	if _, err := l.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("error: %v", err)
	}
}

func TestLoadPersists(t *testing.T) {
	t.Parallel()
	s, hook := startReceiver(t, func(w http.ResponseWriter, n int64) {
		switch n {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			panic(http.ErrAbortHandler) // breaks the connection
		default:
			w.WriteHeader(http.StatusOK)
		}
	})
	l := Load{Hooks: []*Hook{hook}, Connections: 1, Count: 1, For: time.Minute, Persist: true}
	result, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if result.Acknowledged != 1 || result.Broken != 1 || result.Statuses[503] != 1 {
		t.Errorf("result: %v", result)
	}

	s.mu.Lock()
	s.requests = 1 // the next one breaks
	s.mu.Unlock()
	l.Persist = false
	if _, err := l.Run(t.Context()); err == nil {
		t.Error("a broken connection went unnoticed")
	}
}

// TestLoadGoesToTheNextReplica: a repetition keeps its id and comes to another host.
func TestLoadGoesToTheNextReplica(t *testing.T) {
	t.Parallel()
	away, _ := startReceiver(t, func(w http.ResponseWriter, _ int64) { w.WriteHeader(http.StatusServiceUnavailable) })
	there, hook := startReceiver(t, nil)
	nobody, err := FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	l := Load{
		Hooks: []*Hook{hook}, Hosts: []string{away.host, nobody, there.host}, Connections: 1, Count: 10, For: time.Minute,
		Persist: true, Pause: time.Millisecond,
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // it would try for ever
	defer cancel()
	result, err := l.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if result.Acknowledged != 10 || result.Statuses[503] != 1 || result.Broken != 1 {
		t.Errorf("result: %v", result)
	}
	for n := range int64(10) {
		if there.ids[DeliveryID(n)] != 1 {
			t.Errorf("delivery %d came %d times", n, there.ids[DeliveryID(n)])
		}
	}
}

func TestLoadOverTLS(t *testing.T) {
	t.Parallel()
	s := &receiver{key: []byte("a key"), ids: map[string]int{}}
	server := httptest.NewUnstartedServer(s)
	var connections atomic.Int64
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that fails
	server.StartTLS()
	t.Cleanup(server.Close)
	hook, err := NewHook(server.URL+"/hook/"+Fingerprint(s.key), s.key, 8<<10, 4)
	if err != nil {
		t.Fatal(err)
	}
	l := Load{Hooks: []*Hook{hook}, Connections: 1, Count: 10, For: time.Minute}
	if _, err := l.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of an unknown authority: %v", err)
	}

	l.RootCAs = x509.NewCertPool()
	l.RootCAs.AddCert(server.Certificate())
	for fresh, want := range []int64{1, 10} {
		connections.Store(0)
		l.Fresh = fresh
		result, err := l.Run(t.Context())
		if err != nil || result.Acknowledged != 10 || connections.Load() != want {
			t.Errorf("%d fresh: %v, %v, %d connections", fresh, result, err, connections.Load())
		}
	}
	if len(s.problems) > 0 {
		t.Errorf("what was sent is wrong: %v", s.problems)
	}
}

func TestLoadIsBounded(t *testing.T) {
	t.Parallel()
	_, hook := startReceiver(t, nil)
	for name, l := range map[string]Load{
		"no hooks":       {Connections: 1, Count: 1, For: time.Second},
		"no connections": {Hooks: []*Hook{hook}, Count: 1, For: time.Second},
		"no count":       {Hooks: []*Hook{hook}, Connections: 1, For: time.Second},
		"no time":        {Hooks: []*Hook{hook}, Connections: 1, Count: 1},
	} {
		if _, err := l.Run(t.Context()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	var ds []time.Duration
	for i := range 100 {
		ds = append(ds, time.Duration(i+1)*time.Millisecond)
	}
	for p, want := range map[float64]string{0: "1ms", 50: "50ms", 99: "99ms", 100: "100ms"} {
		if got := Percentile(ds, p).String(); got != want {
			t.Errorf("p%v is %s, want %s", p, got, want)
		}
	}
	if Percentile(nil, 50) != 0 {
		t.Error("percentile of nothing")
	}
}

func TestSinkIsStrict(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		method, contentType, body string
		ok                        bool
	}{
		"get":           {"GET", "application/json", `{}`, false},
		"no type":       {"POST", "", `{}`, false},
		"form":          {"POST", "application/x-www-form-urlencoded", `a=b`, false},
		"not JSON":      {"POST", "application/json", `{`, false},
		"empty":         {"POST", "application/json", ``, false},
		"JSON":          {"POST", "application/json; charset=utf-8", `{"a":1}`, true},
		"a cloud event": {"POST", "application/cloudevents+json", `{"specversion":"1.0"}`, true},
	} {
		var received int
		s := &Sink{Received: func([]byte) { received++ }}
		r := httptest.NewRequestWithContext(t.Context(), tc.method, "/", strings.NewReader(tc.body))
		r.Header.Set("Content-Type", tc.contentType)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if ok := w.Code == http.StatusOK; ok != tc.ok || (s.Err() == nil) != tc.ok || (received == 1) != tc.ok {
			t.Errorf("%s: status %d, error %v, received %d", name, w.Code, s.Err(), received)
		}
	}
}

func TestSinkFaults(t *testing.T) {
	t.Parallel()
	s := &Sink{Every: 3, Fault: http.StatusTooManyRequests, RetryAfter: 2 * time.Second}
	var statuses []int
	for range 6 {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(`{}`))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		statuses = append(statuses, w.Code)
		if got := w.Header().Get("Retry-After"); (got == "2") != (w.Code == http.StatusTooManyRequests) {
			t.Errorf("status %d with Retry-After %q", w.Code, got)
		}
	}
	if s.Requests() != 6 || s.Accepted() != 4 || s.Faults() != 2 || statuses[2] != 429 || statuses[5] != 429 {
		t.Errorf("statuses %v; %d requests, %d accepted, %d faults", statuses, s.Requests(), s.Accepted(), s.Faults())
	}
}

func TestSinkHold(t *testing.T) {
	t.Parallel()
	s := &Sink{}
	post := func() *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(`{}`))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	s.Hold(time.Minute)
	if w := post(); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "60" {
		t.Errorf("held: status %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	s.Hold(0)
	if w := post(); w.Code != http.StatusOK {
		t.Errorf("no longer held: status %d", w.Code)
	}
}

func TestDeliveryOf(t *testing.T) {
	t.Parallel()
	if n, ok := DeliveryOf([]byte(`{"data":{"deliveryId":"` + DeliveryID(42) + `"}}`)); !ok || n != 42 {
		t.Errorf("%d, %v", n, ok)
	}
	for _, body := range []string{``, `{}`, `{"deliveryId":"`, `{"deliveryId":"42"}`, `{"deliveryId":"be110000-0000-4000-8000-00000000004x"}`,
		`{"deliveryId":"be110000-0000-4000-8000--00000000042"}`} {
		if n, ok := DeliveryOf([]byte(body)); ok {
			t.Errorf("%s is delivery %d", body, n)
		}
	}
}

// TestFreeAddresses: no port is found twice, and none is one that the kernel may give to somebody else.
func TestFreeAddresses(t *testing.T) {
	t.Parallel()
	var lowest int // of the kernel's
	limits, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Skip(err)
	}
	if _, err := fmt.Sscan(string(limits), &lowest); err != nil || lowest < lowestPort+ports {
		t.Skipf("the kernel's ports begin at %d here", lowest)
	}
	found := map[string]bool{}
	for range 50 {
		addresses, err := FreeAddresses(2)
		if err != nil {
			t.Fatal(err)
		}
		for _, address := range addresses {
			port, err := strconv.Atoi(strings.TrimPrefix(address, "127.0.0.1:"))
			if err != nil || port >= lowest || found[address] {
				t.Errorf("found %s, %v", address, err)
			}
			found[address] = true
		}
	}
	if len(found) != 100 {
		t.Errorf("%d addresses, want 100", len(found))
	}
}

// TestConfigurationIsNeverHalf: whoever follows the links sees one generation's files.
func TestConfigurationIsNeverHalf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := Configuration{Keys: NewKeys(3), Providers: []string{"http://127.0.0.1:1/", "http://127.0.0.1:2/"}, Concurrency: 2}
	for range 3 {
		if err := c.Write(dir); err != nil {
			t.Fatal(err)
		}
		config, err := os.ReadFile(filepath.Join(dir, "config", "bellhop.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := c.Files(); string(config) != string(want["bellhop.yaml"]) {
			t.Errorf("the configuration is not the last one written:\n%s", config)
		}
		key, err := os.ReadFile(filepath.Join(dir, "secrets", "hook-00002.key"))
		if err != nil || string(key) != string(c.Keys[2]) {
			t.Errorf("key: %v", err)
		}
		c.Keys = append(NewKeys(3), NewKeys(len(c.Keys))...)
	}
	generations, err := filepath.Glob(filepath.Join(dir, "config", "..generation_*"))
	if err != nil || len(generations) != 1 {
		t.Errorf("old generations are left: %v", generations)
	}
}
