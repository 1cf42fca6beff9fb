// Package gitea receives the webhooks of Gitea and of its relatives Forgejo and Gogs.
//
// In a repository, an organisation or the administration, open "Settings", "Webhooks", "Add webhook": the URL is
// the endpoint's hook URL, the method POST, the content type application/json (the form type works, too), the
// secret the content of the endpoint's key. "Test delivery" sends a push that changes nothing, which is answered
// "pong".
//
// The sender signs with HMAC-SHA256, in bare hex in X-Gitea-Signature, X-Forgejo-Signature or X-Gogs-Signature, and
// behind "sha256=" in X-Hub-Signature-256. One is enough; of those that are there, all must be right. What is
// signed is the JSON, also of a form, which must hold nothing else. Without a secret the headers come empty, and
// the endpoint refuses them. SHA-1, in X-Hub-Signature, is not looked at.
//
// The event's type is X-Gitea-Event, such as push or pull_request_approved, its delivery id X-Gitea-Delivery, or
// what Forgejo and Gogs call them. The sender waits five seconds for an answer and repeats nothing by itself; a
// delivery that is repeated by hand has a new id.
//
// The authorization header that Gitea can send is no substitute for the secret; the endpoint's auth can ask for it
// beside.
//
// https://docs.gitea.com/usage/repository/webhooks
// https://forgejo.org/docs/latest/user/webhooks/
// https://github.com/gogs/docs-api/blob/master/Repositories/Webhooks.md
package gitea

import (
	"bytes"
	"context"
	"net/http"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// Kind is the manifest.
var Kind = bellhop.Define("gitea", "Gitea, Forgejo and Gogs: repository, organisation and system webhooks",
	Settings{}, build,
	bellhop.Aliases{"forgejo", "gogs"},
	bellhop.SourceTraits{
		Verification:   bellhop.BySignature,
		Credentials:    append([]string{headerHub, "X-Hub-Signature"}, signatures...),
		Sign:           sign,
		EventHeader:    events[0],
		DeliveryHeader: deliveries[0],
	})

// Settings of an endpoint: there are none.
type Settings struct{}

// The headers, in the case of net/http. Forgejo sends Gitea's beside its own, Gitea those of Gogs and GitHub.
var (
	signatures = []string{"X-Gitea-Signature", "X-Forgejo-Signature", "X-Gogs-Signature"} // bare hex
	events     = []string{"X-Gitea-Event", "X-Forgejo-Event", "X-Gogs-Event", "X-Github-Event"}
	deliveries = []string{"X-Gitea-Delivery", "X-Forgejo-Delivery", "X-Gogs-Delivery", "X-Github-Delivery"}
)

const headerHub = "X-Hub-Signature-256"

type source struct {
	mac *verify.HMAC
}

func build(setup bellhop.Setup, _ Settings) (bellhop.Source, error) {
	mac, err := verify.NewHMAC(verify.SHA256, setup.Keys)
	if err != nil {
		return nil, err
	}
	return &source{mac}, nil
}

// Verify holds every signature that is there against the JSON.
func (s *source) Verify(_ context.Context, r *bellhop.Request) error {
	signed := signed(r)
	found := false
	for _, name := range signatures {
		if len(r.Header[name]) == 0 {
			continue
		}
		found = true
		if err := s.mac.Hex(name, r.Header.Get(name), signed); err != nil {
			return err
		}
	}
	if len(r.Header[headerHub]) > 0 {
		return s.mac.Prefixed(headerHub, r.Header.Get(headerHub), signed)
	}
	if !found {
		return s.mac.Hex(signatures[0], "", signed)
	}
	return nil
}

// signed is the part of a request that its sender signs: the JSON, which has to come out of a form before it is
// believed. A form with anything beside it is not the sender's, and nothing of it is signed.
func signed(r *bellhop.Request) []byte {
	if payload.MediaType(r) != "application/x-www-form-urlencoded" {
		return r.Body
	}
	if bytes.IndexByte(r.Body, '&') >= 0 {
		return nil
	}
	return bellhop.FormPayload(r.Body)
}

func sign(key bellhop.Secret, h http.Header, body []byte) {
	h.Set(signatures[0], verify.SignHex(verify.SHA256, key, signed(&bellhop.Request{Header: h, Body: body})))
}

// first is the first of the named headers that says anything.
func first(h http.Header, names []string) string {
	for _, name := range names {
		if v := h.Get(name); v != "" {
			return v
		}
	}
	return ""
}
