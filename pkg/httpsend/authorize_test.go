package httpsend

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// authorizing is a Requester whose credentials are fetched.
type authorizing struct {
	requesterFunc
	authorize func(ctx context.Context, req *http.Request, exchange Exchange) error
	refused   func(req *http.Request) bool
}

func (a authorizing) Authorize(ctx context.Context, req *http.Request, exchange Exchange) error {
	return a.authorize(ctx, req, exchange)
}

func (a authorizing) Refused(req *http.Request) bool { return a.refused(req) }

func authorizer(t *testing.T, vendor roundTrip, a authorizing) bellhop.Provider {
	t.Helper()
	client := testClient(t, Options{})
	client.Transport = vendor
	a.requesterFunc = postTo(&url.URL{Scheme: "https", Host: "vendor.example", Path: "/messages"})
	kind := Define("test", "a test", nothing{}, func(bellhop.Setup, nothing) (bellhop.Requester, error) { return a, nil })
	p, err := kind.Build(bellhop.Setup{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func reply(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func tokenRequest(t *testing.T) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://vendor.example/token", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer proof-of-identity")
	return req
}

// TestAuthorizeOnceMore holds that a refused credential is fetched anew once, and that the message is whole again.
func TestAuthorizeOnceMore(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		refusals int
		worth    bool
		tries    int
		ok       bool
	}{
		{"never refused", 0, true, 1, true},
		{"refused once", 1, true, 2, true},
		{"refused twice", 2, true, 2, false},
		{"refused, and not worth it", 1, false, 1, false},
	} {
		var tries, fetched int
		var bodies []string
		p := authorizer(t, func(r *http.Request) (*http.Response, error) {
			tries++
			body, err := io.ReadAll(r.Body)
			bodies = append(bodies, string(body))
			if tries <= tc.refusals {
				return reply(401, "no: "+r.Header.Get("Authorization")), err
			}
			return reply(200, "ok"), err
		}, authorizing{
			authorize: func(_ context.Context, req *http.Request, _ Exchange) error {
				fetched++
				req.Header.Set("Authorization", "Bearer fetched-token")
				return nil
			},
			refused: func(req *http.Request) bool {
				return tc.worth && req.Header.Get("Authorization") == "Bearer fetched-token"
			},
		})
		err := p.Send(t.Context(), &bellhop.Event{})
		if (err == nil) != tc.ok || tries != tc.tries || fetched != tc.tries {
			t.Errorf("%s: %v after %d tries and %d fetches, want %d", tc.name, err, tries, fetched, tc.tries)
		}
		for _, body := range bodies {
			if body == "" || body != bodies[0] {
				t.Errorf("%s: sent %q", tc.name, bodies)
			}
		}
		if err != nil && (!bellhop.IsPermanent(err) || strings.Contains(err.Error(), "fetched-token")) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// TestAuthorizeFails holds what becomes of an error of fetching: its class stays, what is secret does not, and
// nothing is sent without credentials.
func TestAuthorizeFails(t *testing.T) {
	t.Parallel()
	base := errors.New("refused proof-of-identity at https://vendor.example/token")
	for _, tc := range []struct {
		name string
		err  error
		want func(error) bool
	}{
		{"plain", base, func(err error) bool { return !bellhop.IsPermanent(err) && !bellhop.IsStopping(err) }},
		{"permanent", bellhop.Permanent(base), bellhop.IsPermanent},
		{"a pause", bellhop.RetryAfter(time.Minute, base), func(err error) bool { d, ok := bellhop.RetryDelay(err); return ok && d == time.Minute }},
	} {
		p := authorizer(t, func(r *http.Request) (*http.Response, error) {
			if r.URL.Path != "/token" {
				t.Errorf("%s: sent to %s", tc.name, r.URL.Path)
			}
			return reply(403, "no"), nil
		}, authorizing{authorize: func(_ context.Context, _ *http.Request, exchange Exchange) error {
			resp, body, err := exchange(tokenRequest(t))
			if err != nil || resp.StatusCode != 403 || string(body) != "no" {
				t.Errorf("%s: exchanged %v, %q, %v", tc.name, resp, body, err)
			}
			return tc.err
		}})
		err := p.Send(t.Context(), &bellhop.Event{})
		if !tc.want(err) || !strings.HasPrefix(err.Error(), "fetching credentials: refused <secret>") || strings.Contains(err.Error(), "/token") {
			t.Errorf("%s: became %v", tc.name, err)
		}
	}
}

// TestAuthorizeBreaks holds that a broken exchange on the way to credentials is one like any other.
func TestAuthorizeBreaks(t *testing.T) {
	t.Parallel()
	p := authorizer(t, func(*http.Request) (*http.Response, error) {
		return nil, errors.New("connection reset while sending proof-of-identity")
	}, authorizing{authorize: func(_ context.Context, _ *http.Request, exchange Exchange) error {
		_, _, err := exchange(tokenRequest(t))
		return err
	}})
	err := p.Send(t.Context(), &bellhop.Event{})
	if bellhop.IsPermanent(err) || err.Error() != "fetching credentials: sending to https://vendor.example: connection reset while sending <secret>" {
		t.Errorf("became %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Send(ctx, &bellhop.Event{}); !bellhop.IsStopping(err) {
		t.Errorf("cancelled: %v", err)
	}
}

// stating is a Requester whose messages set something.
type stating struct{ requesterFunc }

func (stating) State(e *bellhop.Event) bellhop.State { return bellhop.State{Subject: e.ID} }

func TestDefineForwardsState(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]bellhop.Requester{"stateful": stating{}, "plain": requesterFunc(nil)} {
		kind := Define("test", "a test", nothing{}, func(bellhop.Setup, nothing) (bellhop.Requester, error) { return r, nil })
		p, err := kind.Build(bellhop.Setup{})
		if err != nil {
			t.Fatal(err)
		}
		s, ok := p.(bellhop.Stateful)
		if ok != (name == "stateful") || ok && s.State(&bellhop.Event{ID: "x"}).Subject != "x" {
			t.Errorf("a %s requester became a stateful provider: %t", name, ok)
		}
		if _, ok := p.(bellhop.Requester); !ok {
			t.Errorf("a %s provider cannot show its requests", name)
		}
	}
}
