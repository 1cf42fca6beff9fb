// Package flux receives the events of Flux's controllers: it stands where their notification-controller would.
//
// Start source-controller, kustomize-controller, helm-controller and the image controllers with
// --events-addr=URL, where the URL is the endpoint's hook URL, such as http://bellhop.flux-system/hook/…; the
// controllers post to it as it is. They sign nothing and carry no secret, so whoever knows the URL is believed:
// keep Bellhop inside the cluster for this endpoint, and let the endpoint's auth name the pods' network.
//
// An event keeps Flux's fields: involvedObject, severity, reason, message, metadata with its prefixes, the
// controller and its instance. The metadata key token is left out, as in Flux. Its kind is flux, its type the
// reason, such as HealthCheckFailed; commit, branch and tag come from the revision. There is no delivery id: a
// controller that repeats a request after a failure repeats its body, which has the time in it.
//
// A controller waits five seconds for an answer, tries four times more after broken connections and answers of 500
// and above, and takes 429 for "known already": where rateLimit is set, it is told 503 instead.
//
// https://fluxcd.io/flux/components/notification/events/
// https://pkg.go.dev/github.com/fluxcd/pkg/runtime/events
package flux

import (
	"context"
	"errors"
	"net/http"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/fluxevent"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
)

// Kind is the manifest.
var Kind = bellhop.Define("flux", "Flux's controllers: their events, known by the URL alone",
	Settings{}, func(bellhop.Setup, Settings) (bellhop.Source, error) { return source{}, nil },
	bellhop.SourceTraits{
		Verification: bellhop.ByPath,
		LosesOn429:   true,
		Sign:         func(bellhop.Secret, http.Header, []byte) {},
	})

// Settings of an endpoint: there are none.
type Settings struct{}

type source struct{}

// Verify believes everyone: the controllers carry no proof.
func (source) Verify(context.Context, *bellhop.Request) error { return nil }

// Parse makes one event of every request.
func (source) Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	body, err := payload.JSON(r)
	if err != nil {
		return nil, err
	}
	var m fluxevent.Message
	err = payload.Decode(body, &m)
	switch {
	case err != nil && !errors.Is(err, payload.ErrShape):
		return nil, err
	case err == nil && m.IsEvent():
		return []bellhop.Event{m.Event()}, nil
	}
	e := bellhop.Event{Reason: "Event"}
	describe.Other(&e, "event of no object", "")
	return []bellhop.Event{e}, nil
}
