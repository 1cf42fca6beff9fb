package httpsend

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// Authorizer is what a Requester implements whose credentials are fetched from the vendor first: an app's
// token, good for an hour. Its Request leaves them out and stays pure; they are added just before it is sent.
// Both methods are called by many deliveries at once.
type Authorizer interface {
	// Authorize adds the credentials to req. A plain error is retried with backoff; the classes are those of
	// bellhop.Provider, and what is secret is masked as in Judge.
	Authorize(ctx context.Context, req *http.Request, exchange Exchange) error
	// Refused is told that req was answered with 401, and reports whether it is worth authorizing it once more:
	// what was remembered may have been revoked.
	Refused(req *http.Request) bool
}

// Exchange sends a request with the provider's client and returns the answer, read (64 KiB at most) and closed,
// whatever its status. The error is that of an exchange without a whole answer; return it as it is.
type Exchange func(req *http.Request) (*http.Response, []byte, error)

// authorized sends req with credentials, and once more with fresh ones if these are refused. The request that
// it returns is the one that was answered.
func (s *sender) authorized(ctx context.Context, a Authorizer, req *http.Request) (*http.Request, *http.Response, []byte, error) {
	for again := false; ; again = true {
		sent, err := repeated(ctx, req)
		if err != nil {
			return nil, nil, nil, s.unmade(err)
		}
		if err := s.authorize(ctx, a, sent); err != nil {
			return nil, nil, nil, err
		}
		resp, body, err := s.exchange(ctx, sent)
		if err != nil || resp.StatusCode != http.StatusUnauthorized || again || !a.Refused(sent) {
			return sent, resp, body, err
		}
	}
}

// authorize calls a, and masks what it says.
func (s *sender) authorize(ctx context.Context, a Authorizer, req *http.Request) error {
	words := slices.Clone(s.secrets)
	var broken error
	err := a.Authorize(ctx, req, func(r *http.Request) (*http.Response, []byte, error) {
		words = append(words, maskOf(nil, r).words...)
		resp, body, err := s.exchange(ctx, r)
		if err != nil {
			broken = err
		}
		return resp, body, err
	})
	switch {
	case err == nil:
		return nil
	case broken != nil && errors.Is(err, broken):
		return fmt.Errorf("fetching credentials: %w", broken) // masked already
	case ctx.Err() != nil:
		return fmt.Errorf("fetching credentials: interrupted: %w", context.Cause(ctx))
	}
	return fmt.Errorf("fetching credentials: %w", (&mask{words}).classed(err))
}

// repeated is a copy of a request that can be sent while the first is kept.
func repeated(ctx context.Context, req *http.Request) (*http.Request, error) {
	c := req.Clone(ctx)
	if req.GetBody == nil {
		return c, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, fmt.Errorf("reading the message again: %w", err)
	}
	c.Body = body
	return c, nil
}
