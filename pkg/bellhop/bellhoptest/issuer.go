package bellhoptest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// IssuerKey is a key that an OIDC issuer signs tokens with.
type IssuerKey struct {
	// ID is the key id (kid); Algorithm that of jose for Key.
	ID        string
	Algorithm jose.SignatureAlgorithm
	Key       crypto.Signer
}

// NewIssuerKey makes a key for ES256.
func NewIssuerKey(id string) IssuerKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // the system has no randomness: no test can tell anything
	}
	return IssuerKey{id, jose.ES256, key}
}

// Token is a signed token with the claims. A key without an ID makes one without a key id.
func (k IssuerKey) Token(claims map[string]any) string {
	return SignToken(k.Algorithm, jose.JSONWebKey{Key: k.Key, KeyID: k.ID}, claims)
}

// SignToken is a token with the claims, signed with whatever key and algorithm jose takes.
func SignToken(algorithm jose.SignatureAlgorithm, key any, claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err) // of a test that claims what is no JSON
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, nil)
	if err != nil {
		panic(err) // of a test whose key is not for the algorithm
	}
	t, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	token, err := t.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return token
}

// Issuer serves the discovery document and the public keys of an OIDC issuer, under whatever URL it is asked.
type Issuer struct {
	mu   sync.Mutex
	keys []IssuerKey
}

// NewIssuer is an issuer that publishes the keys.
func NewIssuer(keys ...IssuerKey) *Issuer { return &Issuer{keys: keys} }

// Publish puts the keys in the place of those before.
func (i *Issuer) Publish(keys ...IssuerKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = keys
}

// ServeHTTP answers at /.well-known/openid-configuration and /keys, under any path.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	scheme := "https://"
	if r.TLS == nil && r.URL.Scheme != "https" {
		scheme = "http://"
	}
	var answer any
	path, discovery := strings.CutSuffix(r.URL.Path, "/.well-known/openid-configuration")
	switch self := scheme + r.Host + path; {
	case discovery:
		answer = map[string]string{"issuer": self, "jwks_uri": self + "/keys"}
	case strings.HasSuffix(path, "/keys"):
		set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
		i.mu.Lock()
		for _, k := range i.keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Key.Public(), KeyID: k.ID, Algorithm: string(k.Algorithm), Use: "sig"})
		}
		i.mu.Unlock()
		answer = set
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// A client that has gone needs no answer.
	_ = json.NewEncoder(w).Encode(answer)
}

// InMemory is a client whose requests a handler answers without a network.
func InMemory(h http.Handler) *http.Client { return &http.Client{Transport: inMemory{h}} }

type inMemory struct{ http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	if in.Host == "" {
		in.Host = in.URL.Host
	}
	if in.Body == nil {
		in.Body = io.NopCloser(bytes.NewReader(nil))
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, in)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// The key of the suites' issuer, and one of others that goes by the same id.
var (
	suiteKey     = sync.OnceValue(func() IssuerKey { return NewIssuerKey("suite") })
	strangersKey = sync.OnceValue(func() IssuerKey { return NewIssuerKey("suite") })
)

// caseToken is a token of the suite's issuer with the claims, in JSON. Unless the claims say otherwise it was
// issued a minute ago for an hour.
func caseToken(key IssuerKey, claims string, now time.Time) (string, error) {
	all := map[string]any{"iat": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix()}
	var given map[string]any
	if err := json.Unmarshal([]byte(claims), &given); err != nil {
		return "", err
	}
	maps.Copy(all, given)
	return key.Token(all), nil
}
