// Package github sets commit statuses at GitHub and GitHub Enterprise: the marks beside a commit that say
// whether what was deployed from it, or whatever else was tried, went well.
//
// # Setting it up with a token
//
// At https://github.com/settings/personal-access-tokens make a fine-grained token for the repository with the
// permission "Commit statuses: Read and write" (of a classic token: the scope repo:status), and write it under
// the key token of a Secret.
//
//	providers:
//	- name: podinfo
//	  type: github
//	  address: https://github.com/stefanprodan/podinfo
//	  secretRef: {name: api-token}
//
// The address is the repository's clone URL, https or ssh. With the host alone (https://github.com) each event's
// own repository is reported on; events of Flux name none, and say nothing then. A host that is neither
// github.com nor of ghe.com is a GitHub Enterprise Server, whose API is under /api/v3.
//
// # Setting it up with a GitHub App
//
// Make an App with the repository permission "Commit statuses: Read and write", install it, and write a Secret
// with these keys instead of the token:
//
//	githubAppID                 the App's ID or client ID
//	githubAppPrivateKey         the private key that was downloaded, PEM
//	githubAppInstallationID     the number at the end of the installation's URL, or else
//	githubAppInstallationOwner  the organisation or user that installed the App
//	githubAppBaseURL            the API of a GitHub Enterprise Server; may be left out
//
// Bellhop fetches the installation's token, limited to commit statuses, and keeps it until shortly before it
// expires; a token that is refused is fetched anew, once.
//
// # What is sent
//
// An event of Flux whose metadata holds a commit (those of Kustomizations do) sets that commit's status: success,
// failure for an error, pending while it is Progressing. Any other event sets one only if its route asks for it:
//
//	routes:
//	- from: [ci]
//	  to: [podinfo]
//	  commitStatus: {state: pending, context: ci/build, description: "{{ .event.title }}"}
//
// where what is left out follows from the event, success or failure from its severity. Events of other
// repositories than the address's say nothing.
//
// The context is KIND/NAMESPACE/NAME of Flux's object, or KIND/ENDPOINT of another event, and eight digits that
// tell this provider and installation from others. The setting context replaces it for all events, a route's
// for the route's. Only changes are sent, and an older event never overwrites a newer one.
//
// # Limits
//
// Descriptions are cut at 140 characters, contexts at 255, and both lose their emoji, which GitHub refuses there.
// GitHub keeps at most 1,000 statuses of a commit and a
// context, and asks for no more than one change a second: that is the default rateLimit. Its rate limits,
// answered with 403 or 429, pause the provider until they are lifted.
package github

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/commitstatus"
)

// Settings of a provider.
type Settings struct {
	Address bellhop.Secret `yaml:"address" secret:"address" doc:"the repository's URL, or the host's alone"`
	Context string         `yaml:"context" doc:"context of all statuses, instead of one for each object"`
	Token   bellhop.Secret `secret:"token,password" doc:"personal access token"`

	AppID             bellhop.Secret `secret:"githubAppID" doc:"ID or client ID of a GitHub App"`
	InstallationID    bellhop.Secret `secret:"githubAppInstallationID" doc:"number of the App's installation"`
	InstallationOwner bellhop.Secret `secret:"githubAppInstallationOwner" doc:"organisation or user that installed the App"`
	PrivateKey        bellhop.Secret `secret:"githubAppPrivateKey" doc:"private key of the App, PEM"`
	BaseURL           bellhop.Secret `secret:"githubAppBaseURL" doc:"API of a GitHub Enterprise Server"`
}

// Kind sets commit statuses at GitHub.
// https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#pause-between-mutative-requests
var Kind = httpsend.Define("github", "GitHub commit statuses, with a token or as an App", Settings{}, build,
	bellhop.ProviderTraits{Rate: bellhop.Rate{Events: 1, Per: time.Second}})

const example = "https://github.com/owner/name"

func build(setup bellhop.Setup, s Settings) (bellhop.Requester, error) {
	r, problems := commitstatus.NewReporter(setup, commitstatus.Spec{
		Address: s.Address, Example: example, Find: commitstatus.OwnerAndName, Context: s.Context,
	})
	p := provider{Reporter: r, token: s.Token}
	if base := r.Place().Base; base != nil {
		p.api = apiOf(base)
	}
	if !s.isApp() {
		return p, append(problems, commitstatus.CheckToken(s.Token,
			"write a personal access token under the key token of the Secret named by secretRef, or the keys of a GitHub App")...)
	}
	app, more := newApp(s, p.api)
	problems = append(problems, more...)
	if problems.Err() != nil {
		return nil, problems
	}
	p.api = app.api
	return appProvider{p, app}, problems
}

// apiOf is the root of the API that serves a host.
// https://docs.github.com/enterprise-server/rest/using-the-rest-api/getting-started-with-the-rest-api
// https://docs.github.com/enterprise-cloud@latest/admin/data-residency/about-github-enterprise-cloud-with-data-residency#api-access
func apiOf(base *url.URL) *url.URL {
	switch host := base.Hostname(); {
	case host == "github.com", host == "www.github.com", host == "api.github.com":
		return &url.URL{Scheme: "https", Host: "api.github.com"}
	case strings.HasSuffix(host, ".ghe.com"):
		return &url.URL{Scheme: "https", Host: "api." + strings.TrimPrefix(host, "api.")}
	}
	return base.JoinPath("api", "v3")
}

type provider struct {
	commitstatus.Reporter
	api   *url.URL
	token bellhop.Secret // empty for an App
}

// status is the body of a commit status.
// https://docs.github.com/rest/commits/statuses#create-a-commit-status
type status struct {
	State       bellhop.CommitState `json:"state"` // GitHub's words are ours
	Context     string              `json:"context"`
	Description string              `json:"description"`
	TargetURL   string              `json:"target_url,omitzero"`
}

// Limits of a status, as GitHub's answers name them. It counts characters, and does not say which.
const (
	maxContext     = 255
	maxDescription = 140
	maxLink        = 1000
)

func (p provider) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	s, ok := p.Status(e)
	if !ok {
		return nil, nil
	}
	owner, name, _ := strings.Cut(s.Repo, "/")
	to := commitstatus.Place{Base: p.api}.URL("repos", owner, name, "statuses", s.Commit)
	req, err := httpsend.PostJSON(ctx, to, status{
		State:       s.State,
		Context:     cmp.Or(plane0(s.Context(maxContext, httpsend.UTF16)), "bellhop"),
		Description: cmp.Or(plane0(s.Description(maxDescription, httpsend.UTF16)), string(s.State)),
		TargetURL:   s.Link(maxLink),
	})
	if err != nil {
		return nil, err
	}
	setHeaders(req)
	if !p.token.Empty() {
		req.Header.Set("Authorization", "Bearer "+p.token.RevealString())
	}
	return req, nil
}

// plane0 leaves out emoji and other characters of four bytes, which GitHub refuses in a status (422), and what
// joined them.
func plane0(s string) string {
	if strings.IndexFunc(s, beyond) < 0 {
		return s
	}
	return httpsend.OneLine(strings.Map(func(r rune) rune {
		if beyond(r) || httpsend.Joins(r) {
			return -1
		}
		return r
	}, s))
}

func beyond(r rune) bool { return r > 0xFFFF }

// setHeaders sets what GitHub wants of all requests.
// https://docs.github.com/rest/about-the-rest-api/api-versions
func setHeaders(req *http.Request) {
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-Github-Api-Version", "2022-11-28")
}

var statusAPI = commitstatus.API{Name: "GitHub", Created: "context", Advice: map[int]string{
	http.StatusUnauthorized: "write a valid token under the key token of the Secret",
	http.StatusForbidden:    "give the token or App the permission Commit statuses: write, for this repository",
	http.StatusNotFound:     "check the address, and that the token or App may see the repository and write commit statuses",
}}

func (p provider) Judge(resp *http.Response, body []byte) error {
	words := commitstatus.Words(body)
	switch unprocessable := resp.StatusCode == http.StatusUnprocessableEntity; {
	case unprocessable && strings.Contains(words, "maximum number of statuses"):
		return bellhop.Permanent(errors.New("answered 422: GitHub keeps no more than 1,000 statuses of a commit and a context"))
	case unprocessable && strings.Contains(words, "No commit found"):
		return bellhop.Permanent(errors.New("answered 422: the repository has no such commit: check the address"))
	}
	return judge(statusAPI, resp, body)
}
