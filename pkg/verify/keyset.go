package verify

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

const (
	// maxToken is the size of a token in bytes; those of issuers are of about one or two thousand.
	maxToken = 16 << 10
	// maxDocument is the size of each of an issuer's documents in bytes.
	maxDocument = 512 << 10
	// maxKeys is how many keys of an issuer are looked at; issuers publish two or three.
	maxKeys = 100
	// minRSA is the size of an RSA key in bits (RFC 7518, section 3.3).
	minRSA = 2048

	// How long keys are fresh, whatever the issuer says, and if it says nothing.
	minFresh, maxFresh, usualFresh = 5 * time.Minute, 24 * time.Hour, time.Hour
)

// algorithms are those that a token may be signed with: where the verifier's key is public. What is signed
// with a shared secret could be made by whoever verifies, and by whoever passes the public key off as one.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// parseToken reads a JSON Web Token, of which nothing is believed yet.
func parseToken(token string) (*jose.JSONWebSignature, error) {
	if len(token) > maxToken {
		return nil, bellhop.Reject(bellhop.ReasonTokenMalformed, "the token is larger than %v", bellhop.Size(maxToken))
	}
	t, err := jose.ParseSignedCompact(token, algorithms)
	if _, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); ok {
		return nil, bellhop.Reject(bellhop.ReasonTokenAlgorithm,
			"the token is not signed with the private half of a key pair; let the issuer sign with RS256, PS256, ES256 or EdDSA")
	}
	if err != nil || !canonical(token) {
		return nil, bellhop.Reject(bellhop.ReasonTokenMalformed, "the token is no signed JSON Web Token in its compact form")
	}
	// What must be understood is not, and a payload that is not base64 is not for tokens (RFC 7797, section 7).
	for _, name := range []jose.HeaderKey{"crit", "b64"} {
		if _, ok := t.Signatures[0].Protected.ExtraHeaders[name]; ok {
			return nil, bellhop.Reject(bellhop.ReasonTokenMalformed, "the token's header has %q, which is not understood", name)
		}
	}
	return t, nil
}

// canonical reports whether all parts are spelled in the one way that base64 has for them. Another spelling of
// a token that is believed is not that token.
func canonical(token string) bool {
	for part := range strings.SplitSeq(token, ".") {
		if _, err := base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			return false
		}
	}
	return !strings.ContainsAny(token, "\r\n") // which the decoder skips
}

// keySet are the keys that an issuer publishes, as far as they can verify tokens.
type keySet struct{ keys []jose.JSONWebKey }

// payload is the token's if one of the keys signed it. known: one of them has the token's key id, so that no
// newer set would tell more. A token without a key id may be signed with any.
func (s *keySet) payload(t *jose.JSONWebSignature) (payload []byte, known bool, err error) {
	header := t.Signatures[0].Protected
	for _, k := range s.keys {
		if header.KeyID != "" && header.KeyID != k.KeyID || !suits(&k, jose.SignatureAlgorithm(header.Algorithm)) {
			continue
		}
		if payload, err := t.Verify(k.Key); err == nil {
			return payload, true, nil
		}
		known = header.KeyID != ""
	}
	return nil, known, bellhop.Reject(bellhop.ReasonSignatureMismatch, "the token was not signed with the issuer's key that it names, or was changed since")
}

// suits reports whether the key is a public one for that algorithm: a token does not choose how its key is used.
func suits(k *jose.JSONWebKey, algorithm jose.SignatureAlgorithm) bool {
	if k.Algorithm != "" && k.Algorithm != string(algorithm) {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(string(algorithm), "RS") || strings.HasPrefix(string(algorithm), "PS")
	case *ecdsa.PublicKey:
		return key.Curve == map[jose.SignatureAlgorithm]elliptic.Curve{
			jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(), jose.ES512: elliptic.P521(),
		}[algorithm]
	case ed25519.PublicKey:
		return algorithm == jose.EdDSA
	}
	return false
}

// fetchKeys asks an issuer for its keys, and says how long they are fresh.
func fetchKeys(ctx context.Context, client *http.Client, issuer string) (*keySet, time.Duration, error) {
	discovery, _, err := get(ctx, client, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, 0, err
	}
	var found struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(discovery, &found); err != nil {
		return nil, 0, fmt.Errorf("reading its openid-configuration: %w", err)
	}
	if found.Issuer != issuer {
		return nil, 0, fmt.Errorf("reading its openid-configuration: it calls itself %.200q; write that to the letter if it is whom you mean", found.Issuer)
	}
	if err := mayHoldKeys(found.JWKSURI, issuer); err != nil {
		return nil, 0, fmt.Errorf("reading its openid-configuration: %w", err)
	}
	document, header, err := get(ctx, client, found.JWKSURI)
	if err != nil {
		return nil, 0, err
	}
	keys, err := decodeKeys(document)
	if err != nil {
		return nil, 0, fmt.Errorf("reading its keys: %w", err)
	}
	return keys, freshFor(header), nil
}

// mayHoldKeys: keys are fetched no less safely than the address of the keys was.
func mayHoldKeys(address, issuer string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return errors.New("jwks_uri is no URL")
	case u.Scheme != "https" && (u.Scheme != "http" || strings.HasPrefix(issuer, "https:")):
		return errors.New("jwks_uri is not https")
	}
	return nil
}

func get(ctx context.Context, client *http.Client, address string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("asking for %.200q: %w", address, err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err // says the address
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("asking for %.200q: the answer is %d %s", address, resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("reading %.200q: %w", address, err)
	case len(body) > maxDocument:
		return nil, nil, fmt.Errorf("reading %.200q: it is larger than %v", address, bellhop.Size(maxDocument))
	}
	return body, resp.Header, nil
}

// decodeKeys reads a JSON Web Key Set (RFC 7517, section 5). Keys of unknown types, for other uses, too weak
// or malformed are left out, as if they were not there.
func decodeKeys(document []byte) (*keySet, error) {
	var found struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	switch err := json.Unmarshal(document, &found); {
	case err != nil:
		return nil, err
	case found.Keys == nil:
		return nil, errors.New("there is no list of keys in it")
	case len(*found.Keys) > maxKeys:
		return nil, fmt.Errorf("there are more than %d of them", maxKeys)
	}
	set := &keySet{}
	for _, raw := range *found.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) != nil || !k.Valid() || k.Use != "" && k.Use != "sig" {
			continue
		}
		if key, ok := k.Key.(*rsa.PublicKey); ok && key.N.BitLen() < minRSA {
			continue
		}
		set.keys = append(set.keys, k)
	}
	return set, nil
}

// freshFor is how long an answer is fresh (RFC 9111, section 4.2), within our bounds.
func freshFor(h http.Header) time.Duration {
	fresh := usualFresh
	for directive := range strings.SplitSeq(strings.ToLower(strings.Join(h.Values("Cache-Control"), ",")), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch name {
		case "no-store", "no-cache":
			return minFresh
		case "max-age":
			seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 32)
			if err != nil {
				return minFresh // as stale
			}
			age, _ := strconv.ParseUint(h.Get("Age"), 10, 32)
			fresh = time.Duration(int64(seconds)-int64(age)) * time.Second
		}
	}
	return min(max(fresh, minFresh), maxFresh)
}
