// Package bitbucketcloud receives the webhooks of Bitbucket Cloud (bitbucket.org).
//
// At Bitbucket, open "Repository settings", "Webhooks", "Add webhook": the URL is the endpoint's hook URL, the
// secret the content of the endpoint's key. Without a secret Bitbucket signs nothing and the endpoint refuses
// what it sends. Endpoints of flux-recv files accept unsigned requests, as flux-recv did; a signature that is
// there must be right even so.
//
// Bitbucket signs the body with HMAC-SHA256 in X-Hub-Signature. The event's type is X-Event-Key, such as
// repo:push; the delivery id X-Request-UUID, the same over the three attempts that Bitbucket makes after
// answers of 500 and more. One push may change several branches and tags: each change is an event of its own.
// Bitbucket sends nothing larger than 256 KB, and there is no ping.
//
// Payloads hold no clone URLs; the events' are made from the repository's full name.
//
// https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/
// https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
package bitbucketcloud

import (
	"context"
	"net/http"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/bitbucket"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// Kind is the manifest.
var Kind = bellhop.Define("bitbucket-cloud", "Bitbucket Cloud: repository and workspace webhooks",
	Settings{}, build,
	bellhop.Aliases{"BitbucketCloud"},
	bellhop.SourceTraits{
		Verification:   bellhop.BySignature,
		Lenient:        true,
		Credentials:    []string{headerSignature},
		Sign:           sign,
		EventHeader:    bitbucket.HeaderEvent,
		DeliveryHeader: bitbucket.HeaderDelivery,
	})

// Settings of an endpoint: there are none.
type Settings struct{}

const headerSignature = "X-Hub-Signature" // in the case of net/http

type source struct {
	mac     *verify.HMAC
	lenient bool
}

func build(setup bellhop.Setup, _ Settings) (bellhop.Source, error) {
	mac, err := verify.NewHMAC(verify.SHA256, setup.Keys)
	if err != nil {
		return nil, err
	}
	return &source{mac, setup.Lenient}, nil
}

// Verify holds the signature against the body.
func (s *source) Verify(_ context.Context, r *bellhop.Request) error {
	if s.lenient && len(r.Header[headerSignature]) == 0 {
		return nil
	}
	return s.mac.Prefixed(headerSignature, r.Header.Get(headerSignature), r.Body)
}

// Parse makes one event of every request, of a push one for every branch and tag.
func (s *source) Parse(r *bellhop.Request) ([]bellhop.Event, error) { return bitbucket.Cloud(r) }

func sign(key bellhop.Secret, h http.Header, body []byte) {
	h.Set(headerSignature, verify.SignPrefixed(verify.SHA256, key, body))
}
