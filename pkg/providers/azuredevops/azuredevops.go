// Package azuredevops sets commit statuses at Azure DevOps, Services and Server: the marks beside a commit that
// say whether what was deployed from it, or whatever else was tried, went well.
//
// # Setting it up
//
// Under User settings > Personal access tokens make a token with the scope Code: Status, and write it under the
// key token of a Secret. Tokens expire: the last day is shown in that list.
//
//	providers:
//	- name: podinfo
//	  type: azuredevops
//	  address: https://dev.azure.com/organization/project/_git/podinfo
//	  secretRef: {name: api-token}
//
// The address is the repository's clone URL, https or ssh: at dev.azure.com, at ORGANIZATION.visualstudio.com, or at
// a server of one's own (https://azure.example.com/Collection/project/_git/podinfo). With the host alone each event's
// own repository is reported on; events of Flux name none, and say nothing then.
//
// # What is sent
//
// An event of Flux whose metadata holds a commit (those of Kustomizations do) sets that commit's status:
// succeeded, failed for an error, pending while it is Progressing. Any other event sets one only if its route asks
// for it with commitStatus; what is left out there follows from the event. Events of other repositories than the
// address's say nothing.
//
// The status's genre is "bellhop", its name KIND/NAMESPACE/NAME of Flux's object, or KIND/ENDPOINT of another
// event, and eight digits that tell this provider and installation from others. The setting context replaces it
// for all events, a route's for the route's. Only changes are sent, and an older event never overwrites a newer
// one.
//
// # Limits
//
// Azure DevOps documents none; names are cut at 255 characters, descriptions at 1,000. It answers a token that is
// wrong or has expired with 203, or a redirect, and a page to sign in: that is an error here.
package azuredevops

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/commitstatus"
)

// Settings of a provider.
type Settings struct {
	Address bellhop.Secret `yaml:"address" secret:"address" doc:"the repository's clone URL, or the host's alone"`
	Context string         `yaml:"context" doc:"name of all statuses, instead of one for each object"`
	Token   bellhop.Secret `secret:"token" doc:"personal access token"`
}

// Kind sets commit statuses at Azure DevOps.
var Kind = httpsend.Define("azuredevops", "Azure DevOps commit statuses", Settings{}, build)

func build(setup bellhop.Setup, s Settings) (bellhop.Requester, error) {
	r, problems := commitstatus.NewReporter(setup, commitstatus.Spec{
		Address: s.Address, Example: "https://dev.azure.com/organization/project/_git/name", Find: repository, Context: s.Context,
	})
	return provider{r, s.Token}, append(problems, commitstatus.CheckToken(s.Token,
		"write a personal access token with the scope Code: Status under the key token of the Secret named by secretRef")...)
}

// repository finds PROJECT/_git/NAME, under the path of an organization or a collection; a repository that is
// called as its project may leave the project out. SSH's form is v3/ORGANIZATION/PROJECT/NAME.
// https://learn.microsoft.com/azure/devops/repos/git/clone
func repository(host string, path []string) (base []string, repo string, ok bool) {
	if host == services && len(path) == 4 && path[0] == "v3" {
		return path[1:2], path[2] + "/" + path[3], true
	}
	i := slices.Index(path, "_git")
	if i < 0 || len(path) != i+2 {
		return nil, "", false
	}
	before, name := path[:i], path[i+1]
	var organization int // how many segments come before the project
	switch {
	case host == services:
		organization = 1
	case strings.HasSuffix(host, ".visualstudio.com"):
		if len(before) > 0 && strings.EqualFold(before[0], "DefaultCollection") {
			organization = 1
		}
	default:
		organization = max(len(before)-1, 0)
	}
	switch len(before) {
	case organization:
		return before, name + "/" + name, true
	case organization + 1:
		return before[:organization], before[organization] + "/" + name, true
	}
	return nil, "", false
}

// services is the host of Azure DevOps Services.
const services = "dev.azure.com"

type provider struct {
	commitstatus.Reporter
	token bellhop.Secret
}

// status is the body of a commit status.
// https://learn.microsoft.com/rest/api/azure/devops/git/statuses/create
type status struct {
	State       string        `json:"state"`
	Description string        `json:"description"`
	TargetURL   string        `json:"targetUrl,omitzero"`
	Context     statusContext `json:"context"`
}

// statusContext tells a status from others of the commit; branch policies name both parts.
type statusContext struct {
	Genre string `json:"genre"`
	Name  string `json:"name"`
}

// states are Azure DevOps' words.
var states = map[bellhop.CommitState]string{
	bellhop.CommitPending: "pending", bellhop.CommitSuccess: "succeeded", bellhop.CommitFailure: "failed", bellhop.CommitError: "error",
}

// Limits of a status; see the package comment.
const (
	maxName        = 255
	maxDescription = 1000
	maxLink        = 2000
)

func (p provider) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	s, ok := p.Status(e)
	if !ok {
		return nil, nil
	}
	project, name, _ := strings.Cut(s.Repo, "/")
	to := s.URL(project, "_apis", "git", "repositories", name, "commits", s.Commit, "statuses")
	to.RawQuery = "api-version=7.0" // that of Azure DevOps Server 2022
	req, err := httpsend.PostJSON(ctx, to, status{
		State:       states[s.State],
		Description: s.Description(maxDescription, httpsend.UTF16),
		TargetURL:   s.Link(maxLink),
		Context:     statusContext{"bellhop", s.Context(maxName, httpsend.UTF16)},
	})
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth("", p.token.RevealString())
	return req, nil
}

const tokenAdvice = "write a personal access token that has not expired under the key token of the Secret"

var api = commitstatus.API{Name: "Azure DevOps", Created: "context", Advice: map[int]string{
	http.StatusUnauthorized: tokenAdvice,
	http.StatusForbidden:    "give the token the scope Code: Status",
	http.StatusNotFound:     "check the address, and that the token may see the repository and the commit is in it",
}}

// Judge knows the pages to sign in that stand for a refusal.
// https://learn.microsoft.com/azure/devops/organizations/accounts/use-personal-access-tokens-to-authenticate
func (p provider) Judge(resp *http.Response, body []byte) error {
	switch resp.StatusCode {
	case http.StatusNonAuthoritativeInfo:
		return bellhop.Permanent(errors.New("answered 203 with a page to sign in: " + tokenAdvice))
	case http.StatusFound:
		if strings.Contains(resp.Header.Get("Location"), "_signin") {
			return bellhop.Permanent(errors.New("answered 302, a redirect to sign in: " + tokenAdvice))
		}
	}
	return api.Judge(resp, body)
}
