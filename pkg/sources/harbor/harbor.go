// Package harbor receives the webhooks of Harbor.
//
// At Harbor, open the project, "Webhooks", "New Webhook": the notify type is http, the endpoint URL the endpoint's
// hook URL, the auth header the content of the endpoint's key, as it is: Harbor sends it as the value of
// Authorization and adds no scheme. It signs nothing. Both payload formats are understood, Default and
// CloudEvents; prefer CloudEvents, which has a delivery id. "Test Endpoint" posts an empty request without the auth
// header, which is answered "pong" and changes nothing.
//
// The event's type is Harbor's, in the words of the format: PUSH_ARTIFACT or harbor.artifact.pushed. Pushes and
// deletions make an event of each artifact; one that was pushed without a tag has a digest only. Scans and quotas
// are events of kind alert, as error if a scan failed or found something critical or high, or a quota is exceeded.
// A run of tag retention is one event, of kind image.delete if it deleted anything. Replications are of kind other,
// as error if one failed; so are pulls.
//
// Harbor waits three seconds and gives up after three tries.
//
// https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/
package harbor

import (
	"context"
	"net/http"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// Kind is the manifest.
var Kind = bellhop.Define("harbor", "Harbor: pushed and deleted artifacts, scans, quotas, replications",
	Settings{}, build,
	bellhop.SourceTraits{
		Verification: bellhop.ByToken,
		Credentials:  []string{headerAuthorization},
		Sign:         sign,
	})

// Settings of an endpoint: there are none.
type Settings struct{}

const headerAuthorization = "Authorization"

type source struct {
	holdsKey func(*bellhop.Request) error
}

func build(setup bellhop.Setup, _ Settings) (bellhop.Source, error) {
	return &source{verify.Header(headerAuthorization, setup.Keys)}, nil
}

// Verify compares Authorization with the key. Harbor's test has neither that nor a body.
func (s *source) Verify(_ context.Context, r *bellhop.Request) error {
	if len(r.Body) == 0 && len(r.Header[headerAuthorization]) == 0 {
		return bellhop.ErrPing
	}
	return s.holdsKey(r)
}

func sign(key bellhop.Secret, h http.Header, _ []byte) {
	h.Set(headerAuthorization, key.RevealString())
}
