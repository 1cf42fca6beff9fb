// Package bitbucketserver sets build statuses at Bitbucket Data Center (once Server), 7.4 and later: the marks
// beside a commit that say whether what was deployed from it, or whatever else was tried, went well. For Bitbucket
// Cloud see bitbucket.
//
// # Setting it up
//
// Under Repository settings > HTTP access tokens make a token with the permission Repository read, and write it
// under the key token of a Secret; or write the keys username and password of somebody who may read it.
//
//	providers:
//	- name: podinfo
//	  type: bitbucketserver
//	  address: https://bitbucket.example.com/scm/apps/podinfo.git
//	  secretRef: {name: api-token}
//
// The address is the repository's clone URL over http or https, which holds /scm/; what comes before that is the
// path that Bitbucket lies under. The URL of the repository's page does as well. With the host alone each event's
// own repository is reported on; events of Flux name none, and say nothing then.
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
// Keys, names and descriptions are cut at 255 characters, links over 450 left out.
package bitbucketserver

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/commitstatus"
)

// Settings of a provider.
type Settings struct {
	Address  bellhop.Secret `yaml:"address" secret:"address" doc:"the repository's clone URL, which holds /scm/, or the host's alone"`
	Context  string         `yaml:"context" doc:"key of all statuses, instead of one for each object"`
	Token    bellhop.Secret `secret:"token" doc:"HTTP access token"`
	Username string         `yaml:"username" secret:"username" doc:"user, with a password instead of a token"`
	Password bellhop.Secret `secret:"password" doc:"the user's password"`
}

// Kind sets build statuses at Bitbucket Data Center.
var Kind = httpsend.Define("bitbucketserver", "Bitbucket Data Center build statuses", Settings{}, build)

func build(setup bellhop.Setup, s Settings) (bellhop.Requester, error) {
	r, problems := commitstatus.NewReporter(setup, commitstatus.Spec{
		Address: s.Address, Example: "https://bitbucket.example.com/scm/project/name.git", Find: repository, Context: s.Context,
	})
	p := provider{r, s.Token, strings.TrimSpace(s.Username), s.Password}
	switch {
	case s.Password.RevealString() != "" && p.username == "":
		problems = append(problems, bellhop.Wrong("username", "is missing beside the password: write both, or a token, into the Secret named by secretRef"))
	case strings.Contains(p.username, ":"):
		problems = append(problems, bellhop.Wrong("username", "holds a colon, which no login can"))
	case s.Password.RevealString() == "" && s.Token.RevealString() == "" && p.username != "":
		problems = append(problems, bellhop.Wrong("password", "is missing beside the username: write both, or a token, into the Secret named by secretRef"))
	case s.Password.RevealString() == "" || s.Token.RevealString() != "":
		problems = append(problems, commitstatus.CheckToken(s.Token,
			"write an HTTP access token under the key token of the Secret named by secretRef, or the keys username and password")...)
	}
	return p, problems
}

// repository finds /scm/PROJECT/NAME, and the pages /projects/PROJECT/repos/NAME and /users/USER/repos/NAME. A
// person's own project is called ~USER. SSH's URLs, /PROJECT/NAME, do not tell the path before it.
// https://confluence.atlassian.com/bitbucketserver/clone-a-repository-790632786.html
func repository(_ string, path []string) (base []string, repo string, ok bool) {
	if i := slices.Index(path, "scm"); i >= 0 && len(path) == i+3 {
		return path[:i], path[i+1] + "/" + path[i+2], true
	}
	if i := slices.Index(path, "repos"); i >= 2 && len(path) >= i+2 {
		switch path[i-2] {
		case "projects":
			return path[:i-2], path[i-1] + "/" + path[i+1], true
		case "users":
			return path[:i-2], "~" + path[i-1] + "/" + path[i+1], true
		}
	}
	return nil, "", false
}

type provider struct {
	commitstatus.Reporter
	token    bellhop.Secret
	username string
	password bellhop.Secret // used if there is no token
}

// status is the body of a build status. The same key sets the same status.
// https://developer.atlassian.com/server/bitbucket/how-tos/updating-build-status-for-commits/
type status struct {
	Key         string `json:"key"`
	State       string `json:"state"`
	Name        string `json:"name"`
	Description string `json:"description"`
	URL         string `json:"url"`
}

// states are Bitbucket's words.
var states = map[bellhop.CommitState]string{
	bellhop.CommitPending: "INPROGRESS", bellhop.CommitSuccess: "SUCCESSFUL", bellhop.CommitFailure: "FAILED", bellhop.CommitError: "FAILED",
}

// Limits of a status.
const (
	maxText = 255
	maxLink = 450
)

func (p provider) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	s, ok := p.Status(e)
	if !ok {
		return nil, nil
	}
	project, name, _ := strings.Cut(s.Repo, "/")
	body := status{
		Key:         s.Context(maxText, httpsend.UTF16),
		State:       states[s.State],
		Name:        s.Context(maxText, httpsend.UTF16),
		Description: s.Description(maxText, httpsend.UTF16),
		URL:         s.Link(maxLink),
	}
	if body.URL == "" {
		body.URL = s.URL("projects", project, "repos", name, "commits", s.Commit).String()
	}
	to := s.URL("rest", "api", "latest", "projects", project, "repos", name, "commits", s.Commit, "builds")
	req, err := httpsend.PostJSON(ctx, to, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	// Without it Bitbucket takes the request for one that a web page made somebody's browser send.
	req.Header.Set("X-Atlassian-Token", "no-check")
	if p.token.RevealString() != "" {
		req.Header.Set("Authorization", "Bearer "+p.token.RevealString())
	} else {
		req.SetBasicAuth(p.username, p.password.RevealString())
	}
	return req, nil
}

var api = commitstatus.API{Name: "Bitbucket Data Center", Advice: map[int]string{
	http.StatusUnauthorized: "write a valid token, or username and password, into the Secret",
	http.StatusForbidden:    "give the token the permission Repository read",
	http.StatusNotFound:     "check the address, that the token may read the repository, and that Bitbucket is 7.4 or later",
}}

func (p provider) Judge(resp *http.Response, body []byte) error { return api.Judge(resp, body) }
