// Package genericoidc receives what any sender posts with a token of its OIDC issuer: jobs of GitHub Actions,
// GitLab CI, Buildkite or CircleCI, service accounts of Google or of a Kubernetes cluster. Nobody keeps a secret.
//
// The endpoint says whose tokens are believed, for which audience, and what they must claim:
//
//	source: generic-oidc
//	oidc:
//	  issuer: https://token.actions.githubusercontent.com
//	  audience: bellhop
//	  rules:
//	  - claims.repository == "shop/web" && claims.ref == "refs/heads/main"
//
// All are required. An issuer signs tokens for everybody, and everybody may ask for any audience: a token alone
// says who sent a request, the rules say that he may. They are CEL over claims, in which every number is a
// double; all must be true, and one that has no answer, because a claim is not there, is not.
//
// The sender asks its issuer for a token with that audience and carries it. In a job of GitHub Actions that has
// the permission id-token: write:
//
//	token=$(curl -sH "Authorization: Bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" \
//	  "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=bellhop" | jq -r .value)
//	curl -H "Authorization: Bearer $token" -H 'Content-Type: application/json' --data-binary @body.json "$URL"
//
// Tokens are signed with an RSA, an elliptic curve or an Ed25519 key that the issuer publishes, and are in force,
// with a minute of leeway for the clocks.
//
// The body may be anything, and is read as that of generic-hmac is; whoever has a token can write what he likes
// there. A token may serve for several posts, but the same body under the same token (its jti) is one delivery,
// so that who records a request cannot repeat it. Tokens without a jti tell nothing of that.
//
// https://openid.net/specs/openid-connect-core-1_0.html#IDToken
package genericoidc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/freeform"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// Kind is the manifest.
var Kind = bellhop.Define("generic-oidc", "any sender that carries a token of an OIDC issuer, such as CI jobs",
	Settings{}, build,
	bellhop.Aliases{"GenericOIDC"},
	bellhop.SourceTraits{
		Verification: bellhop.ByToken,
		Repeats:      true,
		Sign:         func(bellhop.Secret, http.Header, []byte) {}, // only an issuer can
	})

// Settings of an endpoint.
type Settings struct {
	OIDC *Token `yaml:"oidc" doc:"whose tokens are believed, and what they must claim"`
}

// Token is what a sender's token must say.
type Token struct {
	Issuer   string   `yaml:"issuer" doc:"who signs the tokens: the URL that it calls itself, to the letter"`
	Audience string   `yaml:"audience" doc:"whom the tokens are for: what the sender asks its issuer for"`
	Rules    []string `yaml:"rules" doc:"CEL over claims; all must be true, and there is at least one"`
}

type source struct {
	oidc  *verify.OIDC
	rules []rule
}

type rule struct {
	path string
	bellhop.Expression
}

func build(setup bellhop.Setup, s Settings) (bellhop.Source, error) {
	if s.OIDC == nil {
		return nil, bellhop.Wrong("oidc", "is missing: write oidc: {issuer: …, audience: …, rules: […]}")
	}
	problems := verify.CheckIssuer("oidc.issuer", s.OIDC.Issuer)
	if s.OIDC.Audience == "" {
		problems = append(problems, bellhop.Wrong("oidc.audience", "is missing: write what the sender asks tokens for, such as bellhop"))
	}
	if len(s.OIDC.Rules) == 0 {
		problems = append(problems, bellhop.Wrong("oidc.rules", `there are none, and the issuer signs tokens for everybody: write what yours claims, such as claims.sub == "repo:shop/web:ref:refs/heads/main"`))
	}
	src := &source{}
	for i, expr := range s.OIDC.Rules {
		x, err := setup.Expression(expr, "claims")
		for _, p := range bellhop.AsProblems(err) {
			p.Path = fmt.Sprintf("oidc.rules[%d]", i)
			problems = append(problems, p)
		}
		src.rules = append(src.rules, rule{fmt.Sprintf("oidc.rules[%d]", i), x})
	}
	if problems.Err() != nil {
		return nil, problems
	}
	src.oidc = verify.NewOIDC(setup.Issuers, s.OIDC.Issuer, s.OIDC.Audience)
	if problems != nil {
		return src, problems
	}
	return src, nil
}

// Verify looks at the token, and then at what it claims.
func (s *source) Verify(ctx context.Context, r *bellhop.Request) error {
	claims, err := s.oidc.Verify(ctx, r)
	if err != nil {
		return err
	}
	for _, rule := range s.rules {
		ok, err := rule.Match(map[string]any{"claims": claims})
		if err != nil {
			return bellhop.Reject(bellhop.ReasonClaimsDenied, "%s has no answer for the token's claims: %v", rule.path, err)
		}
		if !ok {
			return bellhop.Reject(bellhop.ReasonClaimsDenied, "%s is false for the token's claims", rule.path)
		}
	}
	return nil
}

// Parse makes one event of every request.
func (s *source) Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	events, err := freeform.Parse(r)
	if id := s.oidc.TokenID(r); id != "" {
		digest := sha256.Sum256(r.Body)
		for i := range events {
			events[i].DeliveryID = id + "." + hex.EncodeToString(digest[:16])
		}
	}
	return events, err
}
