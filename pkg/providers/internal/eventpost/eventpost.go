// Package eventpost posts an event as JSON, in Flux's form or as a CloudEvent, with headers of the user's.
package eventpost

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/parts"
)

// Format is how an event is spelled.
type Format string

// The formats.
const (
	Flux        Format = "flux"
	CloudEvents Format = "cloudevents"
)

// UnmarshalText reads flux or cloudevents.
func (f *Format) UnmarshalText(text []byte) error {
	switch got := Format(text); got {
	case Flux, CloudEvents:
		*f = got
		return nil
	}
	return fmt.Errorf("%q: write flux or cloudevents", text)
}

// Poster posts events to a URL. It is a bellhop.Requester.
type Poster struct {
	url     *url.URL
	format  Format
	headers http.Header
}

// New makes a Poster from a provider's settings address, format and headers, or says what is wrong with them.
// With warnings only, the Poster is usable.
func New(address bellhop.Secret, format Format, headers map[string]bellhop.Secret) (*Poster, bellhop.Problems) {
	u, problems := httpsend.Address("address", address)
	set := http.Header{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		canonical, value := textproto.CanonicalMIMEHeaderKey(name), headers[name].RevealString()
		switch {
		case !token(name):
			problems = append(problems, bellhop.Wrong("headers", "a header's name holds other characters than letters, digits and dashes"))
		case hopByHop[canonical]:
			problems = append(problems, bellhop.Wrong("headers", "%s belongs to the connection and cannot be set", canonical))
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F }):
			problems = append(problems, bellhop.Wrong("headers", "the value of %s holds a line break or another control character", canonical))
		default:
			set.Set(name, value)
		}
	}
	return &Poster{u, format, set}, problems
}

// token reports whether s can be a header's name.
// https://www.rfc-editor.org/rfc/rfc9110#name-tokens
func token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7F || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

var hopByHop = map[string]bool{
	"Connection": true, "Content-Length": true, "Keep-Alive": true, "Proxy-Authorization": true, "Proxy-Connection": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// Request is the POST of an event. The body can be read again with GetBody.
func (p *Poster) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	var req *http.Request
	var err error
	if p.format == CloudEvents {
		req, err = p.cloudEvent(ctx, e)
	} else {
		req, err = p.fluxEvent(ctx, e)
	}
	if err != nil {
		return nil, err
	}
	if e.ID != "" {
		req.Header.Set("Idempotency-Key", printable(e.ID))
	}
	for name, values := range p.headers {
		req.Header[name] = slices.Clone(values)
	}
	if host := p.headers.Get("Host"); host != "" {
		req.Host = host
	}
	return req, nil
}

// https://fluxcd.io/flux/components/notification/providers/#generic-webhook
func (p *Poster) fluxEvent(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	f := e.FluxObject()
	req, err := httpsend.PostJSON(ctx, p.url, f)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Gotk-Component", printable(f.ReportingController))
	return req, nil
}

// cloudEvent is a CloudEvent in JSON.
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
type cloudEvent struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"` // a URI reference: /endpoints/NAME
	Type            string          `json:"type"`
	Subject         string          `json:"subject,omitzero"`
	Time            time.Time       `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	Data            json.RawMessage `json:"data"`
}

func (p *Poster) cloudEvent(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	data, err := e.JSON()
	if err != nil {
		return nil, fmt.Errorf("encoding the event: %w", err)
	}
	req, err := httpsend.PostJSON(ctx, p.url, cloudEvent{
		SpecVersion:     "1.0",
		ID:              e.ID,
		Source:          "/endpoints/" + url.PathEscape(e.Endpoint),
		Type:            "dev.bellhop." + string(e.Kind),
		Subject:         parts.Subject(e),
		Time:            e.Time.UTC(),
		DataContentType: "application/json",
		// JSON is UTF-8; what senders post is not always.
		Data: bytes.ToValidUTF8(data, []byte("\uFFFD")),
	})
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/cloudevents+json")
	return req, nil
}

// printable leaves out what no header can carry.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
}
