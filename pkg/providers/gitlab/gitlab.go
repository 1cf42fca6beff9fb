// Package gitlab sets commit statuses at GitLab: jobs beside a commit and in its pipelines that say whether what
// was deployed from it, or whatever else was tried, went well.
//
// # Setting it up
//
// In the project, under Settings > Access tokens, make a token with the role Developer and the scope api (or a
// personal one, of somebody with that role), and write it under the key token of a Secret.
//
//	providers:
//	- name: podinfo
//	  type: gitlab
//	  address: https://gitlab.com/group/podinfo
//	  secretRef: {name: api-token}
//
// The address is the project's clone URL, https or ssh, or the host and the project's number
// (https://gitlab.com/1234), which stays when the project moves. With the host alone each event's own project is
// reported on; events of Flux name none, and say nothing then. The API is at the same host, under /api/v4.
//
// # What is sent
//
// An event of Flux whose metadata holds a commit (those of Kustomizations do) sets that commit's status: success,
// failed for an error, pending while it is Progressing. Any other event sets one only if its route asks for it
// with commitStatus; what is left out there follows from the event. Events of other projects than the address's
// say nothing, unless that names a number.
//
// The status's name is KIND/NAMESPACE/NAME of Flux's object, or KIND/ENDPOINT of another event, and eight digits
// that tell this provider and installation from others. The setting context replaces it for all events, a route's
// for the route's. Only changes are sent, and an older event never overwrites a newer one.
//
// # Limits
//
// Names and descriptions are cut at 255 characters. GitLab refuses to set a status that is pending to pending
// once more (400, "Cannot transition status"): the status is what it should be, so that counts as delivered. Its
// rate limit pauses the provider until it is lifted.
package gitlab

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
	Address bellhop.Secret `yaml:"address" secret:"address" doc:"the project's URL, or the host's alone"`
	Context string         `yaml:"context" doc:"name of all statuses, instead of one for each object"`
	Token   bellhop.Secret `secret:"token,password" doc:"project, group or personal access token"`
}

// Kind sets commit statuses at GitLab.
var Kind = httpsend.Define("gitlab", "GitLab commit statuses", Settings{}, build)

func build(setup bellhop.Setup, s Settings) (bellhop.Requester, error) {
	r, problems := commitstatus.NewReporter(setup, commitstatus.Spec{
		Address: s.Address, Example: "https://gitlab.com/group/project", Find: project, Context: s.Context,
	})
	return provider{r, s.Token}, append(problems, commitstatus.CheckToken(s.Token,
		"write an access token with the scope api under the key token of the Secret named by secretRef")...)
}

// project finds /group/…/name, or a project's number. What follows /-/ is a page of the project.
func project(_ string, path []string) (base []string, repo string, ok bool) {
	for i, p := range path {
		if p == "-" {
			path = path[:i]
			break
		}
	}
	if len(path) < 2 && (len(path) == 0 || strings.Trim(path[0], "0123456789") != "") {
		return nil, "", false
	}
	return nil, strings.Join(path, "/"), true
}

type provider struct {
	commitstatus.Reporter
	token bellhop.Secret
}

// status is the body of a commit status.
// https://docs.gitlab.com/api/commits/#set-the-pipeline-status-of-a-commit
type status struct {
	State       string `json:"state"`
	Name        string `json:"name"`
	Description string `json:"description"`
	TargetURL   string `json:"target_url,omitzero"`
}

// states are GitLab's words; it knows no errors beside failures.
var states = map[bellhop.CommitState]string{
	bellhop.CommitPending: "pending", bellhop.CommitSuccess: "success", bellhop.CommitFailure: "failed", bellhop.CommitError: "failed",
}

// limit is how long a status's name, description and URL may each be: columns of 255 characters.
const limit = 255

func (p provider) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	s, ok := p.Status(e)
	if !ok {
		return nil, nil
	}
	// The project's path is one element, its slashes escaped.
	req, err := httpsend.PostJSON(ctx, s.URL("api", "v4", "projects", s.Repo, "statuses", s.Commit), status{
		State:       states[s.State],
		Name:        s.Context(limit, httpsend.UTF16),
		Description: s.Description(limit, httpsend.UTF16),
		TargetURL:   s.Link(limit),
	})
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Private-Token", p.token.RevealString())
	return req, nil
}

var api = commitstatus.API{Name: "GitLab", Created: "status", Advice: map[int]string{
	http.StatusUnauthorized: "write a valid token under the key token of the Secret",
	http.StatusForbidden:    "give the token the scope api, and the role Developer or, for protected branches, Maintainer",
	http.StatusNotFound:     "check the address, and that the token may see the project and the commit is in it",
}}

// Judge knows the refusal that is none, and how long GitLab's limits last.
// https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/#response-headers
func (p provider) Judge(resp *http.Response, body []byte) error {
	if resp.StatusCode == http.StatusBadRequest && strings.Contains(commitstatus.Words(body), "Cannot transition status via") {
		return nil
	}
	err := api.Judge(resp, body)
	if resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") == "" {
		if d, ok := commitstatus.ResetPause(resp, "Ratelimit-Reset"); ok {
			return bellhop.RetryAfter(d, err)
		}
	}
	return err
}
