package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// served is the API of a process with these pages; what is not among them is not found.
func served(t *testing.T, pages map[string]http.HandlerFunc) *api {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if page := pages[r.URL.Path]; page != nil {
			page(w, r)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error": "reading the event: not found"}`))
	}))
	t.Cleanup(server.Close)
	return &api{server: server.URL}
}

func page(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
}

func TestConfirmFails(t *testing.T) {
	t.Parallel()
	refused := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"error": "told so"}`))
		}
	}
	for name, tc := range map[string]struct {
		answer string
		pages  map[string]http.HandlerFunc
		want   string
	}{
		"no answer":         {"", nil, "not a receiver's"},
		"another's":         {`{"ok": true}`, nil, "not a receiver's"},
		"never stored":      {`{"id": "A", "result": "accepted"}`, nil, "event A is not at http://127.0.0.1:"},
		"engine stays away": {`{"id": "A", "result": "accepted"}`, map[string]http.HandlerFunc{"/api/v1/events/A": refused(http.StatusServiceUnavailable)}, "is not at"},
		"no token":          {`{"id": "A", "result": "accepted"}`, map[string]http.HandlerFunc{"/api/v1/events/A": refused(http.StatusUnauthorized)}, "told so"},
		"no deliveries":     {`{"id": "A", "result": "accepted"}`, map[string]http.HandlerFunc{"/api/v1/events/A": page("{}")}, "not found"},
		"no list":           {`{"result": "filtered"}`, nil, "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sent{answer: []byte(tc.answer)}
			line, err := s.confirm(t.Context(), served(t, tc.pages), 0)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %q, %v, want an error with %q", line, err, tc.want)
			}
		})
	}
}

// TestConfirmWaits: a replica may learn of the event later than it is answered.
func TestConfirmWaits(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	a := served(t, map[string]http.HandlerFunc{
		"/api/v1/events/A": func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) == 1 {
				w.WriteHeader(http.StatusNotFound)
				_, _ = w.Write([]byte(`{"error": "not found"}`))
				return
			}
			_, _ = w.Write([]byte(`{"id": "A", "endpoint": "app", "kind": "other"}`))
		},
		"/api/v1/deliveries": page(`{"items": [{"provider": "a", "state": "waiting"}, {"provider": "b", "state": "dead"}]}`),
	})
	s := sent{answer: []byte(`{"id": "A", "result": "accepted"}`)}
	line, err := s.confirm(t.Context(), a, patience)
	if want := "event A of app is stored (other), 2 deliveries: a waiting, b dead"; err != nil || line != want {
		t.Errorf("got %q, %v, want %q", line, err, want)
	}
}

// TestConfirmTellsRequestsApart: only the request that was sent is taken for it, and that another replica may have it is no
// failure.
func TestConfirmTellsRequestsApart(t *testing.T) {
	t.Parallel()
	requests := func(items string) *api {
		return served(t, map[string]http.HandlerFunc{"/api/v1/requests": page(`{"items": [` + items + `]}`)})
	}
	for name, tc := range map[string]struct{ items, want string }{
		"none":             {"", "another replica may have answered"},
		"another source":   {`{"source": "gitlab", "endpoint": "app", "result": "pong", "bytes": 7, "deliveryId": "one"}`, "another replica"},
		"another size":     {`{"source": "github", "endpoint": "app", "result": "pong", "bytes": 8, "deliveryId": "one"}`, "another replica"},
		"another result":   {`{"source": "github", "endpoint": "app", "result": "filtered", "bytes": 7, "deliveryId": "one"}`, "another replica"},
		"another delivery": {`{"source": "github", "endpoint": "app", "result": "pong", "bytes": 7, "deliveryId": "two"}`, "another replica"},
		"it":               {`{"source": "github", "endpoint": "app", "result": "pong", "reason": "ping", "bytes": 7, "deliveryId": "one"}`, "pong at app (ping), no event"},
		"it, without id":   {`{"source": "github", "endpoint": "app", "result": "pong", "reason": "ping", "bytes": 7}`, "pong at app (ping), no event"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sent{source: "github", delivery: "one", bytes: 7, answer: []byte(`{"result": "pong"}`)}
			line, err := s.confirm(t.Context(), requests(tc.items), 0)
			if err != nil || !strings.Contains(line, tc.want) {
				t.Errorf("got %q, %v, want %q", line, err, tc.want)
			}
		})
	}
}
