// Package gitlab receives the webhooks of GitLab: project, group and system hooks.
//
// At GitLab, open "Settings", "Webhooks" of the project or group (for system hooks the admin area): the URL is
// the endpoint's hook URL, the secret token the content of the endpoint's key. Where GitLab offers a signing
// token, prefer it: put what GitLab shows, whsec_ and all, into the key.
//
// A key that begins with whsec_ verifies Standard Webhooks signatures; any other is compared with
// X-Gitlab-Token, which proves that the sender knows it but nothing of the body. An endpoint may have keys of
// both sorts while one replaces the other. A request that carries a signature is judged by it alone wherever
// a whsec_ key is configured: a right token beside a wrong signature is refused.
//
// The event's type is X-Gitlab-Event, such as "Push Hook"; system hooks all say "System Hook" and tell the rest
// in the action (push, user_create). The delivery id is Idempotency-Key or webhook-id, which stay the same
// when GitLab repeats a delivery. X-Gitlab-Event-UUID is shared by the hooks that one event fires and by the
// events those cause, X-Gitlab-Webhook-UUID is new at every request: neither tells deliveries apart.
//
// GitLab disables a hook after several failures in a row, waits 10 s for an answer, cuts pushes to 20 commits
// and sends no hook at all for a push of more than three branches or tags (the instance's setting).
//
// https://docs.gitlab.com/user/project/integrations/webhook_events/
// https://docs.gitlab.com/user/project/integrations/webhooks/
// https://docs.gitlab.com/administration/system_hooks/
package gitlab

import (
	"context"
	"net/http"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// Kind is the manifest.
var Kind = bellhop.Define("gitlab", "GitLab: project, group and system hooks, by token or signed",
	Settings{}, build,
	bellhop.SourceTraits{
		Verification:   bellhop.ByToken,
		Credentials:    []string{headerToken, verify.HeaderWebhookSignature},
		Sign:           sign,
		EventHeader:    headerEvent,
		DeliveryHeader: headerIdempotency,
	})

// Settings of an endpoint: there are none.
type Settings struct{}

// The headers, in the case of net/http.
const (
	headerEvent       = "X-Gitlab-Event"
	headerToken       = "X-Gitlab-Token"
	headerIdempotency = "Idempotency-Key"
)

type source struct {
	// Either may be nil, not both.
	signature *verify.StandardWebhooks
	token     func(*bellhop.Request) error
}

func build(setup bellhop.Setup, _ Settings) (bellhop.Source, error) {
	var signing, tokens []bellhop.Secret
	for _, k := range setup.Keys {
		if verify.IsStandardWebhooksKey(k) {
			signing = append(signing, k)
		} else {
			tokens = append(tokens, k)
		}
	}
	src := &source{}
	if len(signing) > 0 {
		var err error
		if src.signature, err = verify.NewStandardWebhooks(signing); err != nil {
			return nil, err
		}
	}
	if len(tokens) > 0 || src.signature == nil {
		src.token = verify.Token(headerToken, tokens)
	}
	return src, nil
}

// Verification is the weaker one if keys of both forms are configured.
func (s *source) Verification() bellhop.Verification {
	if s.token == nil {
		return bellhop.BySignature
	}
	return bellhop.ByToken
}

// Verify holds the signature against the body, or the token against the keys.
func (s *source) Verify(_ context.Context, r *bellhop.Request) error {
	if s.signature != nil && (s.token == nil || len(r.Header[verify.HeaderWebhookSignature]) > 0) {
		return s.signature.Verify(r)
	}
	return s.token(r)
}

func sign(key bellhop.Secret, h http.Header, body []byte) {
	if verify.IsStandardWebhooksKey(key) {
		verify.SignStandardWebhooks(key, h, time.Now(), body)
		return
	}
	h.Set(headerToken, key.RevealString())
}
