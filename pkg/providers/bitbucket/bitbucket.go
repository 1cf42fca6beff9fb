// Package bitbucket sets build statuses at Bitbucket Cloud: the marks beside a commit that say whether what was
// deployed from it, or whatever else was tried, went well. For Bitbucket Data Center see bitbucketserver.
//
// # Setting it up
//
// Under Repository settings > Access tokens make a token with the scope Repositories: Write, and write it under
// the key token of a Secret. Or make an API token of a person's, at https://id.atlassian.com/manage-profile/security/api-tokens
// with the scope write:repository:bitbucket, and write EMAIL:TOKEN. What was once USER:APP-PASSWORD is spelt the
// same; Atlassian switched app passwords off in June 2026.
//
//	providers:
//	- name: podinfo
//	  type: bitbucket
//	  address: https://bitbucket.org/workspace/podinfo
//	  secretRef: {name: api-token}
//
// The address is the repository's clone URL, https or ssh. With the host alone each event's own repository is
// reported on; events of Flux name none, and say nothing then. The API is https://api.bitbucket.org/2.0, and of
// any other host under /2.0.
//
// # What is sent
//
// An event of Flux whose metadata holds a commit (those of Kustomizations do) sets that commit's status:
// SUCCESSFUL, FAILED for an error, INPROGRESS while it is Progressing. Any other event sets one only if its route
// asks for it with commitStatus; what is left out there follows from the event. Events of other repositories than
// the address's say nothing.
//
// The status's key and name are KIND/NAMESPACE/NAME of Flux's object, or KIND/ENDPOINT of another event, and eight
// digits that tell this provider and installation from others. The setting context replaces it for all events, a
// route's for the route's. Only changes are sent, and an older event never overwrites a newer one. Bitbucket wants
// a link: the event's, else the commit's page.
//
// # Limits
//
// A key is 40 characters at most: of a longer one its SHA-1 is sent. Names and descriptions are cut at 255.
package bitbucket

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/commitstatus"
)

// Settings of a provider.
type Settings struct {
	Address bellhop.Secret `yaml:"address" secret:"address" doc:"the repository's URL, or the host's alone"`
	Context string         `yaml:"context" doc:"key of all statuses, instead of one for each object"`
	Token   bellhop.Secret `secret:"token" doc:"an access token, or EMAIL:TOKEN of an API token"`
}

// Kind sets build statuses at Bitbucket Cloud.
var Kind = httpsend.Define("bitbucket", "Bitbucket Cloud build statuses", Settings{}, build)

func build(setup bellhop.Setup, s Settings) (bellhop.Requester, error) {
	r, problems := commitstatus.NewReporter(setup, commitstatus.Spec{
		Address: s.Address, Example: "https://bitbucket.org/workspace/name", Find: commitstatus.OwnerAndName, Context: s.Context,
	})
	p := provider{Reporter: r, token: s.Token}
	if base := r.Place().Base; base != nil {
		p.api = apiOf(base)
	}
	problems = append(problems, commitstatus.CheckToken(s.Token,
		"write an access token, or EMAIL:TOKEN of an API token, under the key token of the Secret named by secretRef")...)
	if user, password, login := strings.Cut(s.Token.RevealString(), ":"); login && (user == "" || password == "") {
		problems = append(problems, bellhop.Wrong("token", "is half a login: write EMAIL:TOKEN, or an access token alone"))
	}
	return p, problems
}

func apiOf(base *url.URL) *url.URL {
	switch base.Hostname() {
	case "bitbucket.org", "www.bitbucket.org", "api.bitbucket.org":
		return &url.URL{Scheme: "https", Host: "api.bitbucket.org", Path: "/2.0"}
	}
	return base.JoinPath("2.0")
}

type provider struct {
	commitstatus.Reporter
	api   *url.URL
	token bellhop.Secret
}

// status is the body of a build status. The same key sets the same status.
// https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/#api-repositories-workspace-repo-slug-commit-commit-statuses-build-post
type status struct {
	Key         string `json:"key"`
	State       string `json:"state"`
	Name        string `json:"name"`
	Description string `json:"description"`
	URL         string `json:"url"`
}

// states are Bitbucket's words. STOPPED, which it also knows, does not keep a pull request from being merged.
var states = map[bellhop.CommitState]string{
	bellhop.CommitPending: "INPROGRESS", bellhop.CommitSuccess: "SUCCESSFUL", bellhop.CommitFailure: "FAILED", bellhop.CommitError: "FAILED",
}

// Limits of a status.
const (
	maxKey  = 40
	maxText = 255
	maxLink = 450
)

func (p provider) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	s, ok := p.Status(e)
	if !ok {
		return nil, nil
	}
	owner, name, _ := strings.Cut(s.Repo, "/")
	body := status{
		Key:         key(s),
		State:       states[s.State],
		Name:        s.Context(maxText, httpsend.UTF16),
		Description: s.Description(maxText, httpsend.UTF16),
		URL:         s.Link(maxLink),
	}
	if body.URL == "" {
		body.URL = s.URL(owner, name, "commits", s.Commit).String()
	}
	to := commitstatus.Place{Base: p.api}.URL("repositories", owner, name, "commit", s.Commit, "statuses", "build")
	req, err := httpsend.PostJSON(ctx, to, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if user, password, login := strings.Cut(p.token.RevealString(), ":"); login {
		req.SetBasicAuth(user, password)
	} else {
		req.Header.Set("Authorization", "Bearer "+user)
	}
	return req, nil
}

// key is the context, or its SHA-1 if it is too long.
func key(s commitstatus.Status) string {
	context := s.Context(1<<10, httpsend.UTF16)
	if httpsend.UTF16.Len(context) <= maxKey {
		return context
	}
	sum := sha1.Sum([]byte(context))
	return hex.EncodeToString(sum[:])
}

var api = commitstatus.API{Name: "Bitbucket", Created: "key", Advice: map[int]string{
	http.StatusUnauthorized: "write a valid token under the key token of the Secret; app passwords no longer work",
	http.StatusForbidden:    "give the token the scope Repositories: Write",
	http.StatusNotFound:     "check the address, and that the token may see the repository and the commit is in it",
}}

func (p provider) Judge(resp *http.Response, body []byte) error { return api.Judge(resp, body) }
