package bellhoptest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config/strict"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/route"
)

// ProviderOptions is what RunProvider cannot find out by itself.
type ProviderOptions struct {
	// Answer is the body of the vendor's own success answer.
	Answer string
	// AnswerTo makes that body from the request's, for vendors that answer with what they were sent.
	AnswerTo func(request []byte) string
	// Accepts reports which statuses, with Answer, mean success; nil for 2xx.
	Accepts func(status int) bool
	// Pauses are the statuses that ask for a pause with Retry-After, beside 429 and 503.
	Pauses []int
	// Answers are the vendor's own that a status alone does not explain: every success that is none, what pauses,
	// what no retry heals.
	Answers []Answer
	// Limits are the vendor's limits on parts of a message.
	Limits []Limit
	// Refuses: an event may lack what a request needs, which is an error then. Others must send every event,
	// or say that there is nothing to tell.
	Refuses bool
	// Setup adds what a provider is built from besides its client, such as a cluster. What it finds in the case
	// is its own; t's clean-up may compare what came of it.
	Setup func(t *testing.T, c *Case, setup *bellhop.Setup)
}

// Limit is a vendor's limit on one part of a message.
type Limit struct {
	Name string
	// Case names the case whose settings are used; the first that asks something if empty.
	Case string
	Max  int
	Unit httpsend.Unit
	// Set puts a text into an event.
	Set func(e *bellhop.Event, text string)
	// Get finds in a request's body what became of it, the part that the vendor counts.
	Get func(body []byte) string
	// Whole: the vendor counts more than the text, so that one within the limit may be cut to make room.
	Whole bool
}

// Text is a Limit's Get for the text at a path of keys in a body of JSON.
func Text(path ...string) func(body []byte) string {
	return func(body []byte) string {
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			panic(err)
		}
		for _, key := range path {
			v = v.(map[string]any)[key]
		}
		return v.(string)
	}
}

// SetContext and SetDescription are a Limit's Set for what a route wants of a commit's status.
func SetContext(e *bellhop.Event, text string) { e.CommitStatus = &bellhop.CommitStatus{Context: text} }

// SetDescription is the other of the two.
func SetDescription(e *bellhop.Event, text string) {
	e.CommitStatus = &bellhop.CommitStatus{Description: text}
}

// RunProvider holds a kind of provider to its contract. Each testdata/*.txtar of the plug-in is a case:
//
//	settings.yaml  the plug-in's own settings; may be left out
//	secret/KEY     what the Secret holds under KEY; may be left out
//	event.json     the event in its JSON, "body" included
//	request        what is asked of the vendor: method and URL, headers by name, a blank line, the body, JSON
//	               indented; empty if the event says nothing to the vendor
//	state          for a bellhop.Stateful: what the event would set, its value and its time, a line each; empty if
//	               nothing
//	problems       what is wrong with the settings, a line each; with a fatal one nothing is sent
//	log            what a person reads in the log, where there is something
//
// From the cases that ask something it derives the rest by itself: every HTTP status is classed, no error
// shows a secret, connections are reused, redirects elsewhere are refused, an answer that breaks off or never
// comes is survived, the same event makes the same bytes, limits hold for awkward texts, no event makes it
// panic or send broken JSON, and proxy, private CA and client certificate are used.
func RunProvider(t *testing.T, kind bellhop.Kind[bellhop.Provider], o ProviderOptions) {
	t.Helper()
	if o.Accepts == nil {
		o.Accepts = func(status int) bool { return status >= 200 && status <= 299 }
	}
	s := &providerSuite{kind: kind, options: o}
	var asking []*providerCase
	for _, c := range Cases(t) {
		pc := newProviderCase(t, c)
		t.Run("case/"+c.Name, func(t *testing.T) {
			if s.runCase(t, pc) {
				asking = append(asking, pc)
			}
		})
	}
	t.Run("unknown setting", func(t *testing.T) {
		c := &providerCase{Case: &Case{Name: "unknown setting", archive: new(txtar.Archive)}, settings: []byte("no-such-setting: 1\n")}
		if _, problems := s.build(t, c, nil, nil); problems.Err() == nil {
			t.Error("an unknown setting is accepted: decode with Setup.Decode alone")
		}
	})
	if t.Failed() || len(asking) == 0 {
		return
	}
	for _, c := range asking {
		t.Run("same bytes/"+c.Name, func(t *testing.T) { s.sameBytes(t, c) })
		t.Run("echo/"+c.Name, func(t *testing.T) { s.echo(t, c) })
		t.Run("proxy, CA and client certificate/"+c.Name, func(t *testing.T) { s.throughProxy(t, c) })
		t.Run("any event/"+c.Name, func(t *testing.T) { s.anyEvent(t, c) })
	}
	c := asking[0]
	t.Run("status", func(t *testing.T) { s.statuses(t, c) })
	t.Run("refused", func(t *testing.T) { s.refused(t, c) })
	t.Run("answer breaks off", func(t *testing.T) { s.breaksOff(t, c) })
	t.Run("cancelled", func(t *testing.T) { s.cancelled(t, c) })
	t.Run("one connection", func(t *testing.T) { s.oneConnection(t, c) })
	t.Run("redirect", func(t *testing.T) { s.redirects(t, c) })
	for _, a := range o.Answers {
		t.Run("answer/"+strconv.Itoa(a.Status), func(t *testing.T) { s.answer(t, named(t, asking, a.Case), a) })
	}
	for _, l := range o.Limits {
		t.Run("limit/"+l.Name, func(t *testing.T) { s.limit(t, named(t, asking, l.Case), l) })
	}
}

// named is the case of that name, the first if it is empty.
func named(t *testing.T, cases []*providerCase, name string) *providerCase {
	t.Helper()
	for _, c := range cases {
		if name == "" || name == c.Name {
			return c
		}
	}
	t.Fatalf("there is no case %q that asks something", name)
	return nil
}

type providerSuite struct {
	kind    bellhop.Kind[bellhop.Provider]
	options ProviderOptions
}

// answerTo is the vendor's success answer to a request.
func (s *providerSuite) answerTo(body []byte) string {
	if s.options.AnswerTo != nil {
		return s.options.AnswerTo(body)
	}
	return s.options.Answer
}

// accepts is a vendor that takes everything.
func (s *providerSuite) accepts(a asked) *http.Response {
	return answered(200, nil, s.answerTo(a.body))
}

// providerCase is a case, read.
type providerCase struct {
	*Case
	settings []byte
	secret   map[string][]byte
	event    *bellhop.Event
	// asked is what the case's event made the provider ask.
	asked asked
}

func newProviderCase(t *testing.T, c *Case) *providerCase {
	t.Helper()
	pc := &providerCase{Case: c}
	pc.settings, _ = c.File("settings.yaml")
	for _, f := range c.archive.Files {
		if key, ok := strings.CutPrefix(f.Name, "secret/"); ok {
			if pc.secret == nil {
				pc.secret = map[string][]byte{}
			}
			pc.secret[key] = bytes.TrimSuffix(f.Data, []byte("\n"))
		}
	}
	if data, ok := c.File("event.json"); ok {
		pc.event = readEvent(t, data)
	}
	return pc
}

// readEvent reads an event's JSON; its body becomes Raw.
func readEvent(t *testing.T, data []byte) *bellhop.Event {
	t.Helper()
	var e struct {
		bellhop.Event
		Body json.RawMessage `json:"body"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		t.Fatalf("event.json: %v", err)
	}
	e.Raw = e.Body
	if text := ""; json.Unmarshal(e.Body, &text) == nil {
		e.Raw = []byte(text)
	}
	return &e.Event
}

// build makes the case's provider as the program does. What it logs goes to log.
func (s *providerSuite) build(t *testing.T, c *providerCase, client *http.Client, log io.Writer) (bellhop.Provider, bellhop.Problems) {
	t.Helper()
	const file = "settings.yaml"
	docs, problems := strict.Parse(file, c.settings)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var node *yaml.Node
	if len(docs) > 0 {
		node = docs[0]
	}
	setup := bellhop.Setup{Name: "team", Client: client, Expression: route.CompileExpression, Decode: func(into any) error {
		return strict.Decode(file, "", node, c.secret, into).Err()
	}}
	if log != nil {
		setup.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{
			Level: slog.LevelDebug,
			ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey && len(groups) == 0 {
					return slog.Attr{}
				}
				return a
			},
		}))
	}
	if s.options.Setup != nil {
		s.options.Setup(t, c.Case, &setup)
	}
	p, err := s.kind.Build(setup)
	problems = strict.Locate(file, "", node, bellhop.AsProblems(err))
	if problems.Err() == nil && p == nil {
		t.Fatal("built neither a provider nor a problem")
	}
	if c, ok := p.(io.Closer); ok {
		t.Cleanup(func() { _ = c.Close() })
	}
	return p, problems
}

// usable is build for a case known to be right.
func (s *providerSuite) usable(t *testing.T, c *providerCase, client *http.Client) bellhop.Provider {
	t.Helper()
	p, problems := s.build(t, c, client, nil)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return p
}

// runCase compares a case with its files, and reports whether it asked something of the vendor.
func (s *providerSuite) runCase(t *testing.T, c *providerCase) bool {
	t.Helper()
	rec := &recorder{answer: s.accepts}
	var log bytes.Buffer
	p, problems := s.build(t, c, rec.client(t), &log)
	if _, expected := c.File("problems"); expected || len(problems) > 0 {
		c.Golden(t, "problems", []byte(problems.Error()))
		c.hides(t, problems)
	}
	if problems.Err() != nil {
		if len(rec.all()) > 0 {
			t.Error("asked the vendor while its settings were only checked")
		}
		return false
	}
	if c.event == nil {
		t.Fatal("event.json is missing")
	}
	before := cloneEvent(c.event)
	if err := p.Send(t.Context(), c.event); err != nil {
		t.Fatalf("send: %v", err)
	}
	if !reflect.DeepEqual(before, c.event) {
		t.Error("send changed the event, which others are sent as well")
	}
	all := rec.all()
	if len(all) > 0 {
		c.asked = all[len(all)-1]
	}
	var text bytes.Buffer
	for i, a := range all {
		if i > 0 {
			text.WriteString("\n\n")
		}
		text.Write(a.golden())
	}
	if _, expected := c.File("request"); expected || text.Len() > 0 {
		c.Golden(t, "request", text.Bytes())
	}
	if stateful, ok := p.(bellhop.Stateful); ok {
		c.Golden(t, "state", stateText(stateful.State(c.event)))
	}
	if _, expected := c.File("log"); expected || log.Len() > 0 {
		c.Golden(t, "log", bytes.TrimSuffix(log.Bytes(), []byte("\n")))
		c.hides(t, errors.New(log.String()))
	}
	return len(all) > 0
}

func stateText(s bellhop.State) []byte {
	if s.Subject == "" {
		return nil
	}
	return fmt.Appendf(nil, "%s\n%s\n%s", s.Subject, s.Value, s.Time.UTC().Format(time.RFC3339Nano))
}

// hides fails the test if an error, printed in any way, shows a secret, or where in the vendor's house the
// message went.
func (c *providerCase) hides(t *testing.T, err error) {
	t.Helper()
	hidden := map[string]string{}
	for key, v := range c.secret {
		hidden["the Secret's "+key] = strings.TrimSpace(string(v))
	}
	if u := c.asked.url; u != nil {
		hidden["the URL's path"], hidden["the URL's query"] = u.Path, u.RawQuery
		if u.User != nil {
			hidden["the URL's user-info"] = u.User.String()
		}
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, text := range []string{e.Error(), fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e)} {
			for what, value := range hidden {
				if len(value) >= 4 && strings.Contains(text, value) {
					t.Errorf("%s is shown in %q", what, text)
				}
			}
			if strings.ContainsAny(e.Error(), "\r\x00") {
				t.Errorf("control characters in %q", text)
			}
		}
	}
}

// class is what an outcome means to the notifier.
func class(err error) string {
	if err == nil {
		return "accepted"
	}
	if _, ok := bellhop.RetryDelay(err); ok {
		return "paused"
	}
	switch {
	case bellhop.IsPermanent(err):
		return "permanent"
	case bellhop.IsStopping(err):
		return "stopping"
	}
	return "retried"
}

func (s *providerSuite) statuses(t *testing.T, c *providerCase) {
	t.Helper()
	wait := func(v string) http.Header { return http.Header{"Retry-After": {v}} }
	headers := []http.Header{nil, wait("7"), wait(time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)),
		wait("-3"), wait("99999999999999999999"), wait("soon")}
	var status int
	var header http.Header
	var body string
	p := s.usable(t, c, (&recorder{answer: func(asked) *http.Response { return answered(status, header, body) }}).client(t))
	for status = 100; status <= 599; status++ {
		some := headers
		if status != 429 && status != 503 {
			some = headers[:2]
		}
		for _, header = range some {
			for _, body = range []string{"", "it went \x1b[1mwrong\r\n" + strings.Repeat("é", 500)} {
				want := "permanent"
				switch {
				case status >= 200 && status <= 299:
					if want = "accepted"; !s.options.Accepts(status) {
						want = "an error"
					}
					body = s.answerTo(c.asked.body)
				case status == 429, header != nil && (status == 503 || slices.Contains(s.options.Pauses, status)):
					want = "paused"
				case status == 408, status == 425, status >= 500 && status != 501:
					want = "retried"
				}
				err := p.Send(t.Context(), c.event)
				if got := class(err); got != want && (want != "an error" || got == "accepted") {
					t.Errorf("status %d, Retry-After %q, body %.20q: %s (%v), want %s", status, header.Get("Retry-After"), body, got, err, want)
				}
				if d, ok := bellhop.RetryDelay(err); ok && (d < time.Second || d > time.Hour) {
					t.Errorf("status %d, Retry-After %q: pauses for %v, want between a second and an hour", status, header.Get("Retry-After"), d)
				}
				if err != nil {
					if !strings.Contains(err.Error(), strconv.Itoa(status)) {
						t.Errorf("status %d is not named in %q", status, err)
					}
					if n := utf8.RuneCountInString(err.Error()); n > 400 || strings.Contains(err.Error(), "\n") {
						t.Errorf("status %d: the error is no short line: %d characters", status, n)
					}
					c.hides(t, err)
				}
			}
		}
	}
}

// echo answers with everything that was sent, secrets included, as some gateways do.
func (s *providerSuite) echo(t *testing.T, c *providerCase) {
	t.Helper()
	for _, status := range []int{200, 400, 401, 404, 429, 500} {
		rec := &recorder{answer: func(a asked) *http.Response {
			var text strings.Builder
			fmt.Fprintf(&text, "%s %s ", a.method, a.url)
			_ = a.header.Write(&text)
			for _, key := range slices.Sorted(maps.Keys(c.secret)) {
				fmt.Fprintf(&text, " %s=%s", key, c.secret[key])
			}
			return answered(status, nil, text.String())
		}}
		err := s.usable(t, c, rec.client(t)).Send(t.Context(), c.event)
		if err == nil && status != 200 {
			t.Errorf("status %d with an echo is accepted", status)
		}
		if err != nil {
			c.hides(t, err)
		}
	}
}

func (s *providerSuite) sameBytes(t *testing.T, c *providerCase) {
	t.Helper()
	e := cloneEvent(c.event)
	if e.Metadata == nil {
		e.Metadata = map[string]string{}
	}
	for i := range 30 {
		e.Metadata["key-"+strconv.Itoa(i)] = "value"
	}
	var first []byte
	for range 3 {
		rec := &recorder{answer: s.accepts}
		p := s.usable(t, c, rec.client(t))
		for range 2 {
			if err := p.Send(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		for _, a := range rec.all() {
			if first == nil {
				first = a.raw()
			}
			if !bytes.Equal(first, a.raw()) {
				t.Fatalf("the same event made different bytes:\n%s\n---\n%s", first, a.raw())
			}
		}
	}
}

func (s *providerSuite) refused(t *testing.T, c *providerCase) {
	t.Helper()
	fake := httptest.NewServer(http.NotFoundHandler())
	fake.Close()
	err := s.usable(t, c, redirectTo(t, fake)).Send(t.Context(), c.event)
	if got := class(err); got != "retried" {
		t.Errorf("connection refused: %s (%v), want retried", got, err)
	}
	c.hides(t, err)
}

func (s *providerSuite) breaksOff(t *testing.T, c *providerCase) {
	t.Helper()
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"ok\":")
		_ = conn.Close()
	}))
	defer fake.Close()
	err := s.usable(t, c, redirectTo(t, fake)).Send(t.Context(), c.event)
	if got := class(err); got != "retried" {
		t.Errorf("half an answer: %s (%v), want retried", got, err)
	}
	c.hides(t, err)
}

func (s *providerSuite) cancelled(t *testing.T, c *providerCase) {
	t.Helper()
	// The answer begins and does not end until the test does.
	began := make(chan struct{})
	end := make(chan struct{})
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "{")
		_ = http.NewResponseController(w).Flush()
		close(began)
		<-end
	}))
	defer fake.Close()
	defer close(end)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := s.usable(t, c, redirectTo(t, fake))
	done := make(chan error, 1)
	go func() { done <- p.Send(ctx, c.event) }()
	<-began
	cancel()
	err := <-done
	if got := class(err); got != "stopping" {
		t.Errorf("cancelled while reading the answer: %s (%v), want stopping", got, err)
	}
	c.hides(t, err)
	if got := class(p.Send(ctx, c.event)); got != "stopping" {
		t.Errorf("cancelled before sending: %s, want stopping", got)
	}
}

func (s *providerSuite) oneConnection(t *testing.T, c *providerCase) {
	t.Helper()
	var conns, served atomic.Int64
	fake := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if served.Add(1)%10 == 0 {
			// A long answer that nobody wants must not cost the connection.
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, strings.Repeat("x", 100<<10))
			return
		}
		_, _ = io.WriteString(w, s.answerTo(body))
	}))
	fake.Config.ConnState = countNew(&conns)
	fake.Start()
	defer fake.Close()
	p := s.usable(t, c, redirectTo(t, fake))
	for range 100 {
		err := p.Send(t.Context(), c.event)
		if err != nil && class(err) != "retried" {
			t.Fatal(err)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("a hundred sends made %d connections, want 1: send with Setup.Client", n)
	}
}

func (s *providerSuite) redirects(t *testing.T, c *providerCase) {
	t.Helper()
	host := c.asked.url.Host
	elsewhere := "http://" + c.asked.url.Hostname() + ":8081/"
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{"https://elsewhere.example/", elsewhere, "//elsewhere.example/x"} {
			rec := &recorder{answer: func(a asked) *http.Response {
				if a.url.Host == host {
					return answered(status, http.Header{"Location": {to}}, "")
				}
				return s.accepts(a)
			}}
			err := s.usable(t, c, rec.client(t)).Send(t.Context(), c.event)
			if got := class(err); got != "permanent" {
				t.Errorf("%d to %s: %s (%v), want permanent", status, to, got, err)
			}
			for _, a := range rec.all() {
				if a.url.Host != host {
					t.Errorf("%d to %s was followed", status, to)
				}
			}
			c.hides(t, err)
		}
	}
}

// awkward are texts that break what is put together by hand.
var awkward = []string{
	"x", "<script>alert(1)</script>", `quote " and \ and '`, "line\nbreak\r\n\tand tab", "NUL \x00 and \x1b[31m",
	"\xff\xfe invalid \xc3", "e\u0301\u0327 combining", "👩‍👩‍👧‍👦 family 🏳️‍🌈", "مرحبا \u202e بالعالم", "日本語", "& < > | * _ ~ ` [a](b) ![c](d)",
	"{{ .Secret }} ${HOME} %s %d", "<!channel> <@U1> @here", "```\ncode fence never closed", "\u2028\u2029\ufeff",
}

func (s *providerSuite) anyEvent(t *testing.T, c *providerCase) {
	t.Helper()
	rec := &recorder{answer: s.accepts}
	p := s.usable(t, c, rec.client(t))
	rnd := rand.New(rand.NewPCG(1, 2))
	texts := append(slices.Clone(awkward), strings.Repeat("1 MB of 💥 ", 1<<20/13))
	for i := range 12 * len(bellhop.EventKinds) {
		e := randomEvent(rnd, texts[:len(awkward)])
		if i%50 == 49 {
			e = randomEvent(rnd, texts)
		}
		e.Raw = []byte(texts[i%len(awkward)])
		if i%2 == 0 {
			e.Raw = slices.Concat([]byte(`{"text":"`), bytes.Trim(e.Raw, "\"\\\r\n\t\x00\x1b"), []byte(`"}`))
		}
		e.Kind = bellhop.EventKinds[i%len(bellhop.EventKinds)]
		err := p.Send(t.Context(), e)
		if err != nil && (!s.options.Refuses || !bellhop.IsPermanent(err)) {
			t.Fatalf("an event of kind %s was not sent: %v", e.Kind, err)
		}
	}
	for _, a := range rec.all() {
		a.check(t)
	}
}

// randomEvent fills some of an event's fields, the body aside.
func randomEvent(rnd *rand.Rand, texts []string) *bellhop.Event {
	e := new(bellhop.Event)
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		if rnd.IntN(3) == 0 && v.Kind() != reflect.Struct {
			return
		}
		switch v.Kind() {
		case reflect.String:
			v.SetString(texts[rnd.IntN(len(texts))])
		case reflect.Int64:
			v.SetInt(rnd.Int64())
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[time.Time]() {
				v.Set(reflect.ValueOf(time.Unix(rnd.Int64N(1<<33), 0)))
				return
			}
			for _, field := range v.Fields() {
				fill(field)
			}
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem())
		case reflect.Slice:
			if v.Type().Elem().Kind() == reflect.Uint8 {
				return
			}
			n := rnd.IntN(15)
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fill(v.Index(i))
			}
		case reflect.Map:
			v.Set(reflect.MakeMap(v.Type()))
			for range rnd.IntN(15) {
				v.SetMapIndex(reflect.ValueOf(texts[rnd.IntN(len(texts))]), reflect.ValueOf(texts[rnd.IntN(len(texts))]))
			}
		}
	}
	fill(reflect.ValueOf(e).Elem())
	return e
}

func (s *providerSuite) limit(t *testing.T, c *providerCase, l Limit) {
	t.Helper()
	rec := &recorder{answer: s.accepts}
	p := s.usable(t, c, rec.client(t))
	send := func(text string) string {
		t.Helper()
		e := cloneEvent(c.event)
		l.Set(e, text)
		rec.forget()
		if err := p.Send(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		all := rec.all()
		if len(all) == 0 {
			t.Fatal("nothing was sent")
		}
		all[0].check(t)
		got := l.Get(all[0].body)
		if n := l.Unit.Len(got); n > l.Max {
			t.Errorf("%.20q x %d became %d %s, over the limit of %d", text, len(text), n, l.Unit, l.Max)
		}
		return got
	}
	for _, n := range []int{l.Max - 1, l.Max} {
		if got := send(strings.Repeat("x", n)); strings.Count(got, "x") < n && !l.Whole {
			t.Errorf("a text of %d was cut to %d though it fits", n, strings.Count(got, "x"))
		}
	}
	for _, n := range []int{l.Max + 1, l.Max * 10} {
		if got := send(strings.Repeat("x", n)); !strings.Contains(got, "…") {
			t.Errorf("a text of %d was cut without an ellipsis: %.40q", n, got)
		}
	}
	for _, text := range awkward {
		for _, size := range []int{l.Max, 1 << 20} {
			send(strings.Repeat(text, size/len(text)+1))
		}
	}
}

// cloneEvent copies what a provider might change.
func cloneEvent(e *bellhop.Event) *bellhop.Event {
	c := *e
	c.Metadata, c.Headers = maps.Clone(e.Metadata), maps.Clone(e.Headers)
	c.Fields, c.Raw = slices.Clone(e.Fields), bytes.Clone(e.Raw)
	if e.CommitStatus != nil {
		status := *e.CommitStatus
		c.CommitStatus = &status
	}
	return &c
}
