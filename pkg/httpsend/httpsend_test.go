package httpsend

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

var discard = log.New(io.Discard, "", 0)

type nothing struct{}

// build makes a provider of a Requester that does no more than f.
func build(t *testing.T, client *http.Client, f requesterFunc) bellhop.Provider {
	t.Helper()
	kind := Define("test", "a test", nothing{}, func(bellhop.Setup, nothing) (bellhop.Requester, error) { return f, nil })
	p, err := kind.Build(bellhop.Setup{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestUnmadeRequests(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		err  error
		want func(error) bool
	}{
		{"nothing to say", nil, func(err error) bool { return err == nil }},
		{"an error", errors.New("no such field"), bellhop.IsPermanent},
		{"a permanent error", bellhop.Permanent(errors.New("no such field")), bellhop.IsPermanent},
		{"a pause", bellhop.RetryAfter(time.Minute, errors.New("x")), func(err error) bool { d, ok := bellhop.RetryDelay(err); return ok && d == time.Minute }},
		{"stopping", context.Canceled, func(err error) bool { return bellhop.IsStopping(err) && !bellhop.IsPermanent(err) }},
	} {
		p := build(t, nil, func(context.Context, *bellhop.Event) (*http.Request, error) { return nil, tc.err })
		if err := p.Send(t.Context(), &bellhop.Event{}); !tc.want(err) {
			t.Errorf("%s: got %v", tc.name, err)
		}
	}
}

func TestDefineKeepsProblems(t *testing.T) {
	t.Parallel()
	requester := requesterFunc(func(context.Context, *bellhop.Event) (*http.Request, error) { return nil, nil })
	for _, tc := range []struct {
		name   string
		err    error
		usable bool
		count  int
	}{
		{"nothing wrong", bellhop.Problems(nil), true, 0},
		{"doubtful", bellhop.Problems{bellhop.Doubtful("a", "b")}, true, 1},
		{"wrong", bellhop.Problems{bellhop.Doubtful("a", "b"), bellhop.Wrong("c", "d")}, false, 2},
		{"one problem", bellhop.Wrong("c", "d"), false, 1},
	} {
		kind := Define("test", "a test", nothing{}, func(bellhop.Setup, nothing) (bellhop.Requester, error) { return requester, tc.err })
		p, err := kind.Build(bellhop.Setup{})
		if (p != nil) != tc.usable || len(bellhop.AsProblems(err)) != tc.count || (err != nil) != (tc.count > 0) {
			t.Errorf("%s: built %v, %v", tc.name, p, err)
		}
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := testClient(t, Options{})
		client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		err := build(t, client, postTo(&url.URL{Scheme: "https", Host: "vendor.example", Path: "/token"})).Send(ctx, &bellhop.Event{})
		if !errors.Is(err, context.DeadlineExceeded) || bellhop.IsStopping(err) || bellhop.IsPermanent(err) {
			t.Errorf("a deadline became %v", err)
		}

		stop, cause := context.WithCancelCause(t.Context())
		cause(bellhop.ErrStopping)
		err = build(t, client, postTo(&url.URL{Scheme: "https", Host: "vendor.example"})).Send(stop, &bellhop.Event{})
		if !bellhop.IsStopping(err) {
			t.Errorf("stopping became %v", err)
		}
	})
}

func TestCancelledElsewhereIsAFailure(t *testing.T) {
	t.Parallel()
	client := testClient(t, Options{})
	client.Transport = roundTrip(func(*http.Request) (*http.Response, error) { return nil, context.Canceled })
	err := build(t, client, postTo(&url.URL{Scheme: "https", Host: "vendor.example"})).Send(t.Context(), &bellhop.Event{})
	if err == nil || bellhop.IsStopping(err) {
		t.Errorf("got %v, want a failure: this attempt was not cancelled", err)
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
		for value, want := range map[string]time.Duration{
			"": 30 * time.Second, "7": 7 * time.Second, " 7 ": 7 * time.Second, "1.5": 1500 * time.Millisecond,
			"0": time.Second, "-9": time.Second, "86400": time.Hour, "1e300": time.Hour, "NaN": 30 * time.Second, "soon": 30 * time.Second,
			date(2 * time.Minute): 2 * time.Minute, date(-time.Hour): time.Second, date(48 * time.Hour): time.Hour,
		} {
			resp := &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {value}}}
			if got := Pause(resp); got != want {
				t.Errorf("Retry-After %q pauses for %v, want %v", value, got, want)
			}
		}
	})
}

func TestAnswersAreQuoted(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status            int
		contentType, body string
		want              string
	}{
		{404, "text/plain", "no_service", "answered 404 Not Found: no_service"},
		{400, "application/json", "{\n  \"error\":\t\"bad\x00\x1b[31m\"\r\n}\n", `answered 400 Bad Request: { "error": "bad [31m" }`},
		{502, "text/html; charset=utf-8", "<html><body>" + strings.Repeat("x", 1000), "answered 502 Bad Gateway: an HTML page"},
		{599, "", "", "answered 599"},
		{500, "text/plain", "a\u202eb\xff", "answered 500 Internal Server Error: a b\uFFFD"},
	} {
		resp := &http.Response{StatusCode: tc.status, Header: http.Header{"Content-Type": {tc.contentType}}}
		if got := Answered(resp, []byte(tc.body)).Error(); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}

type settings struct {
	Address bellhop.Secret            `yaml:"address" secret:"address"`
	Plain   string                    `yaml:"plain" secret:"plain"`
	Name    string                    `yaml:"name"`
	Headers map[string]bellhop.Secret `secret:"headers"`
	Nested  []struct{ Key *bellhop.Secret }
}

func TestSecretsAreMasked(t *testing.T) {
	t.Parallel()
	secret := func(s string) bellhop.Secret { return bellhop.NewSecret([]byte(s)) }
	key := secret("nested-key\n")
	s := settings{
		Address: secret("https://user:pass-word@vendor.example/hooks/T0/a-long-token-in-a-path?sig=s1gnature"),
		Plain:   "plain-secret", Name: "visible", Headers: map[string]bellhop.Secret{"X-Key": secret("header/secret \"x\"")},
		Nested: []struct{ Key *bellhop.Secret }{{&key}},
	}
	hidden := []string{
		"user:pass-word", "pass-word", "/hooks/T0/a-long-token-in-a-path", "a-long-token-in-a-path", "s1gnature", "plain-secret",
		"header/secret \"x\"", `header/secret \"x\"`, "header%2Fsecret+%22x%22", "nested-key", "request-token", "basic-password",
		base64.StdEncoding.EncodeToString([]byte("me:basic-password")),
	}
	client := testClient(t, Options{})
	client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		body := "visible " + strings.Join(hidden, ", ")
		return &http.Response{StatusCode: http.StatusBadRequest, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	})
	kind := Define("test", "a test", s, func(_ bellhop.Setup, s settings) (bellhop.Requester, error) {
		return requesterFunc(func(ctx context.Context, _ *bellhop.Event) (*http.Request, error) {
			u, err := url.Parse(s.Address.RevealString())
			if err != nil {
				return nil, err
			}
			req, err := PostJSON(ctx, u, nil)
			req.Header.Set("X-Token", "request-token")
			req.SetBasicAuth("me", "basic-password")
			return req, err
		}), nil
	})
	p, err := kind.Build(bellhop.Setup{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	err = p.Send(t.Context(), &bellhop.Event{})
	if !bellhop.IsPermanent(err) || !strings.HasPrefix(err.Error(), "sending to https://vendor.example: answered 400 Bad Request: visible <secret>") {
		t.Errorf("got %v", err)
	}
	for ; err != nil; err = errors.Unwrap(err) {
		for _, h := range hidden {
			if strings.Contains(err.Error(), h) {
				t.Errorf("%q is shown in %q", h, err)
			}
		}
	}
}

func TestMaskKeepsWords(t *testing.T) {
	t.Parallel()
	m := &mask{words: []string{"", "a", "abc", "abcd"}}
	if got := m.text("a abc abcd abcde"); got != "a abc <secret> <secret>e" {
		t.Errorf("got %q", got)
	}
	// What is cut is cut after masking: no half of a secret is left at the end.
	long := strings.Repeat("x", maxQuoted-4) + "abcdefgh"
	if got := (&mask{words: []string{"abcdefgh"}}).text(long); strings.Contains(got, "ab") {
		t.Errorf("got %q", got)
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in       string
		ok       bool
		problems int
	}{
		{"https://example.com/hunter22", true, 0},
		{"https://example.com/hunter22\n", true, 0},
		{"http://localhost:3030/hunter22", true, 0},
		{"http://127.0.0.1/hunter22", true, 0},
		{"http://[::1]/hunter22", true, 0},
		{"http://example.com/hunter22", true, 1},
		{"", false, 1},
		{" \n", false, 1},
		{"hunter22", false, 1},
		{"ftp://hunter22", false, 1},
		{"https:///hunter22", false, 1},
		{"https://exa mple/hunter22", false, 1},
		{"https://example.com:port/hunter22", false, 1},
		{"http://169.254.169.254/hunter22", false, 1},
		{"http://[::ffff:a9fe:a9fe]/hunter22", false, 1},
		{"http://[fe80::1%25eth0]/hunter22", false, 1},
	} {
		u, ps := Address("address", bellhop.NewSecret([]byte(tc.in)))
		if (u != nil) != tc.ok || len(ps) != tc.problems || (ps.Err() == nil) != tc.ok {
			t.Errorf("%q: %v, %v", tc.in, u, ps)
		}
		if strings.Contains(ps.Error(), "hunter22") {
			t.Errorf("%q is shown: %v", tc.in, ps)
		}
	}
}

func TestHalfAnAnswerTells(t *testing.T) {
	t.Parallel()
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "half")
	}))
	t.Cleanup(fake.Close)
	err := errorOf(t, testClient(t, Options{}), fake.URL)
	if err == nil || bellhop.IsPermanent(err) || !strings.Contains(err.Error(), "answered 200, then broke off") {
		t.Errorf("got %v", err)
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in    string
		limit int
		unit  Unit
		want  string
	}{
		{"", 0, Runes, ""},
		{"abc", 3, Runes, "abc"},
		{"abcd", 3, Runes, "ab…"},
		{"abcd", 1, Runes, ""},
		{"ab cd", 4, Runes, "ab…"},
		{"abcdef", 5, Bytes, "ab…"},
		{"ééé", 6, Bytes, "ééé"},
		{"éééé", 7, Bytes, "éé…"},
		{"💥💥", 4, UTF16, "💥💥"},
		{"💥💥💥", 5, UTF16, "💥💥…"},
		{"💥💥💥", 4, UTF16, "💥…"},
		{"💥💥💥", 3, Runes, "💥💥💥"},
		{"abe\u0301f", 4, Runes, "ab…"},
		{"a👩\u200d👩\u200d👧b", 5, Runes, "a…"},
		{"a👍🏽bc", 3, Runes, "a…"},
		{"a\xffb", 3, Runes, "a\uFFFDb"},
		{"a" + strings.Repeat("\u0301", 50), 40, Runes, "a" + strings.Repeat("\u0301", 38) + "…"},
	} {
		if got := Cut(tc.in, tc.limit, tc.unit); got != tc.want {
			t.Errorf("%q cut at %d %s is %q, want %q", tc.in, tc.limit, tc.unit, got, tc.want)
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add("abe\u0301👩\u200d👩 \xff", 4, 1)
	f.Fuzz(func(t *testing.T, s string, limit, unit int) {
		u := Unit(max(unit, 0) % 3)
		got := Cut(s, limit, u)
		if limit >= 0 && u.Len(got) > limit || !utf8.ValidString(got) {
			t.Errorf("%q cut at %d %s is %q", s, limit, u, got)
		}
	})
}

// What people read arrives cut down rather than not at all; other messages are not sent twice.
func TestRefusedMessagesAreCutDown(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		people   bool
		whole    int // the status of the whole message
		small    int // of the one that is cut down
		requests int
		want     string
	}{
		{"taken", true, 200, 0, 1, "sent"},
		{"too large", true, 413, 200, 2, "sent"},
		{"malformed", true, 400, 200, 2, "sent"},
		{"invalid", true, 422, 200, 2, "sent"},
		{"never", true, 400, 400, 2, "permanent"},
		{"gone", true, 404, 0, 1, "permanent"},
		{"down", true, 500, 0, 1, "retried"},
		{"then down", true, 400, 500, 2, "retried"},
		{"then too many", true, 400, 429, 2, "retried"},
		{"for machines", false, 413, 0, 1, "permanent"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var bodies []string
			fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				bodies = append(bodies, string(b))
				mu.Unlock()
				if strings.Contains(string(b), "long") {
					w.WriteHeader(tc.whole)
				} else {
					w.WriteHeader(tc.small)
				}
			}))
			t.Cleanup(fake.Close)
			u, err := url.Parse(fake.URL)
			if err != nil {
				t.Fatal(err)
			}
			kind := Define("chat", "", struct{}{}, func(bellhop.Setup, struct{}) (bellhop.Requester, error) {
				return requesterFunc(func(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
					return PostJSON(ctx, u, map[string]any{"title": e.Title, "message": e.Message, "facts": e.Facts(), "link": e.Link})
				}), nil
			}, bellhop.ProviderTraits{ForPeople: tc.people})
			p, err := kind.Build(bellhop.Setup{Client: testClient(t, Options{})})
			if err != nil {
				t.Fatal(err)
			}
			e := &bellhop.Event{ID: "01J", Title: "build failed", Message: "a long story", Link: "https://ci.example/1", Actor: "jane"}
			got := "sent"
			if err := p.Send(t.Context(), e); bellhop.IsPermanent(err) {
				got = "permanent"
			} else if err != nil {
				got = "retried"
			}
			if got != tc.want {
				t.Errorf("it is %s, want %s", got, tc.want)
			}
			if len(bodies) != tc.requests {
				t.Fatalf("%d requests: %q", len(bodies), bodies)
			}
			if last := bodies[len(bodies)-1]; tc.requests == 2 && (strings.Contains(last, "long") || strings.Contains(last, "jane") ||
				!strings.Contains(last, "build failed") || !strings.Contains(last, "https://ci.example/1") || !strings.Contains(last, "01J")) {
				t.Errorf("cut down to %s", last)
			}
			if e.Message != "a long story" {
				t.Error("the event was changed")
			}
		})
	}
}
