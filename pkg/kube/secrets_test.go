package kube_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/kube"
)

const (
	secretsPath = "/api/v1/namespaces/apps/secrets"
	keyCanary   = "hush-0123456789abcdef"
)

// object is a Secret with one key as the API has it.
func object(name, labels, key, value string) string {
	return fmt.Sprintf(`{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": %q, "namespace": "apps", "resourceVersion": "7", "labels": {%s}}, "data": {%q: %q}}`,
		name, labels, key, base64.StdEncoding.EncodeToString([]byte(value)))
}

const ours = `"bellhop.dev/config": "true"`

// secretAPI has Secrets that a test lists and changes.
type secretAPI struct {
	*api
	mu     sync.Mutex
	list   []string
	code   int // if not 0, the status of every answer
	events chan string
	// ended ends the watch under way.
	ended chan struct{}
}

func newSecretAPI(t *testing.T, list ...string) *secretAPI {
	t.Helper()
	a := &secretAPI{api: newAPI(t), list: list, events: make(chan string), ended: make(chan struct{})}
	a.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != secretsPath {
			return false
		}
		if got := r.URL.Query().Get("fieldSelector"); got != "type!=helm.sh/release.v1" {
			t.Errorf("asked with the field selector %q", got)
		}
		a.mu.Lock()
		code, list := a.code, slices.Clone(a.list)
		a.mu.Unlock()
		switch {
		case code != 0:
			status(w, code, "secrets is\nforbidden")
		case r.URL.Query().Get("watch") == "":
			_, _ = fmt.Fprintf(w, `{"kind": "SecretList", "apiVersion": "v1", "metadata": {"resourceVersion": "5"}, "items": [%s]}`, strings.Join(list, ","))
		default:
			a.stream(w, r)
		}
		return true
	}
	return a
}

func (a *secretAPI) stream(w http.ResponseWriter, r *http.Request) {
	flusher, ok := w.(http.Flusher)
	if !ok {
		return
	}
	flusher.Flush()
	for {
		select {
		case e := <-a.events:
			_, _ = io.WriteString(w, e+"\n")
			flusher.Flush()
		case <-a.ended:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (a *secretAPI) set(code int, list ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.code, a.list = code, list
}

func event(kind, object string) string {
	return fmt.Sprintf(`{"type": %q, "object": %s}`, kind, object)
}

// value is a key as the Secrets have it; empty if they have not.
func value(s *kube.Secrets, name, key string) string {
	keys, _ := s.Secret(name)
	return string(keys[key])
}

// log is a log that tests read while it is written.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
	// wrote brings a value after a line.
	wrote chan struct{}
}

func newLog() *log { return &log{wrote: make(chan struct{}, 100)} }

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.wrote <- struct{}{}:
	default: // whoever waits has values enough to look again
	}
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await returns once the log holds the words.
func (l *log) await(t *testing.T, words string) {
	t.Helper()
	for !strings.Contains(l.String(), words) {
		select {
		case <-l.wrote:
		case <-t.Context().Done():
			t.Fatalf("%q never came", words)
		}
	}
}

// Without a watch, as in `bellhop check`, the Secrets are read when they are asked for.
func TestSecretsReadOnce(t *testing.T) {
	t.Parallel()
	a := newSecretAPI(t, object("keys", ours, "app.key", keyCanary), object("other", `"x": "y"`, "app.key", "b"), object("more", ours, "app.key", "c"))
	s := a.cluster(t).Secrets()
	if err := s.Ready(); err != nil {
		t.Fatal(err)
	}
	if got := value(s, "keys", "app.key") + " " + value(s, "other", "app.key"); got != keyCanary+" b" {
		t.Errorf("read %q", got)
	}
	if _, ok := s.Secret("none"); ok {
		t.Error("found a Secret that is not there")
	}
	if got := s.WithKey("app.key"); !slices.Equal(got, []string{"keys", "more"}) {
		t.Errorf("labelled with the key: %q", got)
	}
	before := s.Revision()
	a.set(0, object("keys", ours, "app.key", "new"))
	if err := s.Ready(); err != nil || value(s, "keys", "app.key") != "new" || s.Revision() == before {
		t.Errorf("read again: %v, %q, revision %d after %d", err, value(s, "keys", "app.key"), s.Revision(), before)
	}
	if got := a.requests(); len(got) != 2 {
		t.Errorf("asked %q, want two lists and nothing else", got)
	}
}

func TestSecretsWatched(t *testing.T) {
	t.Parallel()
	a := newSecretAPI(t, object("keys", ours, "app.key", "a"))
	s := a.cluster(t).Secrets()
	t.Cleanup(s.Watch())
	if err := s.Ready(); err != nil || value(s, "keys", "app.key") != "a" {
		t.Fatal(err, value(s, "keys", "app.key"))
	}
	for _, step := range []struct {
		kind, object, name, want string
		labelled                 int
	}{
		{"MODIFIED", object("keys", ours, "app.key", "b"), "keys", "b", 1},
		{"ADDED", object("more", ours, "app.key", "c"), "more", "c", 2},
		{"MODIFIED", object("more", "", "app.key", "c"), "more", "c", 1}, // the label alone
		{"DELETED", object("keys", ours, "app.key", "b"), "keys", "", 0},
	} {
		before := s.Revision()
		a.events <- event(step.kind, step.object)
		<-s.Changed()
		if got := value(s, step.name, "app.key"); got != step.want || s.Revision() <= before || len(s.WithKey("app.key")) != step.labelled {
			t.Errorf("%s %s: %q, want %q; revision %d after %d; labelled %q", step.kind, step.name, got, step.want, s.Revision(), before, s.WithKey("app.key"))
		}
	}
	// What changes nothing that matters is no change: the next one that comes is the one after it.
	before := s.Revision()
	a.events <- event("MODIFIED", object("more", `"new": "label"`, "app.key", "c"))
	a.events <- event("ADDED", object("last", "", "k", "v"))
	<-s.Changed()
	if got := s.Revision(); got != before+1 {
		t.Errorf("revision %d after %d and one change", got, before)
	}
}

// Without permission Ready says what to grant, and the Secrets come once it is granted.
func TestSecretsForbidden(t *testing.T) {
	t.Parallel()
	a := newSecretAPI(t)
	a.set(http.StatusForbidden)
	for _, watched := range []bool{false, true} {
		s := a.cluster(t).Secrets()
		if watched {
			t.Cleanup(s.Watch())
		}
		const want = "reading the namespace's Secrets: secrets is forbidden: grant the verbs list and watch on secrets in Bellhop's namespace to its service account"
		if err := s.Ready(); err == nil || err.Error() != want {
			t.Errorf("watched %v: %v\nwant %s", watched, err, want)
		}
		if !watched {
			continue
		}
		a.set(0, object("keys", ours, "app.key", "a"))
		<-s.Changed()
		if err := s.Ready(); err != nil || value(s, "keys", "app.key") != "a" {
			t.Errorf("granted: %v, %q", err, value(s, "keys", "app.key"))
		}
	}
}

// An API that goes away takes no Secret along. That is logged once, and so is its return.
func TestSecretsOutage(t *testing.T) {
	t.Parallel()
	a := newSecretAPI(t, object("keys", ours, "app.key", keyCanary))
	text := newLog()
	s := kube.New(kube.Options{Kubeconfig: a.kubeconfig(t), Logger: slog.New(slog.NewTextHandler(text, nil))}).Secrets()
	t.Cleanup(s.Watch())
	if err := s.Ready(); err != nil {
		t.Fatal(err)
	}
	a.events <- event("ADDED", object("more", "", "k", "v")) // the watch is open
	<-s.Changed()
	a.set(http.StatusInternalServerError)
	a.ended <- struct{}{}
	text.await(t, "the Secrets that are known serve on")
	if err := s.Ready(); err != nil || value(s, "keys", "app.key") != keyCanary || value(s, "more", "k") != "v" {
		t.Errorf("during the outage: %v, %q, %q", err, value(s, "keys", "app.key"), value(s, "more", "k"))
	}
	a.set(0, object("keys", ours, "app.key", "new"))
	<-s.Changed()
	if value(s, "keys", "app.key") != "new" || value(s, "more", "k") != "" {
		t.Errorf("after the outage: %q, %q", value(s, "keys", "app.key"), value(s, "more", "k"))
	}
	text.await(t, "the Secrets are watched again")
	if got := text.String(); strings.Count(got, "serve on") != 1 || strings.Contains(got, keyCanary) {
		t.Errorf("logged\n%s\nwant the outage once, and no key", got)
	}
}

// A configuration of the client that is not there yet is found when it is.
func TestSecretsWithoutAPI(t *testing.T) {
	t.Parallel()
	a := newSecretAPI(t, object("keys", ours, "app.key", "a"))
	path := filepath.Join(t.TempDir(), "kubeconfig")
	s := kube.New(kube.Options{Kubeconfig: path}).Secrets()
	t.Cleanup(s.Watch())
	if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "run with a service account or set KUBECONFIG") {
		t.Errorf("without an API: %v", err)
	}
	a.writeKubeconfig(t, path)
	<-s.Changed()
	if err := s.Ready(); err != nil || value(s, "keys", "app.key") != "a" {
		t.Errorf("with an API: %v, %q", err, value(s, "keys", "app.key"))
	}
}

// What is no Secret is an error that does not quote it.
func TestSecretsMalformed(t *testing.T) {
	t.Parallel()
	for _, data := range []string{`"` + keyCanary + `"`, `{"k": "` + keyCanary + `!"}`, `{"k": 7}`, `{"k": {"` + keyCanary + `": ""}}`, `["` + keyCanary + `"]`} {
		a := newSecretAPI(t, `{"metadata": {"name": "bad"}, "data": `+data+`}`)
		err := a.cluster(t).Secrets().Ready()
		if err == nil || !strings.Contains(err.Error(), `the Secret "bad"`) || strings.Contains(err.Error(), keyCanary) {
			t.Errorf("data %s: %v", data, err)
		}
	}
	for _, data := range []string{"null", "{}"} {
		a := newSecretAPI(t, `{"metadata": {"name": "none"}, "data": `+data+`}`)
		s := a.cluster(t).Secrets()
		if err := s.Ready(); err != nil {
			t.Errorf("data %s: %v", data, err)
		}
		if keys, ok := s.Secret("none"); !ok || len(keys) != 0 {
			t.Errorf("data %s: %d keys, found %v", data, len(keys), ok)
		}
	}
}
