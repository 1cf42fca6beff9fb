// Package standardwebhooks receives from every sender that follows Standard Webhooks: Svix and its customers
// in its standard mode, OpenAI, Supabase, Twilio's newer products, and more.
//
// Give the sender the endpoint's hook URL, and put the signing secret that it shows, whsec_ and all, into the
// endpoint's key. (A key of your own for a sender of your own is base64 of 24 to 64 random bytes.)
//
// The sender signs id, timestamp and body with HMAC-SHA256; clocks may be five minutes apart. A sender that
// rotates its key sends two signatures, an endpoint that does has two keys. The asymmetric signatures of the
// standard (v1a, whpk_ keys) are not understood.
//
// The event's type is the body's field "type", such as contact.created, the delivery id webhook-id, which
// stays the same when a delivery is repeated.
//
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
package standardwebhooks

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// Kind is the manifest.
var Kind = bellhop.Define("standard-webhooks", "any sender that follows Standard Webhooks",
	Settings{}, build,
	bellhop.Aliases{"StandardWebhooks"},
	bellhop.SourceTraits{
		Verification:   bellhop.BySignature,
		Credentials:    []string{verify.HeaderWebhookSignature},
		DeliveryHeader: verify.HeaderWebhookID,
		Sign: func(key bellhop.Secret, h http.Header, body []byte) {
			verify.SignStandardWebhooks(key, h, time.Now(), body)
		},
	})

// Settings of an endpoint: there are none.
type Settings struct{}

type source struct{ signature *verify.StandardWebhooks }

func build(setup bellhop.Setup, _ Settings) (bellhop.Source, error) {
	signature, err := verify.NewStandardWebhooks(setup.Keys)
	if err != nil {
		return nil, err
	}
	return &source{signature}, nil
}

// Verify holds the signatures against id, timestamp and body.
func (s *source) Verify(_ context.Context, r *bellhop.Request) error { return s.signature.Verify(r) }

// message is what the standard recommends for all payloads:
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#payload-structure
type message struct {
	Type payload.Text `json:"type"`
}

// Parse makes one event of every request. A body that is not JSON is a message without a type.
func (s *source) Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	var m message
	if mediaType := payload.MediaType(r); payload.IsJSON(mediaType) || mediaType == "" && payload.IsJSONText(r.Body) {
		if err := payload.Decode(r.Body, &m); err != nil && !errors.Is(err, payload.ErrShape) {
			return nil, err
		}
	}
	e := bellhop.Event{
		Type:       string(m.Type),
		DeliveryID: r.Header.Get(verify.HeaderWebhookID),
		Reason:     text.Camel(string(m.Type)),
	}
	phrase := string(m.Type)
	if text.Line(phrase) == "" {
		phrase = "webhook " + e.DeliveryID
	}
	describe.Other(&e, phrase, "")
	return []bellhop.Event{e}, nil
}
