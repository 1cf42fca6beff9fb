// Package bitbucketserver receives the webhooks of Bitbucket Data Center, formerly Bitbucket Server.
//
// At Bitbucket, open "Repository settings" (or the project's), "Webhooks", "Create webhook": the URL is the
// endpoint's hook URL, the secret the content of the endpoint's key. Without a secret Bitbucket signs nothing and
// the endpoint refuses what it sends; credentials of HTTP Basic, which the same form offers, can be asked for
// beside the signature with the endpoint's auth. "Test connection" sends a ping, in most versions unsigned: it is
// answered "pong", believed in nothing, and leaves no trace.
//
// Bitbucket signs the body with HMAC-SHA256 in X-Hub-Signature. A SHA-1 there, as some plug-ins send, is believed
// only where the endpoint sets allowSHA1. The event's type is X-Event-Key, such as repo:refs_changed; the delivery
// id X-Request-Id, where Bitbucket sends one. One push may change several branches and tags: each change is an
// event of its own. What a mirror has fetched (mirror:repo_synchronized) reads like a push without an author. A
// mirror that fetched very much says only that it did.
//
// Bitbucket waits ten seconds for an answer and stops calling a hook for a while that fails five times.
//
// Payloads of Bitbucket Cloud are understood as well, for those who come from a receiver that knows no difference
// between the two, such as Flux's Receiver of type bitbucket.
//
// https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html
// https://confluence.atlassian.com/bitbucketserver/manage-webhooks-938025878.html
package bitbucketserver

import (
	"context"
	"net/http"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/bitbucket"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// Kind is the manifest.
var Kind = bellhop.Define("bitbucket-server", "Bitbucket Data Center and Server: repository and project webhooks",
	Settings{}, build,
	bellhop.Aliases{"BitbucketServer", "bitbucket-dc", "bitbucket-data-center"},
	bellhop.SourceTraits{
		Verification:   bellhop.BySignature,
		Credentials:    []string{headerSignature},
		Sign:           sign,
		EventHeader:    bitbucket.HeaderEvent,
		DeliveryHeader: headerDelivery,
	})

// Settings of an endpoint.
type Settings struct {
	AllowSHA1 bool `yaml:"allowSHA1" doc:"believe SHA-1 signatures of senders that offer no SHA-256"`
}

// The headers, in the case of net/http.
const (
	headerDelivery  = "X-Request-Id"
	headerSignature = "X-Hub-Signature"
)

const (
	eventPing     = "diagnostics:ping" // of "Test connection"
	eventMirrored = "mirror:repo_synchronized"
)

type source struct{ *verify.Hub }

func build(setup bellhop.Setup, s Settings) (bellhop.Source, error) {
	hub, err := verify.NewHub(setup.Keys, s.AllowSHA1)
	if err != nil {
		return nil, err
	}
	return source{hub}, nil
}

// Verify holds the signature against the body. A ping without a signature is bellhop.ErrPing; one with a signature
// has to be right.
func (s source) Verify(_ context.Context, r *bellhop.Request) error {
	if len(r.Header[headerSignature]) == 0 && r.Header.Get(bitbucket.HeaderEvent) == eventPing {
		return bellhop.ErrPing
	}
	return s.Hub.Verify(headerSignature, r.Header.Get(headerSignature), r.Body)
}

func sign(key bellhop.Secret, h http.Header, body []byte) {
	h.Set(headerSignature, verify.SignPrefixed(verify.SHA256, key, body))
}
