// Package generichmac posts events as JSON, signed with an HMAC, to any HTTP server that has the key: as
// generic, and a receiver can tell that Bellhop sent them.
//
// # Setting it up
//
// Make a key with `bellhop keygen` and give it to the receiver. In the Secret it is the token:
//
//	providers:
//	- name: bot
//	  type: generic-hmac
//	  address: https://bot.example/hook
//	  format: cloudevents        # default: flux
//	  secretRef: {name: bot}     # token; may hold address and headers as well
//
// White space around the token is not part of the key. headers is a YAML map; its headers override what
// Bellhop sets itself, but for the signature.
//
// # What is sent
//
// What generic sends (format: flux is the event as Flux's notification-controller posts it, format: cloudevents a
// CloudEvent with all that Bellhop knows), and the header
//
//	X-Signature: sha256=<hex HMAC-SHA256 of the body, keyed with the token>
//
// over exactly the bytes of the body. Flux's Receiver of type generic-hmac verifies it, and so does Bellhop's own
// source of that name.
//
// # Replays
//
// Who records a request can post it again. The event's id, in the header Idempotency-Key, stays the same when a
// delivery is tried again, so a receiver that remembers the ids it has seen acts on each event once; but the
// header is not signed. With format: cloudevents the id and the time are in the signed body as well: a receiver
// that must not be fooled takes them from there, and refuses what is old.
//
// Any 2xx answer is success. There is no limit on the size.
package generichmac

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/eventpost"
)

// Settings of a provider.
type Settings struct {
	Address bellhop.Secret            `yaml:"address" secret:"address" doc:"URL that events are posted to"`
	Token   bellhop.Secret            `secret:"token" doc:"key of the signature"`
	Format  eventpost.Format          `yaml:"format" doc:"flux or cloudevents, default flux"`
	Headers map[string]bellhop.Secret `secret:"headers" doc:"headers to set, a YAML map"`
}

// Kind posts signed JSON.
var Kind = httpsend.Define("generic-hmac", "any HTTP server that verifies an HMAC: Flux's event JSON or a CloudEvent",
	Settings{Format: eventpost.Flux}, build)

func build(_ bellhop.Setup, s Settings) (bellhop.Requester, error) {
	poster, problems := eventpost.New(s.Address, s.Format, s.Headers)
	if s.Token.Empty() {
		problems = append(problems, bellhop.Wrong("token", "is missing: write the key that the receiver verifies with, such as `bellhop keygen` makes, under the key token of the Secret named by secretRef"))
	}
	return provider{poster, s.Token}, problems
}

type provider struct {
	*eventpost.Poster
	key bellhop.Secret
}

// Request is the POST of an event, signed last so that no header of the user's stands in for the signature.
// https://fluxcd.io/flux/components/notification/providers/#generic-webhook-with-hmac
func (p provider) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	req, err := p.Poster.Request(ctx, e)
	if err != nil {
		return nil, err
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, fmt.Errorf("signing the body: %w", err)
	}
	signature, err := sign(p.key, body)
	if err != nil {
		return nil, fmt.Errorf("signing the body: %w", err)
	}
	req.Header.Set("X-Signature", signature)
	return req, nil
}

func sign(key bellhop.Secret, body io.Reader) (string, error) {
	mac := hmac.New(sha256.New, key.Reveal())
	if _, err := io.Copy(mac, body); err != nil {
		return "", err
	}
	return "sha256=" + hex.EncodeToString(mac.Sum(nil)), nil
}
