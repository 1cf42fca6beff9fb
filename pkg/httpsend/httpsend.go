// Package httpsend is everything between a provider's request and its outcome: the one HTTP client factory
// (NewClient), the turning of a Requester into a Provider (Define), what an answer's status means (Judge),
// what of an answer may be shown, credentials that are fetched first (Authorizer), and the small pieces that
// requests are made of (PostJSON, Address, Cut).
//
// A provider package needs nothing else to be whole: it decodes its settings, checks them and makes requests. One
// that does not speak HTTP goes out by the same rules through TransportOf.
//
// # What an answer means
//
//	2xx                       the vendor has it
//	3xx                       permanent: the address is not where the vendor is; see NewClient
//	408, 425, 5xx but 501     retried with backoff
//	429; 503 with Retry-After the whole provider pauses, for at most an hour; no attempt is spent
//	501 and other 4xx         permanent
//	no answer, half an answer retried with backoff
//
// 401 and 403 are permanent: the same credentials are refused tomorrow as well, and going on with them gets
// accounts locked and addresses banned. Once the credentials are mended, `bellhop dead retry` sends what was
// refused.
//
// A message for people (bellhop.ProviderTraits.ForPeople) that is answered with 400, 413 or 422 is sent once more,
// its title and link alone: that something failed must not be lost because it was told in too many words.
//
// # What an error shows
//
// An error names the scheme, host and port it was sent to and, in at most 200 characters on one line, what
// went wrong in the vendor's words. It never holds the URL's path, query or user-info, a header's value or a secret of the settings, even
// if the vendor's answer repeats them, and it wraps nothing that does.
package httpsend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Judge is what a Requester implements whose vendor says more than the status: an error inside a 200, a
// limit inside a 403. It sees every answer, body cut at 64 KiB, and leaves what it does not know to Status.
// nil: the vendor has the message. The errors are shown as they are, after what is secret was masked; the
// classes are those of bellhop.Provider.
type Judge interface {
	Judge(resp *http.Response, body []byte) error
}

// Define is bellhop.Define for a provider that is a Requester. build may return its bellhop.Problems as they
// are, none included: unless one is fatal, the Requester is used.
//
// The Requester may return a nil request and a nil error: the event says nothing to this destination (a
// deleted branch to one that follows branches), and counts as delivered. What it returns as an error is
// permanent unless it is marked otherwise, since the same event would make the same error again.
//
// The provider that it makes is a bellhop.Requester too, so that a request can be shown without being sent, and
// a bellhop.Stateful if the Requester is one.
func Define[S any](name, summary string, defaults S, build func(bellhop.Setup, S) (bellhop.Requester, error), traits ...any) bellhop.Kind[bellhop.Provider] {
	return bellhop.Define(name, summary, defaults, func(setup bellhop.Setup, settings S) (bellhop.Provider, error) {
		if setup.Client == nil {
			client, err := NewClient(Options{})
			if err != nil {
				return nil, err
			}
			setup.Client = client
		}
		r, err := build(setup, settings)
		problems := bellhop.AsProblems(err)
		if problems.Err() != nil {
			return nil, problems
		}
		s := &sender{Requester: r, client: setup.Client, secrets: secretsOf(settings), logger: setup.Logger}
		for _, t := range traits {
			if t, ok := t.(bellhop.ProviderTraits); ok {
				s.forPeople = t.ForPeople
			}
		}
		var p bellhop.Provider = s
		if stateful, ok := r.(bellhop.Stateful); ok {
			p = statefulSender{s, stateful}
		}
		if len(problems) > 0 {
			return p, problems
		}
		return p, nil
	}, traits...)
}

// sender makes a Requester a Provider.
type sender struct {
	bellhop.Requester
	client  *http.Client
	secrets []string
	logger  *slog.Logger
	// forPeople: see bellhop.ProviderTraits.
	forPeople bool
}

// statefulSender is the sender of a Requester whose messages set something.
type statefulSender struct {
	*sender
	bellhop.Stateful
}

// The most that is read of an answer, and the most that is thrown away after it to keep the connection.
const (
	maxAnswer = 64 << 10
	maxDrain  = 256 << 10
)

// Send sends the event. What people read reaches them cut down rather than not at all, if the vendor refuses it
// for what it is.
func (s *sender) Send(ctx context.Context, e *bellhop.Event) error {
	status, err := s.send(ctx, e)
	refused := status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge || status == http.StatusUnprocessableEntity
	if !s.forPeople || !refused || !bellhop.IsPermanent(err) {
		return err
	}
	switch _, again := s.send(ctx, cutDown(e)); {
	case bellhop.IsPermanent(again):
		return err
	case again != nil: // not the message's fault
		return again
	}
	s.logger.Warn("the message was refused, and sent again without details", "event", e.ID, "error", err)
	return nil
}

// cutDown is the event without what a vendor may find too long or malformed.
func cutDown(e *bellhop.Event) *bellhop.Event {
	c := *e
	c.Title = Cut(e.Title, 100, Runes)
	c.Message = "The whole message was refused; Bellhop has it: event " + e.ID + "."
	c.Fields = []bellhop.Field{}
	return &c
}

// send makes one exchange. The status is that of the answer, 0 without one.
func (s *sender) send(ctx context.Context, e *bellhop.Event) (status int, err error) {
	req, err := s.Request(ctx, e)
	if err != nil {
		return 0, s.unmade(err)
	}
	if req == nil {
		return 0, nil
	}
	var resp *http.Response
	var body []byte
	if a, ok := s.Requester.(Authorizer); ok {
		req, resp, body, err = s.authorized(ctx, a, req) //nolint:bodyclose // exchange closes it
	} else {
		resp, body, err = s.exchange(ctx, req) //nolint:bodyclose // exchange closes it
	}
	if err != nil {
		return 0, err
	}
	if j, ok := s.Requester.(Judge); ok {
		err = j.Judge(resp, body)
	} else {
		err = Status(resp, body)
	}
	if err != nil {
		err = fmt.Errorf("sending to %s: %w", origin(req.URL), maskOf(s.secrets, req).classed(err))
	}
	return resp.StatusCode, err
}

// exchange sends a request and reads the answer, which is closed then. The error is that of an exchange without a
// whole answer.
func (s *sender) exchange(ctx context.Context, req *http.Request) (*http.Response, []byte, error) {
	resp, err := s.client.Do(req) //nolint:gosec // where to is what the settings say; the client refuses what it must
	if err != nil {
		return nil, nil, s.broken(ctx, req, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxDrain))
	}
	if err != nil {
		return nil, nil, s.broken(ctx, req, fmt.Errorf("answered %d, then broke off: %w", resp.StatusCode, unwrapURL(err)))
	}
	return resp, body, nil
}

// broken is the error of an exchange without a whole answer.
func (s *sender) broken(ctx context.Context, req *http.Request, err error) error {
	return fmt.Errorf("sending to %s: %w", origin(req.URL), maskOf(s.secrets, req).transport(ctx, err))
}

// unmade is the error of a request that could not be made.
func (s *sender) unmade(err error) error {
	masked := (&mask{words: s.secrets}).classed(err)
	if _, paused := bellhop.RetryDelay(err); !paused && !bellhop.IsPermanent(err) && !bellhop.IsStopping(err) {
		masked = bellhop.Permanent(masked)
	}
	return fmt.Errorf("making the request: %w", masked)
}

// PostJSON makes a POST of v as JSON, the same bytes for the same v. HTML's characters stay as they are.
func PostJSON(ctx context.Context, u *url.URL, v any) (*http.Request, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encoding the message: %w", err)
	}
	return Post(ctx, u, "application/json", bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// Post makes a POST of a body that can be sent again after a redirect or on a new connection.
func Post(ctx context.Context, u *url.URL, contentType string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("making the request: the address is not a URL")
	}
	req.Header.Set("Content-Type", contentType)
	return req, nil
}

// origin is what of a URL may be shown.
func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// unwrapURL takes off what names the URL.
func unwrapURL(err error) error {
	var ue *url.Error
	for errors.As(err, &ue) {
		err = ue.Err
	}
	return err
}
