package kube_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/bellhop-dev/bellhop/pkg/kube"
)

const (
	eventsPath    = "/apis/events.k8s.io/v1/namespaces/apps/events"
	configMapPath = "/api/v1/namespaces/apps/configmaps/"
)

// sent is a request of the recorder.
type sent struct {
	method, path, contentType string
	body                      map[string]any
}

// eventAPI takes Events as code says at each request. It does not let ConfigMaps be read.
func eventAPI(t *testing.T, code func(r *http.Request) int) (*api, chan sent) {
	t.Helper()
	a, got := newAPI(t), make(chan sent, 1000)
	a.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, configMapPath) {
			status(w, http.StatusForbidden, "configmaps is forbidden")
			return true
		}
		s := sent{method: r.Method, path: r.URL.RequestURI(), contentType: r.Header.Get("Content-Type")}
		if err := json.NewDecoder(r.Body).Decode(&s.body); err != nil {
			t.Errorf("%s %s: %v", s.method, s.path, err)
		}
		if c := code(r); c != 0 {
			status(w, c, "events is not taken")
		} else {
			_, _ = io.WriteString(w, `{"kind": "Event", "apiVersion": "events.k8s.io/v1"}`)
		}
		got <- s
		return true
	}
	return a, got
}

func always(code int) func(*http.Request) int { return func(*http.Request) int { return code } }

// begin starts a recorder for the ConfigMap "bellhop".
func begin(t *testing.T, a *api, text io.Writer) *kube.Events {
	t.Helper()
	e := kube.New(kube.Options{Kubeconfig: a.kubeconfig(t), Logger: slog.New(slog.NewTextHandler(text, nil))}).Events("bellhop", "pod-1")
	t.Cleanup(e.Stop)
	return e
}

var invalid = kube.Event{Warning: true, Reason: "ConfigInvalid", Action: "Reload", Note: "c.yaml:1:2: what is wrong"}

// An Event that comes again is counted on the first one; another one is new.
func TestEvents(t *testing.T) {
	t.Parallel()
	a, got := eventAPI(t, always(0))
	e := begin(t, a, io.Discard)
	e.Tell(invalid)
	first := <-got
	if first.method != http.MethodPost || first.path != eventsPath || first.contentType != "application/json" {
		t.Errorf("sent %s %s as %s", first.method, first.path, first.contentType)
	}
	metadata, _ := first.body["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	if at, _ := first.body["eventTime"].(string); !strings.HasPrefix(name, "bellhop.") || at == "" {
		t.Errorf("named %q, at %q", name, at)
	}
	delete(first.body, "eventTime")
	metadata["name"] = "NAME"
	const want = `{"action":"Reload","apiVersion":"events.k8s.io/v1","kind":"Event","metadata":{"name":"NAME","namespace":"apps"},` +
		`"note":"c.yaml:1:2: what is wrong","reason":"ConfigInvalid","regarding":{"apiVersion":"v1","kind":"ConfigMap","name":"bellhop","namespace":"apps"},` +
		`"reportingController":"bellhop.dev/bellhop","reportingInstance":"pod-1","type":"Warning"}`
	if b, err := json.Marshal(first.body); err != nil || string(b) != want {
		t.Errorf("sent\n%s (%v)\nwant\n%s", b, err, want)
	}
	for count := 2; count <= 3; count++ {
		e.Tell(invalid)
		again := <-got
		series, _ := again.body["series"].(map[string]any)
		if again.method != http.MethodPatch || again.path != eventsPath+"/"+name || again.contentType != "application/merge-patch+json" ||
			len(again.body) != 1 || series["count"] != float64(count) || series["lastObservedTime"] == nil {
			t.Errorf("time %d: sent %+v", count, again)
		}
	}
	e.Tell(kube.Event{Reason: "ConfigReloaded", Action: "Reload", Note: "serves"})
	if other := <-got; other.method != http.MethodPost || other.body["type"] != "Normal" {
		t.Errorf("another Event: sent %+v", other)
	}
}

// An Event is about the ConfigMap that there is, and not counted on one about another of the same name.
func TestEventUID(t *testing.T) {
	t.Parallel()
	a, got := eventAPI(t, always(0))
	events := a.answer
	var configMap atomic.Value // what the API has to say of it
	a.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != configMapPath+"bellhop" {
			return events(w, r)
		}
		if r.Method != http.MethodGet || r.Header.Get("Accept") != "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1" {
			t.Errorf("asked %s for %s", r.Method, r.Header.Get("Accept"))
		}
		_, _ = io.WriteString(w, configMap.Load().(string))
		return true
	}
	e := begin(t, a, io.Discard)
	for _, turn := range []struct{ configMap, method, uid string }{
		{`{"metadata": {"name": "bellhop", "uid": "one"}}`, http.MethodPost, "one"},
		{`{"metadata": {"name": "bellhop", "uid": "one"}}`, http.MethodPatch, ""},
		{`{"metadata": {"name": "bellhop", "uid": "two"}}`, http.MethodPost, "two"},
		{`{"metadata": {"name": "bellhop"}}`, http.MethodPost, ""},
		{`no JSON`, http.MethodPatch, ""},
	} {
		configMap.Store(turn.configMap)
		e.Tell(invalid)
		s := <-got
		regarding, _ := s.body["regarding"].(map[string]any)
		if uid, _ := regarding["uid"].(string); s.method != turn.method || uid != turn.uid {
			t.Errorf("%s: sent %+v, want %s with the UID %q", turn.configMap, s, turn.method, turn.uid)
		}
	}
}

// Kubernetes forgets Events after an hour: one that is gone is written anew.
func TestEventExpired(t *testing.T) {
	t.Parallel()
	a, got := eventAPI(t, func(r *http.Request) int {
		if r.Method == http.MethodPatch {
			return http.StatusNotFound
		}
		return 0
	})
	e := begin(t, a, io.Discard)
	e.Tell(invalid)
	e.Tell(invalid)
	for _, want := range []string{http.MethodPost, http.MethodPatch, http.MethodPost} {
		if s := <-got; s.method != want {
			t.Errorf("sent %s, want %s", s.method, want)
		}
	}
}

func TestEventNote(t *testing.T) {
	t.Parallel()
	a, got := eventAPI(t, always(0))
	e := kube.New(kube.Options{Kubeconfig: a.kubeconfig(t)}).Events(strings.Repeat("c.", 126)+"c", "pod-1")
	t.Cleanup(e.Stop)
	for _, size := range []int{kube.MaxNote - 1, kube.MaxNote, kube.MaxNote + 1, 10 * kube.MaxNote} {
		event := invalid
		event.Note = strings.Repeat("é", size/2) + strings.Repeat("x", size%2)
		e.Tell(event)
		s := <-got
		note, _ := s.body["note"].(string)
		if len(note) > kube.MaxNote || !utf8.ValidString(note) || size <= kube.MaxNote && note != event.Note {
			t.Errorf("a note of %d bytes became one of %d", size, len(note))
		}
		metadata, _ := s.body["metadata"].(map[string]any)
		if name, _ := metadata["name"].(string); len(name) > 253 || strings.Contains(name, "..") {
			t.Errorf("named %q", name)
		}
	}
}

// Without permission that is told once, nothing is tried twice, and Events are written once it is granted.
func TestEventsForbidden(t *testing.T) {
	t.Parallel()
	var granted atomic.Bool
	a, got := eventAPI(t, func(*http.Request) int {
		if granted.Load() {
			return 0
		}
		return http.StatusForbidden
	})
	text := newLog()
	e := begin(t, a, text)
	for range 3 {
		e.Tell(invalid)
		<-got
	}
	text.await(t, "Kubernetes Events are not written")
	granted.Store(true)
	e.Tell(invalid)
	if s := <-got; s.method != http.MethodPost {
		t.Errorf("granted: sent %+v", s)
	}
	e.Stop()
	logged := text.String()
	if strings.Count(logged, "\n") != 1 || !strings.Contains(logged, "level=INFO") || !strings.Contains(logged, "grant the verbs create and patch on events of events.k8s.io") {
		t.Errorf("logged\n%s\nwant one line at info that says what to grant", logged)
	}
	if len(got) != 0 {
		t.Errorf("%d requests more", len(got))
	}
}

// An answer that may be another a moment later is waited for.
func TestEventRetried(t *testing.T) {
	t.Parallel()
	var tries atomic.Int32
	a, got := eventAPI(t, func(*http.Request) int {
		if tries.Add(1) == 1 {
			return http.StatusServiceUnavailable
		}
		return 0
	})
	text := newLog()
	e := begin(t, a, text)
	e.Tell(invalid)
	for range 2 {
		if s := <-got; s.method != http.MethodPost {
			t.Errorf("sent %+v", s)
		}
	}
	e.Stop()
	if got := text.String(); got != "" {
		t.Errorf("logged %s", got)
	}
}

// Telling waits for nobody, stopping for nothing that hangs, and an API is not flooded.
func TestEventsNeverBlock(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	asked, release := make(chan struct{}), make(chan struct{})
	a.answer = func(_ http.ResponseWriter, r *http.Request) bool {
		asked <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return true
	}
	e := begin(t, a, io.Discard)
	e.Tell(invalid)
	<-asked
	for i := range 1000 {
		e.Tell(kube.Event{Reason: "ProviderNotReady", Note: fmt.Sprint(i)})
	}
	e.Stop()
	close(release)
	if n := len(a.requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
	var none *kube.Events
	none.Tell(invalid) // tells nobody
}

func TestEventsAreFew(t *testing.T) {
	t.Parallel()
	a, got := eventAPI(t, always(0))
	text := newLog()
	e := kube.New(kube.Options{
		Kubeconfig: a.kubeconfig(t), Logger: slog.New(slog.NewTextHandler(text, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}).Events("bellhop", "pod-1")
	t.Cleanup(e.Stop)
	const burst = 20
	for i := range burst {
		e.Tell(kube.Event{Reason: "ProviderNotReady", Note: fmt.Sprint(i)})
	}
	for range burst {
		<-got
	}
	for i := range burst {
		e.Tell(kube.Event{Reason: "ProviderNotReady", Note: fmt.Sprint(burst + i)})
	}
	text.await(t, "there were too many")
	e.Tell(invalid) // of another Reason
	crowd := 0
	for s := <-got; s.body["reason"] != invalid.Reason; s = <-got {
		crowd++
	}
	e.Stop()
	if n := crowd + len(got); n > 2 { // a slow machine may earn one or two more
		t.Errorf("%d Events beyond the burst", n)
	}
}

func TestEventsWithoutAPI(t *testing.T) {
	t.Parallel()
	text := newLog()
	e := kube.New(kube.Options{
		Kubeconfig: filepath.Join(t.TempDir(), "missing"), Logger: slog.New(slog.NewTextHandler(text, nil)),
	}).Events("bellhop", "pod-1")
	t.Cleanup(e.Stop)
	e.Tell(invalid)
	e.Tell(invalid)
	text.await(t, "Kubernetes Events are not written")
	e.Stop()
	if got := text.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=INFO") || !strings.Contains(got, "no Kubernetes API") {
		t.Errorf("logged %s", got)
	}
}
