// Package generic receives what anybody posts who knows the URL: scripts, and senders that can neither sign nor
// carry a secret.
//
// At the sender, the URL is the endpoint's hook URL, and there is nothing else to fill in. Whoever knows the URL is
// believed. Keep it as you keep a password, and let the endpoint's auth ask for what the sender can carry besides: a
// header, basic authentication, a bearer token, the network it posts from. With curl:
//
//	curl -H 'Content-Type: application/json' --data-binary '{"title": "Backup done", "severity": "info"}' "$URL"
//
// Prefer generic-hmac or standard-webhooks for senders that can sign.
//
// The body may be anything. Of JSON, the common fields are understood: those of a Flux event (which makes it an
// event of kind flux), else title, message, severity, reason, link, ref, commit, repository and the like, as
// GitHub spells them; the kind is other. The notifications of registries that have no source of their own make an event
// of each image, and none of layers: those of CNCF Distribution, Alibaba Cloud and JFrog Artifactory. Text becomes the
// message.
//
// Two requests that are equal to the byte are two events, for nothing tells a repetition from something that happened
// twice. Only the notifications of Distribution have a delivery id.
//
// https://fluxcd.io/flux/components/notification/receivers/#generic-receiver
package generic

import (
	"context"
	"net/http"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/freeform"
)

// Kind is the manifest.
var Kind = bellhop.Define("generic", "any sender, known by the URL alone",
	Settings{}, func(bellhop.Setup, Settings) (bellhop.Source, error) { return source{}, nil },
	bellhop.SourceTraits{
		Verification: bellhop.ByPath,
		Repeats:      true,
		Sign:         func(bellhop.Secret, http.Header, []byte) {},
	})

// Settings of an endpoint: there are none.
type Settings struct{}

type source struct{}

// Verify believes everyone: what a sender can carry is for the endpoint's auth.
func (source) Verify(context.Context, *bellhop.Request) error { return nil }

// Parse makes one event of every request, of a registry's one for every image.
func (source) Parse(r *bellhop.Request) ([]bellhop.Event, error) { return freeform.Parse(r) }
