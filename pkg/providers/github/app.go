package github

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/commitstatus"
)

// isApp reports whether any key of an App is given.
func (s Settings) isApp() bool {
	return slices.ContainsFunc([]bellhop.Secret{s.AppID, s.InstallationID, s.InstallationOwner, s.PrivateKey, s.BaseURL},
		func(s bellhop.Secret) bool { return s.RevealString() != "" })
}

// app is an installation of a GitHub App, with its token while it is good.
type app struct {
	api                 *url.URL
	id                  string
	installation, owner string // one of them
	signer              jose.Signer

	// fetching holds one value while nobody fetches: others wait for the token instead of fetching theirs.
	fetching chan struct{}
	mu       sync.Mutex
	token    string
	expires  time.Time
}

// newApp reads the keys of an App. api is that of the address, nil if the address is wrong.
func newApp(s Settings, api *url.URL) (*app, bellhop.Problems) {
	var problems bellhop.Problems
	wrong := func(key, format string, args ...any) {
		problems = append(problems, bellhop.Wrong(key, format, args...))
	}
	a := &app{
		api: api, id: s.AppID.RevealString(), installation: s.InstallationID.RevealString(),
		owner: s.InstallationOwner.RevealString(), fetching: make(chan struct{}, 1),
	}
	if !s.Token.Empty() {
		wrong("token", "is there beside the keys of a GitHub App: write one or the other")
	}
	if a.id == "" {
		wrong("githubAppID", "is missing: write the App's ID beside its other keys in the Secret")
	}
	switch {
	case a.installation == "" && a.owner == "":
		wrong("githubAppInstallationID", "is missing: write the installation's number, or under githubAppInstallationOwner who installed the App")
	case a.installation != "" && a.owner != "":
		wrong("githubAppInstallationID", "is there beside githubAppInstallationOwner: write one or the other")
	case strings.Trim(a.installation, "0123456789") != "":
		wrong("githubAppInstallationID", "is no number: write the one at the end of the installation's URL")
	}
	if key, err := readKey(s.PrivateKey); err != nil {
		wrong("githubAppPrivateKey", "%v: write the App's private key as it was downloaded, PEM", err)
	} else if a.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT")); err != nil {
		wrong("githubAppPrivateKey", "cannot sign")
	}
	if s.BaseURL.RevealString() != "" {
		problems = append(problems, a.moveTo(s.BaseURL)...)
	}
	return a, problems
}

// moveTo uses the API that an administrator names, which must be at the host of the address: a token for one host
// is of no use at another, and must not get there.
func (a *app) moveTo(base bellhop.Secret) bellhop.Problems {
	const key = "githubAppBaseURL"
	u, problems := httpsend.AddressSuchAs(key, base, "https://github.example.com/api/v3")
	switch {
	case u == nil || a.api == nil:
		return problems
	case strings.Trim(u.Path, "/") == "" || u.Hostname() == "api.github.com":
		u = apiOf(&url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)})
	}
	if !strings.EqualFold(u.Host, a.api.Host) {
		return append(problems, bellhop.Wrong(key, "is not at the host of the address: leave it out, or write the API of the same host"))
	}
	u.User, u.RawQuery = nil, ""
	a.api = u
	return problems
}

func readKey(secret bellhop.Secret) (*rsa.PrivateKey, error) {
	if secret.RevealString() == "" {
		return nil, errors.New("is missing")
	}
	block, _ := pem.Decode(secret.Reveal())
	if block == nil {
		return nil, errors.New("is not PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, errors.New("is no RSA private key")
	}
	return key, nil
}

// appProvider is a provider that an App's token is fetched for.
type appProvider struct {
	provider
	*app
}

// The token is fetched anew so long before it expires that one which is put into a request is still good when
// that arrives. Tokens are good for an hour.
const (
	renewBefore = 5 * time.Minute
	bearer      = "Bearer "
)

// Authorize implements httpsend.Authorizer.
func (a *app) Authorize(ctx context.Context, req *http.Request, exchange httpsend.Exchange) error {
	select {
	case a.fetching <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-a.fetching }()
	token := a.good()
	if token == "" {
		var err error
		if token, err = a.fetch(ctx, exchange); err != nil {
			return err
		}
	}
	req.Header.Set("Authorization", bearer+token)
	return nil
}

// good is the token while it is good.
func (a *app) good() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Now().After(a.expires.Add(-renewBefore)) {
		return ""
	}
	return a.token
}

// Refused implements httpsend.Authorizer: it forgets the token, if it is still the one of the request.
func (a *app) Refused(req *http.Request) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if req.Header.Get("Authorization") == bearer+a.token {
		a.token, a.expires = "", time.Time{}
	}
	return true
}

var tokenAPI = commitstatus.API{Name: "GitHub", Created: "token", Advice: map[int]string{
	http.StatusUnauthorized:        "check githubAppID and githubAppPrivateKey, and this machine's clock",
	http.StatusForbidden:           "the App is suspended or was not given what it asks for: see its installation",
	http.StatusNotFound:            "no such installation of the App: check githubAppInstallationID and githubAppID",
	http.StatusUnprocessableEntity: "give the App the permission Commit statuses: write, and accept it in the installation",
}}

// fetch makes a token of the installation. It can do no more than set statuses.
// https://docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app
func (a *app) fetch(ctx context.Context, exchange httpsend.Exchange) (string, error) {
	signed, err := a.sign(time.Now())
	if err != nil {
		return "", err
	}
	installation := a.installation
	if installation == "" {
		if installation, err = a.find(ctx, signed, exchange); err != nil {
			return "", err
		}
	}
	req, err := httpsend.PostJSON(ctx, a.api.JoinPath("app/installations", installation, "access_tokens"),
		map[string]any{"permissions": map[string]string{"statuses": "write"}})
	if err != nil {
		return "", err
	}
	resp, body, err := a.ask(req, signed, exchange) //nolint:bodyclose // exchange closes it
	if err != nil {
		return "", err
	}
	var answer struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	if err := judgeToken(tokenAPI, resp, body); err != nil {
		return "", err
	}
	if json.Unmarshal(body, &answer) != nil || answer.Token == "" || !time.Now().Before(answer.ExpiresAt) {
		return "", errors.New("the answer holds no token that is good now: check this machine's clock")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token, a.expires = answer.Token, answer.ExpiresAt
	return answer.Token, nil
}

// find is the number of the owner's installation: an organisation's, else a user's.
// https://docs.github.com/rest/apps/apps#get-an-organization-installation-for-the-authenticated-app
func (a *app) find(ctx context.Context, signed string, exchange httpsend.Exchange) (string, error) {
	api := commitstatus.API{Name: "GitHub", Created: "id", Advice: map[int]string{
		http.StatusUnauthorized: tokenAPI.Advice[http.StatusUnauthorized],
		http.StatusNotFound:     "githubAppInstallationOwner has not installed the App",
	}}
	var err error
	for _, kind := range []string{"orgs", "users"} {
		to := commitstatus.Place{Base: a.api}.URL(kind, a.owner, "installation")
		req, rerr := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), http.NoBody)
		if rerr != nil {
			return "", errors.New("githubAppInstallationOwner makes no URL")
		}
		resp, body, rerr := a.ask(req, signed, exchange) //nolint:bodyclose // exchange closes it
		if rerr != nil {
			return "", rerr
		}
		if err = judgeToken(api, resp, body); resp.StatusCode == http.StatusNotFound {
			continue
		}
		var answer struct {
			ID json.Number `json:"id"`
		}
		if err == nil && (json.Unmarshal(body, &answer) != nil || answer.ID == "") {
			err = errors.New("the answer names no installation")
		}
		return answer.ID.String(), err
	}
	return "", err
}

// ask sends a request as the App itself.
func (a *app) ask(req *http.Request, signed string, exchange httpsend.Exchange) (*http.Response, []byte, error) {
	setHeaders(req)
	req.Header.Set("Authorization", bearer+signed)
	return exchange(req)
}

// judgeToken classes an answer on the way to a token. It quotes no success: that may hold one.
func judgeToken(api commitstatus.API, resp *http.Response, body []byte) error {
	err := judge(api, resp, body)
	if err != nil && resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return fmt.Errorf("%w, but not as GitHub does: check the address", httpsend.Answered(resp, nil))
	}
	return err
}

// sign makes what an App proves itself with: it is good for ten minutes at most, and GitHub's clock may be behind.
// https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
func (a *app) sign(now time.Time) (string, error) {
	signed, err := jwt.Signed(a.signer).Claims(jwt.Claims{
		Issuer:   a.id,
		IssuedAt: jwt.NewNumericDate(now.Add(-time.Minute)),
		Expiry:   jwt.NewNumericDate(now.Add(9 * time.Minute)),
	}).Serialize()
	if err != nil {
		return "", bellhop.Permanent(errors.New("signing with githubAppPrivateKey: the key cannot sign"))
	}
	return signed, nil
}
