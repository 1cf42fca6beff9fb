// Package quay receives the notifications of Quay.io and Red Hat Quay.
//
// At Quay, open the repository's settings, "Events and Notifications", "Create Notification": the notification
// is "Webhook POST", the webhook URL the endpoint's hook URL. One notification is for one kind of event; several
// of them may post to the same URL. Leave the body template empty: what another body says is not understood.
//
// Quay signs nothing and carries no secret, so whoever knows the URL is believed. It does present the client
// certificate of its instance where the receiver serves HTTPS itself: name it in the endpoint's auth, or the
// networks that may post.
//
// A push makes an event of each tag; it tells neither a digest nor who pushed. Vulnerabilities are events of kind
// alert, as error if one is critical or high; builds are of kind ci. Bodies name no event type, so the events' are
// Quay's own names of what the body shows: repo_push, vulnerability_found, repo_image_expiry; build_queued,
// build_success and build_failure, or just build for one that was started or cancelled; repo_mirror for mirroring,
// of which only the message says how it went. "Test Notification" sends made-up data, which is recognised and
// answered "pong".
//
// There are no delivery ids and no timestamps: two pushes of a tag are equal to the byte and both relayed. Quay
// waits ten seconds, tries again, and disables a notification after three failures.
//
// https://docs.redhat.com/en/documentation/red_hat_quay/3/html/use_red_hat_quay/repository-events
package quay

import (
	"context"
	"net/http"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Kind is the manifest.
var Kind = bellhop.Define("quay", "Quay.io and Red Hat Quay: pushed tags, builds and vulnerabilities, known by the URL alone",
	Settings{}, func(bellhop.Setup, Settings) (bellhop.Source, error) { return source{}, nil },
	bellhop.SourceTraits{
		Verification: bellhop.ByPath,
		Repeats:      true,
		Sign:         func(bellhop.Secret, http.Header, []byte) {},
	})

// Settings of an endpoint: there are none.
type Settings struct{}

type source struct{}

// Verify believes everyone: Quay's certificate, if any, is for the endpoint's auth.
func (source) Verify(context.Context, *bellhop.Request) error { return nil }
