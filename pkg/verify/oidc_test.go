package verify_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// Keys of each type; RSA keys take their time.
var testKeys = sync.OnceValue(func() (k struct {
	rsa, weak  *rsa.PrivateKey
	p256, p384 *ecdsa.PrivateKey
	p521       *ecdsa.PrivateKey
	ed25519    ed25519.PrivateKey
}) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.weak, err = rsa.GenerateKey(rand.Reader, 1024) // to be refused
	must(err)
	k.p256, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	k.p384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	k.p521, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	must(err)
	_, k.ed25519, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return k
})

// publishing are the Issuers of one that publishes such a set of keys.
func publishing(t *testing.T, keys ...any) *verify.Issuers {
	t.Helper()
	set, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	issuers := verify.NewIssuers(bellhoptest.InMemory(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == keysPath {
			w.Write(set)
			return
		}
		bellhoptest.NewIssuer().ServeHTTP(w, r)
	})), nil)
	t.Cleanup(issuers.Close)
	return issuers
}

func public(key crypto.Signer, id, algorithm string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: key.Public(), KeyID: id, Algorithm: algorithm}
}

func private(key any, id string) jose.JSONWebKey { return jose.JSONWebKey{Key: key, KeyID: id} }

var testTokenClaims = map[string]any{"sub": "somebody"}

func TestTokenAlgorithms(t *testing.T) {
	t.Parallel()
	k := testKeys()
	signers := map[jose.SignatureAlgorithm]crypto.Signer{
		jose.RS256: k.rsa, jose.RS384: k.rsa, jose.RS512: k.rsa, jose.PS256: k.rsa, jose.PS384: k.rsa, jose.PS512: k.rsa,
		jose.ES256: k.p256, jose.ES384: k.p384, jose.ES512: k.p521, jose.EdDSA: k.ed25519,
	}
	for algorithm, key := range signers {
		token := bellhoptest.SignToken(algorithm, private(key, "1"), testTokenClaims)
		for _, named := range []string{"", string(algorithm)} {
			payload, err := publishing(t, public(key, "1", named)).Payload(t.Context(), issuerURL, token)
			if err != nil || string(payload) != `{"sub":"somebody"}` {
				t.Errorf("%s, key for %q: payload %s, error %v", algorithm, named, payload, err)
			}
		}
		// A key that its issuer has for another algorithm, and those of the other types.
		other := "RS256"
		if algorithm == jose.RS256 {
			other = "PS256"
		}
		_, err := publishing(t, public(key, "1", other)).Payload(t.Context(), issuerURL, token)
		wants(t, err, bellhop.ReasonTokenKeyUnknown)
		for _, stranger := range signers {
			if theirs := public(stranger, "1", ""); mustJSON(theirs) != mustJSON(public(key, "1", "")) {
				_, err := publishing(t, theirs).Payload(t.Context(), issuerURL, token)
				wants(t, err, bellhop.ReasonTokenKeyUnknown)
			}
		}
	}
}

func TestTokenKeys(t *testing.T) {
	t.Parallel()
	k := testKeys()
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed := func(id string) string {
		return bellhoptest.SignToken(jose.EdDSA, private(k.ed25519, id), testTokenClaims)
	}
	encryption := public(k.ed25519, "1", "")
	encryption.Use = "enc"
	signature := public(k.ed25519, "1", "")
	signature.Use = "sig"
	const unknown = bellhop.ReasonTokenKeyUnknown
	for name, c := range map[string]struct {
		token  string
		keys   []any
		reason string
	}{
		"one of two":                    {ed("2"), []any{public(other, "1", ""), public(k.ed25519, "2", "")}, ""},
		"same id twice":                 {ed("1"), []any{public(other, "1", ""), public(k.ed25519, "1", "")}, ""},
		"no id in the token":            {ed(""), []any{public(other, "1", ""), public(k.ed25519, "2", "")}, ""},
		"no id in either":               {ed(""), []any{public(k.ed25519, "", "")}, ""},
		"among oddities":                {ed("1"), []any{nil, 1, "x", map[string]any{}, map[string]any{"kty": "OKP"}, map[string]any{"kty": "new"}, public(k.ed25519, "1", "")}, ""},
		"for signatures":                {ed("1"), []any{signature}, ""},
		"for encryption":                {ed("1"), []any{encryption}, unknown},
		"no id in the key":              {ed("1"), []any{public(k.ed25519, "", "")}, unknown},
		"another id":                    {ed("1"), []any{public(k.ed25519, "2", "")}, unknown},
		"id of another case":            {ed("a"), []any{public(k.ed25519, "A", "")}, unknown},
		"none":                          {ed("1"), []any{}, unknown},
		"another's, with its id":        {ed("1"), []any{public(other, "1", "")}, bellhop.ReasonSignatureMismatch},
		"another's, without id":         {ed(""), []any{public(other, "1", "")}, unknown},
		"published with its other half": {ed("1"), []any{private(k.ed25519, "1")}, unknown},
		"too small":                     {bellhoptest.SignToken(jose.RS256, private(k.weak, "1"), testTokenClaims), []any{public(k.weak, "1", "")}, unknown},
	} {
		_, err := publishing(t, c.keys...).Payload(t.Context(), issuerURL, c.token)
		if (err == nil) != (c.reason == "") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			wants(t, err, c.reason, strings.Split(c.token, ".")...)
		}
	}
}

// The classics: no signature at all, and one made with what everybody knows.
func TestTokenForgeries(t *testing.T) {
	t.Parallel()
	k := testKeys()
	published := public(k.rsa, "1", "")
	spki, err := x509.MarshalPKIXPublicKey(k.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	pkix := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	pkcs1 := x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey)
	jwk, err := json.Marshal(published)
	if err != nil {
		t.Fatal(err)
	}
	shared := bytes.Repeat([]byte("shared"), 8)
	issuers := publishing(t, published, jose.JSONWebKey{Key: shared, KeyID: "shared"}, public(k.ed25519, "ed", ""))

	const algorithm, malformed = bellhop.ReasonTokenAlgorithm, bellhop.ReasonTokenMalformed
	part := base64.RawURLEncoding.EncodeToString
	none := func(alg string) string {
		return part([]byte(`{"alg":"`+alg+`","kid":"1"}`)) + "." + part([]byte(`{"sub":"somebody"}`)) + "."
	}
	// signed is a token with any header, truly signed.
	signed := func(header string) string {
		input := part([]byte(header)) + "." + part([]byte(`{"sub":"somebody"}`))
		return input + "." + part(ed25519.Sign(k.ed25519, []byte(input)))
	}
	good := signed(`{"alg":"EdDSA","kid":"ed"}`)
	if _, err := issuers.Payload(t.Context(), issuerURL, good); err != nil {
		t.Fatalf("what the forgeries are made of is not believed: %v", err)
	}
	parts := strings.Split(good, ".")
	hmac := func(alg jose.SignatureAlgorithm, secret []byte, id string) string {
		return bellhoptest.SignToken(alg, private(secret, id), testTokenClaims)
	}
	for name, c := range map[string]struct{ token, reason string }{
		"none":                        {none("none"), algorithm},
		"None":                        {none("None"), algorithm},
		"none, with a signature":      {none("none") + parts[2], algorithm},
		"no algorithm":                {signed(`{"kid":"ed"}`), algorithm},
		"algorithm of another case":   {signed(`{"alg":"eddsa","kid":"ed"}`), algorithm},
		"HS256 over PEM":              {hmac(jose.HS256, pkix, "1"), algorithm},
		"HS256 over DER":              {hmac(jose.HS256, spki, "1"), algorithm},
		"HS512 over PKCS 1":           {hmac(jose.HS512, pkcs1, "1"), algorithm},
		"HS384 over the JWK":          {hmac(jose.HS384, jwk, "1"), algorithm},
		"HS256 over the modulus":      {hmac(jose.HS256, k.rsa.N.Bytes(), "1"), algorithm},
		"HS256, a published secret":   {hmac(jose.HS256, shared, "shared"), algorithm},
		"RS256, no signature":         {none("RS256"), bellhop.ReasonSignatureMismatch},
		"a key of its own":            {signed(`{"alg":"EdDSA","kid":"x","jwk":` + mustJSON(public(k.ed25519, "x", "")) + `}`), bellhop.ReasonTokenKeyUnknown},
		"an address of its own":       {signed(`{"alg":"EdDSA","kid":"x","jku":"https://evil.example/keys"}`), bellhop.ReasonTokenKeyUnknown},
		"critical":                    {signed(`{"alg":"EdDSA","kid":"ed","crit":["exp"],"exp":1}`), malformed},
		"critical, unencoded":         {signed(`{"alg":"EdDSA","kid":"ed","crit":["b64"],"b64":true}`), malformed},
		"encoded":                     {signed(`{"alg":"EdDSA","kid":"ed","b64":true}`), malformed},
		"payload of another":          {parts[0] + "." + part([]byte(`{"sub":"root"}`)) + "." + parts[2], bellhop.ReasonSignatureMismatch},
		"empty":                       {"", malformed},
		"dots":                        {"..", algorithm},
		"two parts":                   {parts[0] + "." + parts[1], malformed},
		"four parts":                  {good + ".", malformed},
		"encrypted":                   {good + ".a.b", malformed},
		"padded":                      {good + "==", malformed},
		"white space":                 {" " + good, malformed},
		"line break":                  {good + "\n", malformed},
		"line break inside":           {good[:10] + "\n" + good[10:], malformed},
		"no base64":                   {parts[0] + "." + parts[1] + ".%", malformed},
		"header, no JSON":             {part([]byte("x")) + "." + parts[1] + "." + parts[2], malformed},
		"as JSON":                     {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, malformed},
		"signature, another spelling": {good[:len(good)-1] + string(good[len(good)-1]+1), malformed},
		"huge":                        {good + strings.Repeat("A", 16<<10), malformed},
		"at the limit":                {strings.Repeat("A", 16<<10), malformed},
	} {
		_, err := issuers.Payload(t.Context(), issuerURL, c.token)
		if err == nil {
			t.Errorf("%s: believed", name)
			continue
		}
		wants(t, err, c.reason, strings.Split(c.token, ".")...)
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

var tokenTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func tokenRequest(authorization string) *bellhop.Request {
	return &bellhop.Request{Header: http.Header{"Authorization": {authorization}}, Time: tokenTime}
}

func TestOIDC(t *testing.T) {
	t.Parallel()
	key := bellhoptest.NewIssuerKey("1")
	issuers := verify.NewIssuers(bellhoptest.InMemory(bellhoptest.NewIssuer(key)), nil)
	defer issuers.Close()
	now := tokenTime.Unix()
	claims := func(with map[string]any) map[string]any {
		all := map[string]any{"iss": issuerURL, "aud": "us", "exp": now + 3600, "jti": "7"}
		maps.Copy(all, with)
		for name, v := range with {
			if v == nil {
				delete(all, name)
			}
		}
		return all
	}
	type more = map[string]any
	const malformed = bellhop.ReasonTokenMalformed
	for name, c := range map[string]struct {
		with   more
		reason string
	}{
		"plain":                      {nil, ""},
		"one audience of several":    {more{"aud": []any{"them", "us"}}, ""},
		"the other audience":         {more{"aud": "we"}, ""},
		"expired within the leeway":  {more{"exp": now - 59}, ""},
		"fractions":                  {more{"exp": float64(now) - 59.5, "iat": float64(now) + 59.5}, ""},
		"from the near future":       {more{"nbf": now + 60, "iat": now + 60}, ""},
		"for a very long time":       {more{"exp": 1e300}, ""},
		"another issuer":             {more{"iss": "https://issuer.example.evil"}, bellhop.ReasonIssuerWrong},
		"issuer without scheme":      {more{"iss": "issuer.example"}, bellhop.ReasonIssuerWrong},
		"issuers":                    {more{"iss": []any{issuerURL}}, bellhop.ReasonIssuerWrong},
		"no issuer":                  {more{"iss": nil}, bellhop.ReasonIssuerWrong},
		"issuer of another spelling": {more{"iss": nil, "ISS": issuerURL}, bellhop.ReasonIssuerWrong},
		"another audience":           {more{"aud": "them"}, bellhop.ReasonAudienceWrong},
		"a part of the audience":     {more{"aud": "u"}, bellhop.ReasonAudienceWrong},
		"no audience":                {more{"aud": nil}, bellhop.ReasonAudienceWrong},
		"empty audiences":            {more{"aud": []any{}}, bellhop.ReasonAudienceWrong},
		"audiences of other types":   {more{"aud": []any{1, nil, []any{"us"}}}, bellhop.ReasonAudienceWrong},
		"audience as an object":      {more{"aud": more{"us": true}}, bellhop.ReasonAudienceWrong},
		"expired":                    {more{"exp": now - 60}, bellhop.ReasonTokenExpired},
		"expired long ago":           {more{"exp": -1e300}, bellhop.ReasonTokenExpired},
		"no expiry":                  {more{"exp": nil}, malformed},
		"expiry as text":             {more{"exp": "9999999999"}, malformed},
		"not yet":                    {more{"nbf": now + 61}, bellhop.ReasonTokenEarly},
		"not yet, as text":           {more{"nbf": "0"}, malformed},
		"issued in the future":       {more{"iat": now + 61}, bellhop.ReasonTokenEarly},
		"issued in milliseconds":     {more{"iat": now * 1000}, bellhop.ReasonTokenEarly},
	} {
		token := key.Token(claims(c.with))
		o := verify.NewOIDC(issuers, issuerURL, "us", "we")
		got, err := o.Verify(t.Context(), tokenRequest("Bearer "+token))
		if (err == nil) != (c.reason == "") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			wants(t, err, c.reason, strings.Split(token, ".")...)
		} else if got["jti"] != "7" {
			t.Errorf("%s: claims %v", name, got)
		}
	}
}

func TestOIDCHeader(t *testing.T) {
	t.Parallel()
	key := bellhoptest.NewIssuerKey("1")
	issuers := verify.NewIssuers(bellhoptest.InMemory(bellhoptest.NewIssuer(key)), nil)
	defer issuers.Close()
	o := verify.NewOIDC(issuers, issuerURL, "us")
	claims := map[string]any{"iss": issuerURL, "aud": "us", "exp": tokenTime.Unix() + 60, "jti": "7"}
	token := key.Token(claims)
	for authorization, reason := range map[string]string{
		"Bearer " + token:   "",
		"bearer " + token:   "",
		"BEARER   " + token: "",
		"":                  bellhop.ReasonTokenMissing,
		"Bearer":            bellhop.ReasonTokenMissing,
		"Bearer ":           bellhop.ReasonTokenMissing,
		token:               bellhop.ReasonTokenMissing,
		"Basic " + token:    bellhop.ReasonTokenMissing,
		"Bearer, " + token:  bellhop.ReasonTokenMissing,
		"Bearer a b":        bellhop.ReasonTokenMalformed,
		"Bearer null":       bellhop.ReasonTokenMalformed,
		"Bearer a.bnVsbA.c": bellhop.ReasonTokenMalformed, // null
		"Bearer a.W10.c":    bellhop.ReasonTokenMalformed, // []
		"Bearer a.e30.c":    bellhop.ReasonIssuerWrong,    // {}
		"Bearer " + token + "." + strings.Repeat("A", 16<<10): bellhop.ReasonTokenMalformed,
	} {
		_, err := o.Verify(t.Context(), tokenRequest(authorization))
		if (err == nil) != (reason == "") {
			t.Errorf("%.50s: %v", authorization, err)
		}
		if err != nil {
			wants(t, err, reason, token)
		}
	}
	if id := o.TokenID(tokenRequest("Bearer " + token)); id != "7" {
		t.Errorf("the token's id is %q", id)
	}
	delete(claims, "jti")
	if id := o.TokenID(tokenRequest("Bearer " + key.Token(claims))); id != "" {
		t.Errorf("a token without an id has %q", id)
	}
}

// Google goes by two names, and nobody else by Google's.
func TestOIDCGoogle(t *testing.T) {
	t.Parallel()
	key := bellhoptest.NewIssuerKey("1")
	issuers := verify.NewIssuers(bellhoptest.InMemory(bellhoptest.NewIssuer(key)), nil)
	defer issuers.Close()
	for _, c := range []struct {
		issuer, iss string
		believed    bool
	}{
		{"https://accounts.google.com", "https://accounts.google.com", true},
		{"https://accounts.google.com", "accounts.google.com", true},
		{"https://accounts.google.com", "http://accounts.google.com", false},
		{issuerURL, "accounts.google.com", false},
	} {
		token := key.Token(map[string]any{"iss": c.iss, "aud": "us", "exp": tokenTime.Unix() + 60})
		_, err := verify.NewOIDC(issuers, c.issuer, "us").Verify(t.Context(), tokenRequest("Bearer "+token))
		if (err == nil) != c.believed {
			t.Errorf("%s for %s: %v", c.iss, c.issuer, err)
		}
	}
}

// A token that says itself that it is not for us costs the issuer nothing.
func TestOIDCAsksForNothingInVain(t *testing.T) {
	t.Parallel()
	key := bellhoptest.NewIssuerKey("1")
	network := newNetwork(bellhoptest.NewIssuer(key))
	issuers := verify.NewIssuers(&http.Client{Transport: network}, nil)
	defer issuers.Close()
	o := verify.NewOIDC(issuers, issuerURL, "us")
	for _, claims := range []map[string]any{
		{"iss": "https://another.example", "aud": "us", "exp": tokenTime.Unix() + 60},
		{"iss": issuerURL, "aud": "them", "exp": tokenTime.Unix() + 60},
		{"iss": issuerURL, "aud": "us", "exp": tokenTime.Unix() - 60},
	} {
		if _, err := o.Verify(t.Context(), tokenRequest("Bearer "+key.Token(claims))); err == nil {
			t.Errorf("believed: %v", claims)
		}
	}
	if len(network.asked) != 0 {
		t.Errorf("asked %v", network.asked)
	}
}

func TestCheckIssuer(t *testing.T) {
	t.Parallel()
	for issuer, fatal := range map[string]bool{
		"https://issuer.example": false, "https://issuer.example:8443/a/b/": false, "http://127.0.0.1:1": false,
		"": true, "issuer.example": true, "ftp://issuer.example": true, "https://": true, "https://a b": true, "::": true,
		"https://issuer.example?x": true, "https://issuer.example?": true, "https://issuer.example#x": true, "https://u:p@issuer.example": true,
	} {
		ps := verify.CheckIssuer("oidc.issuer", issuer)
		if (ps.Err() != nil) != fatal {
			t.Errorf("%q: %v", issuer, ps)
		}
		if strings.HasPrefix(issuer, "http:") && len(ps.Warnings()) != 1 {
			t.Errorf("%q: no warning", issuer)
		}
	}
}

// FuzzToken looks for a token that is believed without the key.
func FuzzToken(f *testing.F) {
	key, nobodys := bellhoptest.NewIssuerKey("1"), bellhoptest.NewIssuerKey("1")
	issuers := verify.NewIssuers(bellhoptest.InMemory(bellhoptest.NewIssuer(nobodys)), nil)
	o := verify.NewOIDC(issuers, issuerURL, "us")
	f.Add(key.Token(map[string]any{"iss": issuerURL, "aud": "us", "exp": tokenTime.Unix() + 60}))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		for _, err := range []error{
			func() error { _, err := issuers.Payload(t.Context(), issuerURL, token); return err }(),
			func() error { _, err := o.Verify(t.Context(), tokenRequest("Bearer "+token)); return err }(),
		} {
			if err == nil {
				t.Fatal("believed")
			}
			rejection, ok := errors.AsType[*bellhop.Rejection](err)
			if !ok || len(token) > 20 && strings.Contains(rejection.Detail, token) {
				t.Errorf("no rejection, or one that holds the token: %v", err)
			}
		}
	})
}

// FuzzKeySet looks for a set of keys that breaks the reading of it.
func FuzzKeySet(f *testing.F) {
	key := bellhoptest.NewIssuerKey("1")
	token := key.Token(nil)
	f.Add(`{"keys":[` + mustJSON(public(key.Key, "1", "ES256")) + `]}`)
	f.Add(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"OKP","crv":"Ed25519","x":"AA"},{"kty":"oct","k":"AA"}]}`)
	f.Add(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","x5c":["AA"]}]}`)
	f.Fuzz(func(t *testing.T, set string) {
		issuers := verify.NewIssuers(bellhoptest.InMemory(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == keysPath {
				w.Write([]byte(set))
				return
			}
			bellhoptest.NewIssuer().ServeHTTP(w, r)
		})), nil)
		defer issuers.Close()
		if _, err := issuers.Payload(t.Context(), issuerURL, token); err != nil && strings.Contains(err.Error(), token) {
			t.Error("the token is in the error")
		}
	})
}
