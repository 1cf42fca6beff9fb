package gitea

import (
	"cmp"
	"net/url"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/git"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/hub"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/image"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// Parse makes one event of every request.
func (s *source) Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	body, err := payload.JSON(r)
	if err != nil {
		return nil, err
	}
	return hub.Parse(body, first(r.Header, events), first(r.Header, deliveries), messages)
}

// messages are the event types with words of their own.
//
// https://github.com/go-gitea/gitea/blob/main/modules/webhook/type.go
var messages = hub.Messages{
	"push":                  func() hub.Message { return new(push) },
	"create":                func() hub.Message { return new(hub.Create) },
	"delete":                func() hub.Message { return new(hub.Delete) },
	"fork":                  func() hub.Message { return new(fork) },
	"pull_request":          func() hub.Message { return new(hub.PullRequestEvent) },
	"pull_request_approved": func() hub.Message { return new(review) },
	"pull_request_rejected": func() hub.Message { return new(review) },
	"pull_request_comment":  func() hub.Message { return new(review) },
	"issues":                func() hub.Message { return new(hub.Issue) },
	"issue_comment":         func() hub.Message { return new(comment) },
	"release":               func() hub.Message { return new(hub.Release) },
	"package":               func() hub.Message { return new(packageEvent) },
	"status":                func() hub.Message { return new(hub.Status) },
	"workflow_run":          func() hub.Message { return new(hub.WorkflowRun) },
	"workflow_job":          func() hub.Message { return new(hub.WorkflowJob) },
	"wiki":                  func() hub.Message { return new(wiki) },
	"action_run_success":    func() hub.Message { return new(actionRun) },
	"action_run_failure":    func() hub.Message { return new(actionRun) },
	"action_run_recover":    func() hub.Message { return new(actionRun) },
}

// push: https://docs.gitea.com/usage/repository/webhooks#event-information
type push struct {
	hub.Envelope
	Ref          string                `json:"ref"`
	Before       string                `json:"before"`
	After        string                `json:"after"` // zeros when the ref was deleted
	CompareURL   string                `json:"compare_url"`
	Commits      payload.First[commit] `json:"commits"` // newest first; five unless configured otherwise
	TotalCommits int                   `json:"total_commits"`
	HeadCommit   commit                `json:"head_commit"`
	Pusher       hub.User              `json:"pusher"`
}

type commit struct {
	ID      string `json:"id"`
	Message string `json:"message"`
	URL     string `json:"url"`
	Author  struct {
		Name     string `json:"name"`
		Username string `json:"username"` // of authors with an account
	} `json:"author"`
}

// Describe implements hub.Message.
func (p *push) Describe(e *bellhop.Event) {
	git.SetRef(e, p.Ref)
	e.Actor = cmp.Or(e.Actor, p.Pusher.Login)
	e.Before, e.Commit = git.Hash(p.Before), git.Hash(p.After)
	e.Link = p.CompareURL
	switch {
	case e.Commit != "" && e.Before == e.Commit:
		// No push leaves a ref where it was: this is what "Test delivery" sends.
		e.Kind, e.Reason = bellhop.KindPing, "Ping"
		describe.Other(e, "test delivery", "")
	case p.After != "" && e.Commit == "":
		e.Link = ""
		describe.Deletion(e)
	case e.Tag != "":
		e.Commit = cmp.Or(p.HeadCommit.ID, e.Commit)
		describe.Tag(e, e.Before != "", "")
	default:
		created := p.Before != "" && e.Before == ""
		if created {
			e.Link = "" // it compares with nothing
		}
		describe.Push(e, p.commits(created))
	}
}

func (p *push) commits(created bool) describe.Commits {
	d := describe.Commits{Total: max(p.TotalCommits, p.Commits.Total), Created: created}
	for i := len(p.Commits.Items) - 1; i >= 0; i-- {
		c := &p.Commits.Items[i]
		d.First = append(d.First, describe.Commit{
			ID: c.ID, Message: c.Message, URL: c.URL, Author: cmp.Or(c.Author.Username, c.Author.Name),
		})
	}
	return d
}

// fork: Repository is the new one.
type fork struct {
	hub.Envelope
	Forkee hub.Repository `json:"forkee"` // what was forked
}

// Describe implements hub.Message.
func (p *fork) Describe(e *bellhop.Event) {
	if p.Forkee.FullName == "" || e.Repo.Name == "" {
		return
	}
	e.Title = text.Line(p.Forkee.FullName) + " forked to " + text.Line(e.Repo.Name)
	describe.Other(e, e.Title, "")
}

// review is what Gitea tells of a pull request's review in three event types.
type review struct {
	hub.PullRequestEvent
	Review struct {
		Content string `json:"content"`
	} `json:"review"`
}

// reviewed are the event types in the words of people.
var reviewed = map[string]string{
	"pull_request_approved": "approved", "pull_request_rejected": "changes requested", "pull_request_comment": "reviewed",
}

// Describe implements hub.Message.
func (p *review) Describe(e *bellhop.Event) {
	p.PullRequest.Fill(e)
	deed := reviewed[e.Type]
	e.Reason = text.Camel("pull request", deed)
	describe.PullRequest(e, "pull request", "#", deed, p.Review.Content)
}

// comment says of a pull request what the issue beside the comment may not.
type comment struct {
	hub.Comment
	IsPull      bool            `json:"is_pull"`
	PullRequest hub.PullRequest `json:"pull_request"`
}

// Describe implements hub.Message.
func (p *comment) Describe(e *bellhop.Event) {
	if p.IsPull {
		p.Issue.PullRequest = true
	}
	p.Comment.Describe(e)
	if pr := &p.PullRequest; pr.Number != 0 && p.Issue.PullRequest {
		link := e.Link
		pr.Fill(e)
		e.Link = cmp.Or(link, e.Link)
	}
}

// packageEvent: container images are at the instance's own host.
// https://docs.gitea.com/usage/packages/container
type packageEvent struct {
	hub.Envelope
	Package registryPackage `json:"package"`
}

type registryPackage struct {
	Owner   hub.User `json:"owner"`
	Type    string   `json:"type"` // container, npm, …
	Name    string   `json:"name"`
	Version string   `json:"version"`  // of a container a tag, or sha256:…
	HTMLURL string   `json:"html_url"` // https://host/owner/-/packages/…
}

func (p *registryPackage) image() bellhop.Image {
	host := ""
	if u, err := url.Parse(text.Web(p.HTMLURL)); err == nil {
		host = u.Host
	}
	i := bellhop.Image{Name: image.Join(host, strings.ToLower(p.Owner.Login), p.Name)}
	if image.IsDigest(p.Version) {
		i.Digest = p.Version
	} else {
		i.Tag = p.Version
	}
	return i
}

// Describe implements hub.Message.
func (p *packageEvent) Describe(e *bellhop.Event) {
	pkg := &p.Package
	e.Kind, e.Link = bellhop.KindPackage, pkg.HTMLURL
	if pkg.Type == "container" && pkg.Name != "" {
		e.Image = pkg.image()
		switch p.Action {
		case "created":
			image.Pushed(e)
			return
		case "deleted":
			image.Deleted(e)
			return
		}
	}
	describe.Other(e, strings.TrimSpace(pkg.Name+" "+pkg.Version)+" "+cmp.Or(text.Words(p.Action), "changed"), "")
}

// wiki is a change of one page.
type wiki struct {
	hub.Envelope
	Page    string `json:"page"`
	Comment string `json:"comment"` // the change's commit message
}

// Describe implements hub.Message.
func (p *wiki) Describe(e *bellhop.Event) {
	describe.Other(e, "wiki page "+p.Page+" "+cmp.Or(text.Words(p.Action), "changed"), p.Comment)
}

// actionRun is how Forgejo tells that a run of an action failed, succeeded, or succeeded again.
//
// https://codeberg.org/forgejo/forgejo/src/branch/forgejo/modules/structs/hook.go
type actionRun struct {
	hub.Envelope
	Run struct {
		Title       string         `json:"title"`
		WorkflowID  string         `json:"workflow_id"` // test.yaml
		PrettyRef   string         `json:"prettyref"`   // main, v1 or #7
		CommitSHA   string         `json:"commit_sha"`
		HTMLURL     string         `json:"html_url"`
		TriggerUser hub.User       `json:"trigger_user"`
		Repository  hub.Repository `json:"repository"`
	} `json:"run"`
}

// Describe implements hub.Message.
func (p *actionRun) Describe(e *bellhop.Event) {
	run := &p.Run
	if e.Repo.Name == "" {
		e.Repo = run.Repository.Repo()
	}
	e.Actor = cmp.Or(e.Actor, run.TriggerUser.Login)
	git.SetRef(e, run.PrettyRef) // which, if short, may be a branch or a tag
	e.Commit, e.Link = run.CommitSHA, run.HTMLURL
	result := strings.TrimPrefix(e.Type, "action_run_")
	if result == "recover" {
		result = "success" // after failures
	}
	hub.Outcome(e, "action_run", cmp.Or(run.Title, run.WorkflowID), result, "")
}
