package github_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config/strict"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/github"
)

var appKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func pkcs1() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(appKey())}))
}

func pkcs8(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(appKey())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// gitHub is as much of GitHub as an App meets, and as strict. It is reached without a network.
type gitHub struct {
	t    *testing.T
	root string // of the API
	// answer, if set, may answer in GitHub's place; nil leaves it to GitHub.
	answer func(r *http.Request) *http.Response

	mu      sync.Mutex
	good    map[string]time.Time // tokens, and when they expire
	fetched int                  // tokens
	looked  []string             // paths of installations that were looked up
	tried   int                  // statuses, refused ones included
	set     int                  // statuses
	seen    []string             // all that was ever secret
}

func (g *gitHub) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.answer != nil {
		g.seen = append(g.seen, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if resp := g.answer(r); resp != nil {
			return resp, nil
		}
	}
	if r.Header.Get("Accept") != "application/vnd.github+json" || r.Header.Get("X-GitHub-Api-Version") == "" {
		g.t.Errorf("%s %s: headers %v", r.Method, r.URL, r.Header)
	}
	path, ok := strings.CutPrefix(r.URL.String(), g.root)
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	g.seen = append(g.seen, token)
	switch {
	case !ok:
		g.t.Errorf("asked %s", r.URL)
		return answer(404, `{}`), nil
	case strings.HasSuffix(path, "/installation") && r.Method == http.MethodGet:
		g.proves(token)
		g.looked = append(g.looked, path)
		if strings.HasPrefix(path, "/users/") {
			return answer(200, `{"id":42}`), nil
		}
		return answer(404, `{"message":"Not Found"}`), nil
	case path == "/app/installations/42/access_tokens" && r.Method == http.MethodPost:
		g.proves(token)
		var body struct {
			Permissions map[string]string `json:"permissions"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.Permissions) != 1 || body.Permissions["statuses"] != "write" {
			g.t.Errorf("asks for %v, %v", body, err)
		}
		g.fetched++
		made := fmt.Sprintf("ghs_secret-token-%d", g.fetched)
		expires := time.Now().Add(time.Hour)
		if g.good == nil {
			g.good = map[string]time.Time{}
		}
		g.good[made] = expires
		g.seen = append(g.seen, made)
		return answer(201, fmt.Sprintf(`{"token":%q,"expires_at":%q}`, made, expires.UTC().Format(time.RFC3339))), nil
	case strings.HasPrefix(path, "/repos/owner/name/statuses/") && r.Method == http.MethodPost:
		g.tried++
		if body, err := io.ReadAll(r.Body); err != nil || !json.Valid(body) {
			g.t.Errorf("status %q, %v", body, err)
		}
		if !time.Now().Before(g.good[token]) {
			return answer(401, `{"message":"Bad credentials"}`), nil
		}
		g.set++
		return answer(201, `{"context":"x"}`), nil
	}
	g.t.Errorf("asked %s %s", r.Method, r.URL)
	return answer(404, `{}`), nil
}

// proves fails the test unless the token proves that the App asks.
// https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
func (g *gitHub) proves(token string) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		g.t.Errorf("%v", err)
		return
	}
	var c jwt.Claims
	if err := parsed.Claims(appKey().Public(), &c); err != nil {
		g.t.Errorf("%v", err)
		return
	}
	now := time.Now()
	issued, expires := c.IssuedAt.Time(), c.Expiry.Time()
	if c.Issuer != "12345" || issued.After(now.Add(-30*time.Second)) || !expires.After(now) || expires.After(now.Add(10*time.Minute)) {
		g.t.Errorf("claims %+v at %v", c, now)
	}
}

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

// app builds the provider of an App that is installed at the fake.
func app(t *testing.T, g *gitHub, address string, more map[string]string) bellhop.Provider {
	t.Helper()
	g.t = t
	if g.root == "" {
		g.root = "https://api.github.com"
	}
	client, err := httpsend.NewClient(httpsend.Options{})
	if err != nil {
		t.Fatal(err)
	}
	client.Transport = g
	secret := map[string][]byte{"address": []byte(address), "githubAppID": []byte("12345\n"), "githubAppPrivateKey": []byte(pkcs1())}
	for key, value := range more {
		secret[key] = []byte(value)
	}
	if more["githubAppInstallationOwner"] == "" {
		secret["githubAppInstallationID"] = []byte("42\n")
	}
	p, err := github.Kind.Build(bellhop.Setup{Name: "team", Client: client, Decode: func(into any) error {
		return strict.Decode("", "", nil, secret, into).Err()
	}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func event() *bellhop.Event {
	return &bellhop.Event{
		ID: "01JZ", Kind: bellhop.KindGitPush, Endpoint: "app", Title: "pushed", Commit: "731f7eaddfb6af01cb2173e18f0f75b0ba780ef1",
		CommitStatus: &bellhop.CommitStatus{},
	}
}

// hides fails the test if the error shows anything that was ever secret.
func (g *gitHub) hides(t *testing.T, err error) {
	t.Helper()
	for _, s := range append(g.seen, "MII") {
		if s != "" && strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), s) {
			t.Errorf("%v shows %q", err, s)
		}
	}
}

const repo = "https://github.com/owner/name"

func TestAppTokenIsKept(t *testing.T) {
	t.Parallel()
	appKey()
	synctest.Test(t, func(t *testing.T) {
		g := &gitHub{}
		p := app(t, g, repo, nil)
		send := func(n, fetched int) {
			t.Helper()
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					if err := p.Send(t.Context(), event()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if g.fetched != fetched {
				t.Errorf("fetched %d tokens, want %d", g.fetched, fetched)
			}
		}
		send(20, 1)
		time.Sleep(54 * time.Minute)
		send(1, 1)
		time.Sleep(time.Minute + time.Second) // the token is good for 5 minutes less a second
		send(20, 2)
		time.Sleep(24 * time.Hour)
		send(1, 3)
		if g.set != 42 || g.tried != 42 {
			t.Errorf("set %d statuses in %d tries, want 42", g.set, g.tried)
		}
	})
}

func TestAppTokenIsRefused(t *testing.T) {
	t.Parallel()
	g := &gitHub{}
	p := app(t, g, repo, nil)
	if err := p.Send(t.Context(), event()); err != nil {
		t.Fatal(err)
	}
	clear(g.good) // revoked
	if err := p.Send(t.Context(), event()); err != nil {
		t.Errorf("a revoked token: %v", err)
	}
	if g.fetched != 2 || g.tried != 3 {
		t.Errorf("fetched %d tokens for %d tries, want 2 for 3", g.fetched, g.tried)
	}
	g.answer = func(r *http.Request) *http.Response {
		if strings.Contains(r.URL.Path, "/statuses/") {
			g.tried++
			return answer(401, `{"message":"Bad credentials of `+r.Header.Get("Authorization")+`"}`)
		}
		return nil
	}
	err := p.Send(t.Context(), event())
	if !bellhop.IsPermanent(err) || g.fetched != 3 || g.tried != 5 {
		t.Errorf("always refused: %v; fetched %d tokens for %d tries, want 3 for 5", err, g.fetched, g.tried)
	}
	g.hides(t, err)
}

func TestAppOfAnOwner(t *testing.T) {
	t.Parallel()
	g := &gitHub{}
	p := app(t, g, repo, map[string]string{"githubAppInstallationOwner": "octo corp\n", "githubAppPrivateKey": pkcs8(t)})
	if err := p.Send(t.Context(), event()); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(g.looked, " "), "/orgs/octo%20corp/installation /users/octo%20corp/installation"; got != want {
		t.Errorf("looked at %s, want %s", got, want)
	}
}

func TestAppOfEnterprise(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "https://ghe.example.com", "https://ghe.example.com/api/v3/\n"} {
		g := &gitHub{root: "https://ghe.example.com/api/v3"}
		p := app(t, g, "git@ghe.example.com:owner/name.git", map[string]string{"githubAppBaseURL": base})
		if err := p.Send(t.Context(), event()); err != nil || g.set != 1 {
			t.Errorf("base URL %q: %v, %d set", base, err, g.set)
		}
	}
}

// TestAppRequestIsPure holds that showing a request asks nobody and shows no token.
func TestAppRequestIsPure(t *testing.T) {
	t.Parallel()
	g := &gitHub{}
	p := app(t, g, repo, nil)
	if err := p.Send(t.Context(), event()); err != nil {
		t.Fatal(err)
	}
	g.answer = func(r *http.Request) *http.Response { t.Errorf("asked %s", r.URL); return nil }
	req, err := p.(bellhop.Requester).Request(t.Context(), event())
	if err != nil || req.Header.Get("Authorization") != "" {
		t.Errorf("%v, %v", req.Header, err)
	}
	if s := p.(bellhop.Stateful).State(event()); s.Subject == "" {
		t.Error("the provider of an App is not stateful")
	}
}

// TestAppAnswers holds what the answers on the way to a token mean.
func TestAppAnswers(t *testing.T) {
	t.Parallel()
	limited := http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"1"}}
	for _, tc := range []struct {
		name   string
		status int
		header http.Header
		body   string
		want   string
		says   string
	}{
		{"the wrong key", 401, nil, `{"message":"A JSON web token could not be decoded"}`, "permanent", "githubAppPrivateKey"},
		{"suspended", 403, nil, `{"message":"This installation has been suspended"}`, "permanent", "suspended"},
		{"no installation", 404, nil, `{"message":"Not Found"}`, "permanent", "githubApp"},
		{"no permission", 422, nil, `{"message":"The permissions requested are not granted to this installation."}`, "permanent", "Commit statuses"},
		{"primary limit", 403, limited, `{"message":"API rate limit exceeded"}`, "paused", ""},
		{"secondary limit", 429, http.Header{"Retry-After": {"3"}}, ``, "paused", ""},
		{"down", 503, nil, `{}`, "retried", ""},
		{"half a success", 201, nil, `{"token":"ghs_leaking-token"`, "retried", "GitHub"},
		{"no token", 201, nil, `{"token":"","id":"","expires_at":"2099-01-01T00:00:00Z"}`, "retried", ""},
		{"a token of the past", 201, nil, `{"token":"ghs_leaking-token","expires_at":"2001-01-01T00:00:00Z"}`, "retried", "clock"},
		{"another page", 200, nil, `<html>ghs_leaking-token</html>`, "retried", "GitHub"},
		{"a redirect", 302, http.Header{"Location": {"https://elsewhere.example/"}}, ``, "permanent", "elsewhere.example"},
	} {
		for _, more := range []map[string]string{nil, {"githubAppInstallationOwner": "octocorp"}} {
			g := &gitHub{}
			p := app(t, g, repo, more)
			g.seen = append(g.seen, "ghs_leaking-token")
			g.answer = func(r *http.Request) *http.Response {
				if more != nil && !strings.HasSuffix(r.URL.Path, "/installation") {
					return nil
				}
				if more == nil && !strings.HasSuffix(r.URL.Path, "/access_tokens") {
					return nil
				}
				resp := answer(tc.status, tc.body)
				resp.Header = tc.header.Clone()
				if resp.Header == nil {
					resp.Header = http.Header{}
				}
				return resp
			}
			if more != nil && (tc.name == "suspended" || tc.name == "no permission" || strings.Contains(tc.body, "expires_at")) {
				continue // not of that request
			}
			err := p.Send(t.Context(), event())
			got := "retried"
			if _, paused := bellhop.RetryDelay(err); paused {
				got = "paused"
			} else if bellhop.IsPermanent(err) {
				got = "permanent"
			}
			if err == nil || got != tc.want || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "fetching credentials") {
				t.Errorf("%s, %v: %s (%v), want %s that says %q", tc.name, more, got, err, tc.want, tc.says)
			}
			if g.tried != 0 {
				t.Errorf("%s: a status was sent without a token", tc.name)
			}
			g.hides(t, err)
		}
	}
}

// TestAppGivesUpWaiting holds that a delivery which waits for another's token ends with its own context.
func TestAppGivesUpWaiting(t *testing.T) {
	t.Parallel()
	appKey()
	synctest.Test(t, func(t *testing.T) {
		g := &gitHub{}
		p := app(t, g, repo, nil)
		slow := make(chan struct{})
		g.answer = func(*http.Request) *http.Response { <-slow; return nil }
		first := make(chan error, 1)
		go func() { first <- p.Send(context.WithoutCancel(t.Context()), event()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		if err := p.Send(ctx, event()); !errors.Is(err, context.DeadlineExceeded) || bellhop.IsPermanent(err) {
			t.Errorf("waiting too long became %v", err)
		}
		stopping, stop := context.WithCancel(t.Context())
		stop()
		if err := p.Send(stopping, event()); !bellhop.IsStopping(err) {
			t.Errorf("stopping became %v", err)
		}
		close(slow)
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}
