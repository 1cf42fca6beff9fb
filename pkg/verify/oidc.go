package verify

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// leeway is how far the issuer's clock and ours may be apart.
const leeway = time.Minute

// OIDC believes requests that carry an ID token: Authorization: Bearer with a JSON Web Token that an OIDC
// issuer signed for one of our audiences. It says who sent a request, not that he may: look at the claims.
// https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
type OIDC struct {
	issuers   bellhop.Issuers
	issuer    string
	names     []string // that the issuer goes by in tokens
	audiences []string
}

// NewOIDC believes tokens of the issuer for one of the audiences.
func NewOIDC(issuers bellhop.Issuers, issuer string, audiences ...string) *OIDC {
	o := &OIDC{issuers: issuers, issuer: issuer, names: []string{issuer}, audiences: audiences}
	if issuer == "https://accounts.google.com" {
		// https://developers.google.com/identity/openid-connect/openid-connect#validatinganidtoken
		o.names = append(o.names, "accounts.google.com")
	}
	return o
}

// Verify returns the claims of the token that r carries, as encoding/json decodes them: signed by the issuer,
// for one of the audiences, and in force when r came, with a minute of leeway. What it refuses is a
// *bellhop.Rejection; other errors say that the issuer's keys are out of reach.
func (o *OIDC) Verify(ctx context.Context, r *bellhop.Request) (map[string]any, error) {
	token := bearer(r)
	if token == "" {
		return nil, bellhop.Reject(bellhop.ReasonTokenMissing, "no Authorization: Bearer with a token of %s", o.issuer)
	}
	if len(token) > maxToken {
		return nil, bellhop.Reject(bellhop.ReasonTokenMalformed, "the token is larger than %v", bellhop.Size(maxToken))
	}
	// First by its own words, so that a token that was not meant for us says so itself and costs the issuer
	// nothing; they are believed once they are verified.
	if _, err := o.claims(payloadOf(token), r.Time); err != nil {
		return nil, err
	}
	payload, err := o.issuers.Payload(ctx, o.issuer, token)
	if err != nil {
		return nil, err
	}
	return o.claims(payload, r.Time)
}

// TokenID is the identifier (jti) of the token of a request that Verify believed, empty if it has none.
func (o *OIDC) TokenID(r *bellhop.Request) string {
	var claims map[string]any
	if json.Unmarshal(payloadOf(bearer(r)), &claims) != nil {
		return ""
	}
	id, _ := claims["jti"].(string)
	return id
}

// claims checks the claims in a token's payload that are for everybody.
// https://www.rfc-editor.org/rfc/rfc7519#section-4.1
func (o *OIDC) claims(payload []byte, now time.Time) (map[string]any, error) {
	var claims map[string]any // and no struct: the names are to be met to the letter
	if json.Unmarshal(payload, &claims) != nil || claims == nil {
		return nil, bellhop.Reject(bellhop.ReasonTokenMalformed, "the token is no JSON Web Token")
	}
	if iss, _ := claims["iss"].(string); !slices.Contains(o.names, iss) {
		return nil, bellhop.Reject(bellhop.ReasonIssuerWrong, "the token's issuer (iss) is not %s, to the letter", o.issuer)
	}
	if !slices.ContainsFunc(texts(claims["aud"]), func(a string) bool { return slices.Contains(o.audiences, a) }) {
		return nil, bellhop.Reject(bellhop.ReasonAudienceWrong,
			"the token is not for %s (aud); let the sender ask for that audience, or configure the one that it asks for", strings.Join(o.audiences, " or "))
	}
	exp, ok := claims["exp"].(float64)
	if !ok {
		return nil, bellhop.Reject(bellhop.ReasonTokenMalformed, "the token does not say when it expires (exp)")
	}
	// Seconds since 1970 with fractions, which no number that a stranger writes can make overflow.
	at := float64(now.UnixMilli()) / 1000
	if at >= exp+leeway.Seconds() {
		return nil, bellhop.Reject(bellhop.ReasonTokenExpired, "the token has expired (exp); let the sender ask for a new one, and check both clocks")
	}
	for _, name := range []string{"nbf", "iat"} {
		claim, given := claims[name]
		from, ok := claim.(float64)
		switch {
		case given && !ok:
			return nil, bellhop.Reject(bellhop.ReasonTokenMalformed, "the token's %s is no time", name)
		case given && at < from-leeway.Seconds():
			return nil, bellhop.Reject(bellhop.ReasonTokenEarly, "the token is from the future (%s); check both clocks", name)
		}
	}
	return claims, nil
}

// texts are the texts of a claim that is one or a list of them.
func texts(claim any) []string {
	switch c := claim.(type) {
	case string:
		return []string{c}
	case []any:
		var list []string
		for _, v := range c {
			if s, ok := v.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}

// bearer is the token of a request, empty if it carries none.
func bearer(r *bellhop.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.Trim(token, " ")
}

// payloadOf is what a token says, which nobody has verified; nil if it is no token.
func payloadOf(token string) []byte {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	return payload
}

// CheckIssuer says what is wrong with the URL of an issuer that a setting holds. Plain http is a warning.
func CheckIssuer(path, issuer string) bellhop.Problems {
	u, err := url.Parse(issuer)
	switch {
	case issuer == "":
		return bellhop.Problems{bellhop.Wrong(path, "is missing: write the issuer's URL, such as https://token.actions.githubusercontent.com")}
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return bellhop.Problems{bellhop.Wrong(path, "is no URL: write the issuer as it calls itself, such as https://token.actions.githubusercontent.com")}
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return bellhop.Problems{bellhop.Wrong(path, "holds more than an issuer's URL does: write scheme, host and path only")}
	case u.Scheme == "http":
		return bellhop.Problems{bellhop.Doubtful(path, "is plain http: who sits on the way to the issuer can make keys, and tokens with them; write https if the issuer speaks it")}
	}
	return nil
}
