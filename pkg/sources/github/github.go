// Package github receives the webhooks of GitHub and GitHub Enterprise.
//
// At GitHub, open the settings of the repository or organisation, "Webhooks", "Add webhook": the payload URL
// is the endpoint's hook URL, the content type application/json (the form type works, too), the secret the
// content of the endpoint's key. Pick the events you want; GitHub then sends a ping, which is answered
// "pong". A GitHub App has the same fields in its settings.
//
// GitHub signs the body with HMAC-SHA256 in X-Hub-Signature-256. The old X-Hub-Signature, with SHA-1, is
// believed only where the endpoint sets allowSHA1 and the better one is absent: a wrong SHA-256 is refused
// whatever stands beside it.
//
// The event's type is X-GitHub-Event, such as push or pull_request, its delivery id X-GitHub-Delivery, which
// stays the same when a delivery is repeated by hand; GitHub repeats nothing by itself. Bodies end at 25 MB.
// Not signed are the headers: who can change a request on its way can call a push something else.
//
// https://docs.github.com/en/webhooks/webhook-events-and-payloads
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
package github

import (
	"context"
	"net/http"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// Kind is the manifest.
var Kind = bellhop.Define("github", "GitHub and GitHub Enterprise: repository, organisation and app webhooks",
	Settings{}, build,
	bellhop.Aliases{"github-enterprise", "ghe", "ghes"},
	bellhop.SourceTraits{
		Verification:   bellhop.BySignature,
		Credentials:    []string{headerSHA256, headerSHA1},
		Sign:           sign,
		EventHeader:    headerEvent,
		DeliveryHeader: headerDelivery,
	})

// Settings of an endpoint.
type Settings struct {
	AllowSHA1 bool `yaml:"allowSHA1" doc:"believe SHA-1 signatures of senders that offer no SHA-256"`
}

// The headers, in the case of net/http.
const (
	headerEvent    = "X-Github-Event"
	headerDelivery = "X-Github-Delivery"
	headerSHA256   = "X-Hub-Signature-256"
	headerSHA1     = "X-Hub-Signature"
)

type source struct{ *verify.Hub }

func build(setup bellhop.Setup, s Settings) (bellhop.Source, error) {
	hub, err := verify.NewHub(setup.Keys, s.AllowSHA1)
	if err != nil {
		return nil, err
	}
	return source{hub}, nil
}

// Verify holds the signature against the raw body, form or not.
func (s source) Verify(_ context.Context, r *bellhop.Request) error {
	if old := r.Header.Get(headerSHA1); old != "" && len(r.Header[headerSHA256]) == 0 {
		return s.Hub.Verify(headerSHA1, old, r.Body)
	}
	return s.SHA256.Prefixed(headerSHA256, r.Header.Get(headerSHA256), r.Body)
}

func sign(key bellhop.Secret, h http.Header, body []byte) {
	h.Set(headerSHA256, verify.SignPrefixed(verify.SHA256, key, body))
}
