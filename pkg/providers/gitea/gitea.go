// Package gitea sets commit statuses at Gitea and Forgejo: the marks beside a commit that say whether what was
// deployed from it, or whatever else was tried, went well.
//
// # Setting it up
//
// In Gitea, under Settings > Applications, make an access token with the permission repository: Read and Write,
// as a user who may write to the repository, and write it under the key token of a Secret.
//
//	providers:
//	- name: podinfo
//	  type: gitea
//	  address: https://gitea.example.com/owner/podinfo
//	  secretRef: {name: api-token}
//
// The address is the repository's clone URL, https or ssh; Gitea may lie under a path
// (https://example.com/git/owner/podinfo). With the host alone each event's own repository is reported on; events
// of Flux name none, and say nothing then. The API is at the same host, under /api/v1.
//
// # What is sent
//
// An event of Flux whose metadata holds a commit (those of Kustomizations do) sets that commit's status: success,
// failure for an error, pending while it is Progressing. Any other event sets one only if its route asks for it
// with commitStatus; what is left out there follows from the event. Events of other repositories than the
// address's say nothing.
//
// The context is KIND/NAMESPACE/NAME of Flux's object, or KIND/ENDPOINT of another event, and eight digits that
// tell this provider and installation from others. The setting context replaces it for all events, a route's for
// the route's. Only changes are sent, and an older event never overwrites a newer one.
//
// # Limits
//
// Gitea documents none; contexts and descriptions are cut at 255 characters, which its pages can show.
package gitea

import (
	"context"
	"net/http"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/commitstatus"
)

// Settings of a provider.
type Settings struct {
	Address bellhop.Secret `yaml:"address" secret:"address" doc:"the repository's URL, or the host's alone"`
	Context string         `yaml:"context" doc:"context of all statuses, instead of one for each object"`
	Token   bellhop.Secret `secret:"token" doc:"access token"`
}

// Kind sets commit statuses at Gitea.
var Kind = httpsend.Define("gitea", "Gitea and Forgejo commit statuses", Settings{}, build)

func build(setup bellhop.Setup, s Settings) (bellhop.Requester, error) {
	r, problems := commitstatus.NewReporter(setup, commitstatus.Spec{
		Address: s.Address, Example: "https://gitea.example.com/owner/name", Find: repository, Context: s.Context,
	})
	return provider{r, s.Token}, append(problems, commitstatus.CheckToken(s.Token,
		"write an access token that may write to the repository under the key token of the Secret named by secretRef")...)
}

// repository finds /owner/name, under whatever path Gitea lies.
func repository(_ string, path []string) (base []string, repo string, ok bool) {
	n := len(path) - 2
	if n < 0 {
		return nil, "", false
	}
	return path[:n], path[n] + "/" + path[n+1], true
}

type provider struct {
	commitstatus.Reporter
	token bellhop.Secret
}

// status is the body of a commit status.
// https://docs.gitea.com/api/1.24/#tag/repository/operation/repoCreateStatus
type status struct {
	State       bellhop.CommitState `json:"state"` // Gitea's words are ours
	Context     string              `json:"context"`
	Description string              `json:"description"`
	TargetURL   string              `json:"target_url,omitzero"`
}

// Limits of a status: none of Gitea's own, which stores texts of any length.
const (
	maxText = 255
	maxLink = 2000
)

func (p provider) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	s, ok := p.Status(e)
	if !ok {
		return nil, nil
	}
	owner, name, _ := strings.Cut(s.Repo, "/")
	req, err := httpsend.PostJSON(ctx, s.URL("api", "v1", "repos", owner, name, "statuses", s.Commit), status{
		State:       s.State,
		Context:     s.Context(maxText, httpsend.UTF16),
		Description: s.Description(maxText, httpsend.UTF16),
		TargetURL:   s.Link(maxLink),
	})
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "token "+p.token.RevealString())
	return req, nil
}

var api = commitstatus.API{Name: "Gitea", Created: "context", Advice: map[int]string{
	http.StatusUnauthorized: "write a valid token under the key token of the Secret",
	http.StatusForbidden:    "give the token the permission repository: Read and Write, and its user write access",
	http.StatusNotFound:     "check the address, and that the token's user may see the repository",
}}

func (p provider) Judge(resp *http.Response, body []byte) error { return api.Judge(resp, body) }
