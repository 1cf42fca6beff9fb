// Package generic posts events as JSON to any HTTP server: a function, a bot, another webhook receiver.
//
// # Setting it up
//
//	providers:
//	- name: bot
//	  type: generic
//	  address: https://bot.example/hook
//	  format: cloudevents        # default: flux
//	  secretRef: {name: bot}
//
// The Secret may hold address, which overrides the file's, and headers, a YAML map such as
//
//	Authorization: Bearer abc
//	X-Team: platform
//
// These are set last, and override what Bellhop sets itself.
//
// # What is sent
//
// format: flux is a POST of the event as Flux's notification-controller would post it, with the reporting
// controller's name in the header Gotk-Component. Events that are not Flux's get Flux's fields made up from
// what is known of them; the object involved is then Bellhop's endpoint (apiVersion bellhop.dev/v1, kind
// Endpoint), and metadata holds repository, revision, branch, tag, commit, image and the like.
//
// format: cloudevents is a POST of a CloudEvent 1.0 in structured mode. Its data is the event with all that
// Bellhop knows, its body being what the sender sent; its type is dev.bellhop. and the event's kind.
//
// Both carry the event's id in the header Idempotency-Key: it stays the same when a delivery is tried again,
// so that a receiver can tell a repetition, which at-least-once delivery cannot rule out.
//
// Any 2xx answer is success. There is no limit on the size.
package generic

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
)

// Settings of a provider.
type Settings struct {
	Address bellhop.Secret            `yaml:"address" secret:"address" doc:"URL that events are posted to"`
	Format  format                    `yaml:"format" doc:"flux or cloudevents, default flux"`
	Headers map[string]bellhop.Secret `secret:"headers" doc:"headers to set, a YAML map"`
}

// format is how an event is spelled.
type format string

const (
	fluxFormat        format = "flux"
	cloudEventsFormat format = "cloudevents"
)

// UnmarshalText reads flux or cloudevents.
func (f *format) UnmarshalText(text []byte) error {
	switch got := format(text); got {
	case fluxFormat, cloudEventsFormat:
		*f = got
		return nil
	}
	return fmt.Errorf("%q: write flux or cloudevents", text)
}

// Kind posts JSON.
var Kind = httpsend.Define("generic", "any HTTP server: Flux's event JSON or a CloudEvent",
	Settings{Format: fluxFormat}, build)

func build(_ bellhop.Setup, s Settings) (bellhop.Requester, error) {
	u, problems := httpsend.Address("address", s.Address)
	headers := http.Header{}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		canonical, value := textproto.CanonicalMIMEHeaderKey(name), s.Headers[name].RevealString()
		switch {
		case !token(name):
			problems = append(problems, bellhop.Wrong("headers", "a header's name holds other characters than letters, digits and dashes"))
		case hopByHop[canonical]:
			problems = append(problems, bellhop.Wrong("headers", "%s belongs to the connection and cannot be set", canonical))
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F }):
			problems = append(problems, bellhop.Wrong("headers", "the value of %s holds a line break or another control character", canonical))
		default:
			headers.Set(name, value)
		}
	}
	return provider{u, s.Format, headers}, problems
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

type provider struct {
	url     *url.URL
	format  format
	headers http.Header
}

func (p provider) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	var req *http.Request
	var err error
	if p.format == cloudEventsFormat {
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
func (p provider) fluxEvent(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
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

func (p provider) cloudEvent(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	data, err := e.JSON()
	if err != nil {
		return nil, fmt.Errorf("encoding the event: %w", err)
	}
	req, err := httpsend.PostJSON(ctx, p.url, cloudEvent{
		SpecVersion:     "1.0",
		ID:              e.ID,
		Source:          "/endpoints/" + url.PathEscape(e.Endpoint),
		Type:            "dev.bellhop." + string(e.Kind),
		Subject:         subject(e),
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

// subject is what the event is about: a repository, an image or an object.
func subject(e *bellhop.Event) string {
	switch o := e.InvolvedObject; {
	case e.Repo.Name != "":
		return e.Repo.Name
	case e.Image.Name != "":
		return e.Image.Name
	case o.Name != "":
		return strings.Trim(o.Kind+"/"+o.Namespace+"/"+o.Name, "/")
	}
	return ""
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
