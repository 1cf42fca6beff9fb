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
	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/eventpost"
)

// Settings of a provider.
type Settings struct {
	Address bellhop.Secret            `yaml:"address" secret:"address" doc:"URL that events are posted to"`
	Format  eventpost.Format          `yaml:"format" doc:"flux or cloudevents, default flux"`
	Headers map[string]bellhop.Secret `secret:"headers" doc:"headers to set, a YAML map"`
}

// Kind posts JSON.
var Kind = httpsend.Define("generic", "any HTTP server: Flux's event JSON or a CloudEvent",
	Settings{Format: eventpost.Flux}, build)

func build(_ bellhop.Setup, s Settings) (bellhop.Requester, error) {
	poster, problems := eventpost.New(s.Address, s.Format, s.Headers)
	return poster, problems
}
