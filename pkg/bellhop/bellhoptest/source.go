package bellhoptest

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/route"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// RunSource runs the conformance suite of sources over testdata/*.txtar. A case holds
//
//	key, key2, …   the endpoint's keys; there is one when the case names none
//	settings.yaml  the endpoint's settings, if any
//	request        header lines, a blank line, the body
//
// and what must come of it: events.json (the events that Parse makes, byte for byte), rejected (the reason
// of Verify), pong (nothing: Verify says that it is an unsigned ping), malformed (a part of Parse's error; the
// request is authentic), or problems (what is wrong with the settings; warnings may stand
// beside what comes of a request). Options in the comment:
//
//	sign: true     sign the request as the kind's Sign does, with the first key
//	time: …        when the request came, RFC 3339; else the request's own timestamp, else a fixed time
//	lenient: true  build with Setup.Lenient
//	bound: true    the headers say what the body has to be, so that Parse may refuse a changed one
//	token: {…}     carry a token of an OIDC issuer with these claims, in JSON; the issuer goes by any name.
//	               Unless the claims say otherwise it was issued a minute ago, for an hour
//	token-key: …   other: sign that with a key that is not the issuer's
//
// From every accepted case the suite derives requests that must be refused, and bodies that must not break
// Parse.
func RunSource(t *testing.T, kind bellhop.Kind[bellhop.Source]) {
	t.Helper()
	t.Run("empty key", func(t *testing.T) { t.Parallel(); emptyKeys(t, kind) })
	for _, c := range Cases(t) {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			runSourceCase(t, kind, newSourceCase(t, kind, c))
		})
	}
}

var (
	testKey   = []byte("a key that only the tests know")
	otherKey  = []byte("another key that nobody was given")
	otherWhs  = []byte("whsec_YW5vdGhlciBrZXkgdGhhdCBub2JvZHkgd2FzIGdpdmVu")
	testTime  = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	testPeer  = netip.MustParseAddr("192.0.2.1")
	tolerance = 5 * time.Minute // of Standard Webhooks
)

// sourceCase is a Case made ready.
type sourceCase struct {
	*Case
	setup   bellhop.Setup
	request *bellhop.Request
	signed  []string // the headers that Sign set
	token   bool     // of an OIDC issuer
}

func newSourceCase(t testing.TB, kind bellhop.Kind[bellhop.Source], c *Case) *sourceCase {
	t.Helper()
	sc := &sourceCase{Case: c}
	sc.setup = sourceSetup("test", suiteKey())
	sc.setup.Lenient = c.Option("lenient") == "true"
	settings, _ := c.File("settings.yaml")
	sc.setup.Decode = decodeSettings(settings, nil)
	for i := 1; ; i++ {
		name := "key"
		if i > 1 {
			name += strconv.Itoa(i)
		}
		key, ok := c.File(name)
		if !ok {
			break
		}
		sc.setup.Keys = append(sc.setup.Keys, bellhop.NewSecret(key))
	}
	if len(sc.setup.Keys) == 0 {
		sc.setup.Keys = []bellhop.Secret{bellhop.NewSecret(testKey)}
	}
	raw, ok := c.File("request")
	if !ok {
		return sc
	}
	sc.request = parseRequest(t, raw)
	if c.Option("sign") == "true" {
		sc.signed = signRequest(kind, sc.setup.Keys[0], sc.request)
	}
	sc.request.Time = requestTime(t, c.Option("time"), sc.request)
	if claims := c.Option("token"); claims != "" {
		key := suiteKey()
		if c.Option("token-key") == "other" {
			key = strangersKey()
		}
		token, err := caseToken(key, claims, sc.request.Time)
		if err != nil {
			t.Fatalf("token: %v", err)
		}
		sc.request.Header.Set("Authorization", "Bearer "+token)
		sc.token = true
	}
	return sc
}

// sourceSetup is what a source is built from, with an issuer that signs with issuerKey and goes by any name.
func sourceSetup(name string, issuerKey IssuerKey, keys ...[]byte) bellhop.Setup {
	s := bellhop.Setup{
		Name: name, Expression: route.CompileExpression,
		Issuers: verify.NewIssuers(InMemory(NewIssuer(issuerKey)), nil),
	}
	for _, k := range keys {
		s.Keys = append(s.Keys, bellhop.NewSecret(k))
	}
	return s
}

// parseRequest reads header lines, a blank line and the body.
func parseRequest(t testing.TB, raw []byte) *bellhop.Request {
	t.Helper()
	head, body, ok := bytes.Cut(append([]byte("\n"), raw...), []byte("\n\n"))
	if !ok {
		t.Fatal("request: no blank line between headers and body")
	}
	r := &bellhop.Request{Header: http.Header{}, Body: body, Remote: testPeer}
	for line := range strings.Lines(string(head)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			t.Fatalf("request: header line without a colon: %q", line)
		}
		r.Header.Add(name, strings.TrimSpace(value))
	}
	return r
}

// signRequest signs r as the kind does and says which headers that set.
func signRequest(kind bellhop.Kind[bellhop.Source], key bellhop.Secret, r *bellhop.Request) (set []string) {
	if kind.Source.Sign == nil {
		return nil
	}
	before := r.Header.Clone()
	kind.Source.Sign(key, r.Header, r.Body)
	for name, values := range r.Header {
		if !slices.Equal(before[name], values) {
			set = append(set, name)
		}
	}
	slices.Sort(set)
	return set
}

// requestTime is when the request came: as told, else by the sender's own clock if a signed timestamp is
// there, else a fixed time.
func requestTime(t testing.TB, told string, r *bellhop.Request) time.Time {
	t.Helper()
	if told != "" {
		at, err := time.Parse(time.RFC3339, told)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	if at, err := strconv.ParseInt(r.Header.Get("Webhook-Timestamp"), 10, 64); err == nil {
		return time.Unix(at, 0).UTC()
	}
	return testTime
}

func runSourceCase(t *testing.T, kind bellhop.Kind[bellhop.Source], c *sourceCase) {
	t.Helper()
	source, err := kind.Build(c.setup)
	fatal := bellhop.AsProblems(err).Err()
	if _, ok := c.File("problems"); ok {
		if err == nil {
			t.Fatal("the settings are accepted")
		}
		noSecret(t, c.setup.Keys, err)
		c.Golden(t, "problems", []byte(err.Error()))
		if fatal != nil || c.request == nil {
			return
		}
	}
	if fatal != nil {
		t.Fatalf("building the source: %v", err)
	}
	if c.request == nil {
		t.Fatal("a case holds a request or problems")
	}
	err = source.Verify(t.Context(), c.request)
	if want, ok := c.File("rejected"); ok {
		if got := mustReject(t, c.setup.Keys, err); got != string(want) {
			t.Errorf("rejected with %q, want %q: %v", got, want, err)
		}
		return
	}
	if _, ok := c.File("pong"); ok {
		if !errors.Is(err, bellhop.ErrPing) {
			t.Errorf("verifying: error %v, want bellhop.ErrPing", err)
		}
		return
	}
	if err != nil {
		t.Fatalf("verifying: %v", err)
	}
	events, err := source.Parse(c.request)
	if want, ok := c.File("malformed"); ok {
		if err == nil || !strings.Contains(err.Error(), string(want)) {
			t.Errorf("parsing: error %v, want one with %q", err, want)
		}
		noSecret(t, c.setup.Keys, err)
		return
	}
	if err != nil {
		t.Fatalf("parsing: %v", err)
	}
	wellFormed(t, events)
	c.Golden(t, "events.json", eventsJSON(t, events))

	t.Run("forged", func(t *testing.T) { t.Parallel(); forgeries(t, kind, source, c) })
	t.Run("mutated", func(t *testing.T) { t.Parallel(); mutations(t, source, c) })
}

// mustReject says the reason of a rejection; anything else is an error.
func mustReject(t testing.TB, keys []bellhop.Secret, err error) string {
	t.Helper()
	rejection, ok := errors.AsType[*bellhop.Rejection](err)
	if !ok {
		t.Errorf("not rejected: error is %v", err)
		return ""
	}
	if rejection.Reason == "" || rejection.Detail == "" {
		t.Errorf("rejected without a reason or a detail: %v", err)
	}
	noSecret(t, keys, err)
	return rejection.Reason
}

// noSecret reports errors that hold a key.
func noSecret(t testing.TB, keys []bellhop.Secret, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, k := range keys {
		if s := k.RevealString(); len(s) > 3 && strings.Contains(err.Error(), s) {
			t.Error("an error holds the key; not shown here")
		}
	}
}

// wellFormed checks what every event of every source has.
func wellFormed(t testing.TB, events []bellhop.Event) {
	t.Helper()
	for _, e := range events {
		switch {
		case !slices.Contains(bellhop.EventKinds, e.Kind):
			t.Errorf("kind %q is none of bellhop.EventKinds", e.Kind)
		case e.Title == "" || e.Message == "" || e.Reason == "":
			t.Errorf("an event without title, message or reason: %q, %q, %q", e.Title, e.Message, e.Reason)
		case strings.ContainsAny(e.Title, "\r\n\t\x00"):
			t.Errorf("title %q is not one line of plain text", e.Title)
		case strings.ContainsFunc(e.Reason, func(r rune) bool { return r == ' ' || r == '_' || r == '-' }):
			t.Errorf("reason %q is not CamelCase", e.Reason)
		case e.Severity != bellhop.Info && e.Severity != bellhop.Error:
			t.Errorf("severity %q", e.Severity)
		case e.ID != "" || !e.Time.IsZero() || e.Endpoint != "" || e.Source != "" || e.Headers != nil || e.Raw != nil:
			t.Error("a source fills nothing that the receiver fills")
		}
		for _, link := range []string{e.Link, e.Repo.WebURL, e.PullRequest.URL} {
			web := strings.HasPrefix(link, "https://") || strings.HasPrefix(link, "http://")
			if link != "" && (!web || strings.ContainsAny(link, " \r\n\t\x00<>")) {
				t.Errorf("link %q is no web address", link)
			}
		}
	}
}

// eventsJSON is the events without what the receiver fills in, to be read by people.
func eventsJSON(t testing.TB, events []bellhop.Event) []byte {
	t.Helper()
	type parsed struct {
		ID       *struct{} `json:"id,omitempty"`
		Time     *struct{} `json:"time,omitempty"`
		Endpoint *struct{} `json:"endpoint,omitempty"`
		Source   *struct{} `json:"source,omitempty"`
		bellhop.Event
	}
	list := make([]parsed, len(events))
	for i, e := range events {
		list[i].Event = e
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(list); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func emptyKeys(t *testing.T, kind bellhop.Kind[bellhop.Source]) {
	for _, key := range []string{"", "\n", " \r\n"} {
		setup := sourceSetup("test", suiteKey(), []byte(key))
		source, err := build(kind, setup)
		if err != nil || verification(kind, source) == bellhop.ByPath {
			continue // who knows the path is believed; that the key behind it is not empty is for who makes the path
		}
		r := &bellhop.Request{Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte("{}"), Remote: testPeer, Time: testTime}
		mustReject(t, nil, source.Verify(t.Context(), r))
		signRequest(kind, setup.Keys[0], r)
		mustReject(t, nil, source.Verify(t.Context(), r))
	}
}

// forgeries derives from an accepted request what must be refused.
func forgeries(t *testing.T, kind bellhop.Kind[bellhop.Source], source bellhop.Source, c *sourceCase) {
	keys := c.setup.Keys
	refused := func(what string, r *bellhop.Request) {
		t.Helper()
		if err := source.Verify(t.Context(), r); err == nil {
			t.Errorf("%s: believed", what)
		} else if !errors.Is(err, bellhop.ErrPing) { // which is believed in nothing
			mustReject(t, keys, err)
		}
	}
	believed := func(r *bellhop.Request) bool { return source.Verify(t.Context(), r) == nil }

	bare := clone(c.request)
	bare.Header = http.Header{}
	if verification(kind, source) == bellhop.ByPath || c.setup.Lenient && believed(bare) {
		return
	}
	refused("no headers at all", bare)

	// The headers that matter are those that Sign sets and those without which the request is refused.
	matter := slices.Clone(c.signed)
	for name := range c.request.Header {
		r := clone(c.request)
		r.Header.Del(name)
		if slices.Contains(c.signed, name) {
			refused("without "+name, r)
		} else if !believed(r) {
			matter = append(matter, name)
		}
	}
	if len(matter) == 0 {
		t.Error("no header matters to Verify")
	}
	slices.Sort(matter)
	for _, name := range matter {
		for i := range c.request.Header.Get(name) {
			r := clone(c.request)
			r.Header.Set(name, flip(c.request.Header.Get(name), i))
			refused(name+" with byte "+strconv.Itoa(i)+" changed", r)
		}
		r := clone(c.request)
		v := r.Header.Get(name)
		r.Header.Set(name, v[:len(v)-1])
		refused(name+" cut by a byte", r)
		r.Header.Set(name, v+"0")
		refused(name+" with a byte more", r)
		r.Header.Set(name, "")
		refused(name+" empty", r)
	}

	// Tokens sign nothing; but a scheme that signs the body signs all of it.
	if signsBody := !believed(withBody(c.request, append([]byte("x"), c.request.Body...))); signsBody {
		body := c.request.Body
		for i := 0; i < len(body); i += max(1, len(body)/512) {
			refused("body with byte "+strconv.Itoa(i)+" changed", withBody(c.request, []byte(flip(string(body), i))))
		}
		if len(body) > 0 {
			refused("body cut by a byte", withBody(c.request, body[:len(body)-1]))
			refused("empty body", withBody(c.request, nil))
		}
		refused("body with a byte more", withBody(c.request, append(bytes.Clone(body), '\n')))
	} else if verification(kind, source) == bellhop.BySignature {
		t.Error("the signature does not cover the body")
	}

	for _, name := range matter {
		if strings.HasSuffix(name, "Timestamp") {
			for _, beyond := range []time.Duration{-time.Second, time.Second} {
				r := clone(c.request)
				off := tolerance
				if beyond < 0 {
					off = -tolerance
				}
				if r.Time = c.request.Time.Add(off); !believed(r) {
					t.Errorf("refused %v off, at the edge of the tolerance", off)
				}
				r.Time = r.Time.Add(beyond)
				refused("stale by a second", r)
			}
		}
	}

	if c.token { // which the issuer's key signs, and not the endpoint's
		setup := c.setup
		setup.Issuers = sourceSetup("test", strangersKey()).Issuers
		other, err := build(kind, setup)
		if err != nil {
			t.Fatal(err)
		}
		mustReject(t, keys, other.Verify(t.Context(), clone(c.request)))
		return
	}

	// Other keys: refused alone, harmless beside the right ones.
	strangers := []bellhop.Secret{bellhop.NewSecret(otherWhs)}
	if _, err := build(kind, withKeys(c.setup, []bellhop.Secret{bellhop.NewSecret(otherKey)})); err == nil {
		strangers = append(strangers, bellhop.NewSecret(otherKey))
	}
	for _, stranger := range strangers {
		other, err := build(kind, withKeys(c.setup, []bellhop.Secret{stranger}))
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Verify(t.Context(), clone(c.request)); err == nil {
			t.Error("wrong key: believed")
		} else {
			mustReject(t, append(slices.Clone(keys), stranger), err)
		}
	}
	rotating, err := build(kind, withKeys(c.setup, append(slices.Clone(strangers), keys...)))
	if err != nil {
		t.Fatal(err)
	}
	if err := rotating.Verify(t.Context(), clone(c.request)); err != nil {
		t.Errorf("refused by an endpoint with more keys: %v", err)
	}
	if len(c.signed) > 0 {
		r := clone(c.request)
		for _, name := range c.signed {
			r.Header.Del(name)
		}
		signRequest(kind, bellhop.NewSecret(nil), r)
		refused("signed with the empty key", r)
	}
}

// build makes the source of settings that may be doubtful.
func build(kind bellhop.Kind[bellhop.Source], setup bellhop.Setup) (bellhop.Source, error) {
	source, err := kind.Build(setup)
	return source, bellhop.AsProblems(err).Err()
}

// verification is what the source's requests are known by.
func verification(kind bellhop.Kind[bellhop.Source], source bellhop.Source) bellhop.Verification {
	if v, ok := source.(bellhop.Verified); ok {
		return v.Verification()
	}
	return kind.Source.Verification
}

// flip changes the byte at i of s into another.
func flip(s string, i int) string { return s[:i] + string([]byte{s[i] ^ 1}) + s[i+1:] }

func clone(r *bellhop.Request) *bellhop.Request {
	c := *r
	c.Header, c.Body = r.Header.Clone(), bytes.Clone(r.Body)
	return &c
}

func withBody(r *bellhop.Request, body []byte) *bellhop.Request {
	c := clone(r)
	c.Body = body
	return c
}

func withKeys(s bellhop.Setup, keys []bellhop.Secret) bellhop.Setup {
	s.Keys = keys
	return s
}

// mutations derives from the body of a request what Parse must live with: all of it is JSON, so all of it is
// understood or an event of kind other.
func mutations(t *testing.T, source bellhop.Source, c *sourceCase) {
	payload := c.request.Body
	form := strings.HasPrefix(c.request.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
	if form {
		payload = bellhop.FormPayload(payload)
	}
	var tree any
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber()
	if dec.Decode(&tree) != nil {
		return
	}
	parse := func(what string, body []byte) {
		t.Helper()
		if form {
			body = formBody(body)
		}
		events, err := source.Parse(withBody(c.request, body))
		if err != nil && c.Option("bound") != "true" {
			t.Errorf("%s: %v", what, err)
		}
		noSecret(t, c.setup.Keys, err)
		wellFormed(t, events)
		if t.Failed() {
			t.Fatalf("%s: the body was\n%s", what, body)
		}
	}
	eachMutant(t, tree, func(body []byte) { parse("mutated", body) })
	for _, whole := range []string{"null", "true", "0", `""`, "[]", "{}", "[[{}]]", `{"a":1,"a":2}`, "{\"\xff\":\"\xff\"}", strings.Repeat("[", 5000) + strings.Repeat("]", 5000)} {
		parse("another document", []byte(whole))
	}
	if mediaType, _, _ := strings.Cut(c.request.Header.Get("Content-Type"), ";"); mediaType == "application/json" {
		for _, broken := range [][]byte{payload[:len(payload)-1], append(bytes.Clone(payload), '}'), {}, []byte(strings.Repeat("[", 1_000_000))} {
			events, err := source.Parse(withBody(c.request, broken))
			if err == nil {
				t.Errorf("a body that is not JSON: no error, %d events", len(events))
			}
			noSecret(t, c.setup.Keys, err)
		}
	}
}

// oddities are what a mutant has where the sender's value was.
var oddities = []any{
	nil, true, "a \x00 string\nof two lines", "", -1, 0.5, json.Number("1e999"), json.Number("99999999999999999999"),
	[]any{}, map[string]any{}, []any{nil}, []any{map[string]any{}}, map[string]any{"": nil},
}

// maxMutants bounds the mutants of one body; of more, so many are drawn, the same at every run.
const maxMutants = 1000

// eachMutant yields the JSON of tree with one value left out or replaced by an oddity.
func eachMutant(t testing.TB, tree any, yield func([]byte)) {
	draw := rand.New(rand.NewPCG(1, 2))
	odds := float64(maxMutants) / float64(places(tree)*(len(oddities)+1))
	emit := func() {
		if draw.Float64() > odds {
			return
		}
		body, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		yield(body)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				old := v[k]
				walk(old)
				for _, odd := range oddities {
					v[k] = odd
					emit()
				}
				delete(v, k)
				emit()
				v[k] = old
			}
		case []any:
			for i, old := range v {
				walk(old)
				for _, odd := range oddities {
					v[i] = odd
					emit()
				}
				v[i] = old
			}
		}
	}
	walk(tree)
}

// places counts the values in a tree of JSON.
func places(v any) int {
	n := 1
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			n += places(e)
		}
	case []any:
		for _, e := range v {
			n += places(e)
		}
	}
	return n
}

func formBody(payload []byte) []byte {
	return []byte(url.Values{"payload": {string(payload)}}.Encode())
}
