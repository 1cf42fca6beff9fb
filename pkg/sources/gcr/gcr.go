// Package gcr receives what happens in Google Artifact Registry and Container Registry, which tell it through
// Pub/Sub.
//
// In the registry's project there is, or you create, a Pub/Sub topic with the name gcr. Give it a subscription
// with delivery type "Push" and the endpoint's hook URL, and let it authenticate: tick "Enable authentication",
// choose a service account, and write an audience of your own. The endpoint holds the same two:
//
//	source: gcr
//	gcr: {audience: bellhop, email: pubsub-push@my-project.iam.gserviceaccount.com}
//
// Every request then carries a token that Google signed. It must be for that audience, of that service account,
// and not expired: anybody with an account at Google can have a token for any audience, so neither is enough
// without the other. Endpoints of flux-recv files may leave email out, as flux-recv knew none. Without the gcr
// block whoever knows the URL is believed.
//
// Payload wrapping may be on or off; off, tick "Write metadata", which brings the message's id. That is the
// delivery id: Pub/Sub delivers at least once. An image that is pushed or tagged is an image.push, one that is
// deleted or untagged an image.delete; the events' type is Google's word, INSERT or DELETE. What else is
// published to the topic is of kind other.
//
// Pub/Sub takes 2xx for delivered, and repeats everything else, slower and slower, for as long as the
// subscription retains messages (7 days, unless you say otherwise). So what is authentic but not understood is
// accepted, and only a body that says it is JSON and is not is refused (400). A token that is not believed is
// 401, and Google's keys out of reach are 503: such messages wait at Pub/Sub and come again once the
// configuration or the network is mended. Give the subscription a dead-letter topic if they should not.
//
// https://cloud.google.com/artifact-registry/docs/configure-notifications
// https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions
package gcr

import (
	"context"
	"net/http"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// Kind is the manifest.
var Kind = bellhop.Define("gcr", "Google Artifact Registry and Container Registry, through Pub/Sub push",
	Settings{}, build,
	bellhop.Aliases{"GoogleContainerRegistry"},
	bellhop.SourceTraits{
		Verification: bellhop.ByPath,
		Lenient:      true, // flux-recv knew no email
		Repeats:      true, // an unwrapped body says which image, and not when
		Sign:         func(bellhop.Secret, http.Header, []byte) {},
	})

// Settings of an endpoint.
type Settings struct {
	GCR *Token `yaml:"gcr" doc:"the token that the push subscription authenticates with; without it, whoever knows the URL is believed"`
}

// Token is what a push subscription's token must say.
type Token struct {
	Audience string `yaml:"audience" doc:"the audience that the subscription asks tokens for"`
	Email    string `yaml:"email" doc:"the subscription's service account"`
	Issuer   string `yaml:"issuer" doc:"who signs the tokens; https://accounts.google.com if left out"`
}

type source struct {
	oidc  *verify.OIDC // nil: known by the path
	email string       // empty: any
}

func build(setup bellhop.Setup, s Settings) (bellhop.Source, error) {
	if s.GCR == nil {
		return &source{}, bellhop.Problems{bellhop.Doubtful("gcr", "is missing, and whoever learns the URL is believed: let the push subscription authenticate, and write gcr: {audience: …, email: …} as it has them")}
	}
	if s.GCR.Issuer == "" {
		s.GCR.Issuer = "https://accounts.google.com"
	}
	problems := verify.CheckIssuer("gcr.issuer", s.GCR.Issuer)
	if s.GCR.Audience == "" {
		problems = append(problems, bellhop.Wrong("gcr.audience", "is missing: write the audience that the push subscription has"))
	}
	if s.GCR.Email == "" {
		const missing = "is missing, and everybody has a token of Google's for this audience who asks for it: write the service account that the push subscription has"
		if setup.Lenient {
			problems = append(problems, bellhop.Doubtful("gcr.email", missing))
		} else {
			problems = append(problems, bellhop.Wrong("gcr.email", missing))
		}
	}
	if problems.Err() != nil {
		return nil, problems
	}
	src := &source{verify.NewOIDC(setup.Issuers, s.GCR.Issuer, s.GCR.Audience), s.GCR.Email}
	if problems != nil {
		return src, problems
	}
	return src, nil
}

// Verification is by token if the endpoint says what it must be.
func (s *source) Verification() bellhop.Verification {
	if s.oidc == nil {
		return bellhop.ByPath
	}
	return bellhop.ByToken
}

// Verify looks at the token that Pub/Sub carries.
// https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions#validate_tokens
func (s *source) Verify(ctx context.Context, r *bellhop.Request) error {
	if s.oidc == nil {
		return nil
	}
	claims, err := s.oidc.Verify(ctx, r)
	if err != nil || s.email == "" {
		return err
	}
	if email, _ := claims["email"].(string); email != s.email {
		return bellhop.Reject(bellhop.ReasonClaimsDenied, "the token is not of %s (email); compare it with the service account of the push subscription", s.email)
	}
	if verified, _ := claims["email_verified"].(bool); !verified {
		return bellhop.Reject(bellhop.ReasonClaimsDenied, "the token's email is not verified by its issuer (email_verified)")
	}
	return nil
}
