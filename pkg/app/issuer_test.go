package app_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
)

// TestTokensOfAnIssuer: an OIDC issuer on this machine for gcr and generic-oidc. Its keys are fetched once for both
// endpoints and outlive a reload and the issuer's own going away.
func TestTokensOfAnIssuer(t *testing.T) {
	t.Parallel()
	const gcrKey, ciKey = "0123456789abcdef-gcr", "0123456789abcdef-ci"
	signer := bellhoptest.NewIssuerKey("k1")
	issuer := bellhoptest.NewIssuer(signer)
	asked := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		issuer.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	config := `apiVersion: bellhop.dev/v1
kind: Config
endpoints:
- name: gcr
  source: gcr
  keyPath: gcr.key
  gcr: {audience: bellhop, email: push@project.iam.gserviceaccount.com, issuer: "` + server.URL + `"}
- name: ci
  source: generic-oidc
  keyPath: ci.key
  oidc:
    issuer: ` + server.URL + `
    audience: bellhop
    rules:
    - claims.repository == "shop/web"
providers:
- {name: log, type: log}
`
	p := start(t, map[string]string{"config/c.yaml": config, "secrets/gcr.key": gcrKey, "secrets/ci.key": ciKey})

	claims := func(more ...any) map[string]any {
		now := time.Now()
		all := map[string]any{"iss": server.URL, "aud": "bellhop", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
			"email": "push@project.iam.gserviceaccount.com", "email_verified": true, "repository": "shop/web"}
		for i := 0; i < len(more); i += 2 {
			all[more[i].(string)] = more[i+1]
		}
		return all
	}
	expect := func(what, key, token string, status int, reason string) {
		t.Helper()
		if a := p.bearing(key, token); a.status != status || a.Reason != reason {
			t.Errorf("%s: %+v, want %d %q", what, a, status, reason)
		}
	}
	expect("of the service account", gcrKey, signer.Token(claims()), 202, "")
	expect("of the repository", ciKey, signer.Token(claims()), 202, "")
	expect("for another audience", gcrKey, signer.Token(claims("aud", "other")), 401, "audience_mismatch")
	expect("of another account", gcrKey, signer.Token(claims("email", "x@y")), 401, "claims_denied")
	expect("of another repository", ciKey, signer.Token(claims("repository", "shop/api")), 401, "claims_denied")
	expect("of yesterday", ciKey, signer.Token(claims("exp", time.Now().Add(-24*time.Hour).Unix())), 401, "token_expired")
	if len(asked) != 2 {
		t.Errorf("the issuer was asked %d times, want once for its configuration and once for its keys", len(asked))
	}
	expect("of a stranger's key", ciKey, bellhoptest.NewIssuerKey("k2").Token(claims()), 401, "token_key_unknown")

	server.Close()
	mark := p.log.wait(t, 0, "configuration ready")
	files(t, p.dir, map[string]string{filepath.Join("config", "c.yaml"): strings.Replace(config, "name: log", "name: more", 1)})
	p.log.wait(t, mark, "configuration ready")
	expect("after a reload, the issuer being gone", gcrKey, signer.Token(claims()), 202, "")
	expect("after a reload, the issuer being gone", ciKey, signer.Token(claims()), 202, "")
}

// TestAnIssuerOutOfReach: who cannot be verified now is told to come back.
func TestAnIssuerOutOfReach(t *testing.T) {
	t.Parallel()
	const ciKey = "0123456789abcdef-ci"
	gone := httptest.NewServer(nil)
	gone.Close()
	p := start(t, map[string]string{"secrets/ci.key": ciKey, "config/c.yaml": `apiVersion: bellhop.dev/v1
kind: Config
endpoints:
- {name: ci, source: generic-oidc, keyPath: ci.key, oidc: {issuer: "` + gone.URL + `", audience: bellhop, rules: [claims.sub == "x"]}}
`})
	token := bellhoptest.NewIssuerKey("k1").Token(map[string]any{"iss": gone.URL, "aud": "bellhop", "sub": "x", "exp": time.Now().Add(time.Hour).Unix()})
	if a := p.bearing(ciKey, token); a.status != 503 || a.Reason != "verification_unavailable" || a.retryAfter == "" {
		t.Errorf("%+v", a)
	}
}

// bearing posts what Pub/Sub wraps around the INSERT of an image, with a token.
func (p *process) bearing(key, token string) answer {
	p.t.Helper()
	body := `{"message":{"data":"eyJhY3Rpb24iOiJJTlNFUlQiLCJ0YWciOiJnY3IuaW8vcC9hOjEifQ==","messageId":"` + token[len(token)-9:] + `"},"subscription":"s"}`
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.hooks()+"/hook/"+fingerprint(key), strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	a, err := p.ask(req)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}
