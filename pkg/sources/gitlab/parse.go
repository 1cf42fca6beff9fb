package gitlab

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/git"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// Parse makes one event of every request.
func (s *source) Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	body, err := payload.JSON(r)
	if err != nil {
		return nil, err
	}
	// What it is, is told in the body: the header of system hooks does not say it. Names of the v1 events
	// (object_kind) and of system hooks (event_name) agree where both exist.
	var head heading
	if err := payload.Decode(body, &head); err != nil && !errors.Is(err, payload.ErrShape) {
		return nil, err
	}
	name := string(cmp.Or(head.ObjectKind, head.EventName))
	var p message = new(other)
	if empty, ok := messages[name]; ok {
		p = empty()
	}
	if err := payload.Decode(body, p); errors.Is(err, payload.ErrShape) {
		// Half understood is not understood: nobody acts on a push of which a part is a guess.
		p = new(other)
		payload.Salvage(body, p)
	} else if err != nil {
		return nil, err
	}
	common := p.common()
	events := []bellhop.Event{{
		Type:       cmp.Or(r.Header.Get(headerEvent), name),
		DeliveryID: cmp.Or(r.Header.Get(headerIdempotency), r.Header.Get(verify.HeaderWebhookID)),
		Actor:      common.actor(),
		Repo:       common.repo(),
	}}
	e := &events[0]
	if e.Type == "System Hook" {
		e.Action = name
	}
	p.describe(e)
	if e.Reason == "" {
		action := e.Action
		if action == name { // of a system hook
			action = ""
		}
		e.Reason = text.Camel(name, action)
	}
	e.Link = text.Web(e.Link, e.Repo.WebURL)
	if e.Title == "" {
		describe.Other(e, text.Words(cmp.Or(cmp.Or(name, e.Type), "event")), "")
	}
	return events, nil
}

// heading tells what a body is.
type heading struct {
	ObjectKind payload.Text `json:"object_kind"`
	EventName  payload.Text `json:"event_name"`
}

type message interface {
	common() *envelope
	// describe completes an event whose Type, DeliveryID, Actor and Repo are set.
	describe(e *bellhop.Event)
}

// messages are the bodies with words of their own, by object_kind or event_name.
var messages = map[string]func() message{
	"push":          func() message { return new(push) },
	"tag_push":      func() message { return new(push) },
	"merge_request": func() message { return new(mergeRequest) },
	"pipeline":      func() message { return new(pipeline) },
	"build":         func() message { return new(job) },
	"deployment":    func() message { return new(deployment) },
	"note":          func() message { return new(note) },
	"issue":         func() message { return new(issue) },
	"work_item":     func() message { return new(issue) },
	"release":       func() message { return new(release) },
	"vulnerability": func() message { return new(vulnerability) },
}

// envelope is what most bodies have. Pushes name the user in fields of their own.
type envelope struct {
	UserName     string `json:"user_name"`
	UserUsername string `json:"user_username"`
	User         struct {
		Name     string `json:"name"`
		Username string `json:"username"`
	} `json:"user"`
	Project struct {
		Path       string `json:"path_with_namespace"`
		WebURL     string `json:"web_url"`
		GitHTTPURL string `json:"git_http_url"`
		GitSSHURL  string `json:"git_ssh_url"`
	} `json:"project"`
	// Repository is the older form; jobs have only it.
	Repository struct {
		Name       string `json:"name"`
		Homepage   string `json:"homepage"`
		GitHTTPURL string `json:"git_http_url"`
		GitSSHURL  string `json:"git_ssh_url"`
	} `json:"repository"`
}

func (p *envelope) common() *envelope { return p }

func (p *envelope) actor() string {
	return cmp.Or(cmp.Or(p.User.Username, p.User.Name), cmp.Or(p.UserUsername, p.UserName))
}

func (p *envelope) repo() bellhop.Repo {
	return bellhop.Repo{
		Name:    cmp.Or(p.Project.Path, p.Repository.Name),
		HTTPURL: cmp.Or(p.Project.GitHTTPURL, p.Repository.GitHTTPURL),
		SSHURL:  cmp.Or(p.Project.GitSSHURL, p.Repository.GitSSHURL),
		WebURL:  text.Web(p.Project.WebURL, p.Repository.Homepage),
	}
}

// other is any body without words of its own, and any of another shape than expected.
type other struct{ envelope }

func (*other) describe(*bellhop.Event) {}

// push: https://docs.gitlab.com/user/project/integrations/webhook_events/#push-events and #tag-events
type push struct {
	envelope
	Ref          string                `json:"ref"`
	Before       string                `json:"before"`
	After        string                `json:"after"`        // zeros when the ref was deleted
	CheckoutSHA  string                `json:"checkout_sha"` // the commit of an annotated tag
	Message      string                `json:"message"`      // of an annotated tag
	Commits      payload.First[commit] `json:"commits"`
	TotalCommits int                   `json:"total_commits_count"`
}

type commit struct {
	ID      string `json:"id"`
	Message string `json:"message"`
	URL     string `json:"url"`
	Author  struct {
		Name string `json:"name"`
	} `json:"author"`
}

func (p *push) describe(e *bellhop.Event) {
	git.SetRef(e, p.Ref)
	e.Before, e.Commit = git.Hash(p.Before), git.Hash(p.After)
	switch {
	case p.After != "" && e.Commit == "":
		describe.Deletion(e)
	case e.Tag != "":
		e.Commit = cmp.Or(p.CheckoutSHA, e.Commit)
		if e.Repo.WebURL != "" {
			e.Link = e.Repo.WebURL + "/-/tags/" + url.PathEscape(e.Tag)
		}
		describe.Tag(e, e.Before != "", p.Message)
	default:
		commits := describe.Commits{Total: p.TotalCommits, Created: p.Before != "" && e.Before == ""}
		for _, c := range p.Commits.Items {
			commits.First = append(commits.First, describe.Commit{ID: c.ID, Message: c.Message, URL: c.URL, Author: c.Author.Name})
		}
		if e.Repo.WebURL != "" && e.Commit != "" {
			e.Link = e.Repo.WebURL + "/-/commit/" + e.Commit
			if e.Before != "" {
				e.Link = e.Repo.WebURL + "/-/compare/" + e.Before + "..." + e.Commit
			}
		}
		describe.Push(e, commits)
	}
}

type request struct {
	IID          int64  `json:"iid"`
	Title        string `json:"title"`
	Description  string `json:"description"`
	URL          string `json:"url"`
	Action       string `json:"action"` // open, close, reopen, update, approved, unapproved, approval, unapproval, merge
	State        string `json:"state"`
	OldRevision  string `json:"oldrev"` // set when commits were pushed
	SourceBranch string `json:"source_branch"`
	TargetBranch string `json:"target_branch"`
	LastCommit   struct {
		ID string `json:"id"`
	} `json:"last_commit"`
}

func (p *request) fill(e *bellhop.Event) {
	e.Branch, e.Commit, e.Link = p.SourceBranch, p.LastCommit.ID, p.URL
	e.PullRequest = bellhop.PullRequest{Number: p.IID, Title: p.Title, URL: text.Web(p.URL), Head: p.SourceBranch, Base: p.TargetBranch}
}

// mergeRequest: https://docs.gitlab.com/user/project/integrations/webhook_events/#merge-request-events
type mergeRequest struct {
	envelope
	Attributes request `json:"object_attributes"`
}

// done are GitLab's verbs as participles.
var done = map[string]string{
	"open": "opened", "close": "closed", "reopen": "reopened", "update": "updated", "merge": "merged",
	"approval": "approved", "unapproval": "unapproved", "create": "created", "delete": "deleted",
}

func deed(action, state string) string {
	return text.Words(cmp.Or(done[action], action, state, "changed"))
}

func (p *mergeRequest) describe(e *bellhop.Event) {
	a := &p.Attributes
	a.fill(e)
	e.Action = cmp.Or(a.Action, e.Action)
	did, description := deed(a.Action, a.State), ""
	if a.Action == "open" {
		description = a.Description
	}
	e.Reason = text.Camel("merge_request", did)
	describe.PullRequest(e, "merge request", "!", did, description)
}

// outcome describes a pipeline, job or deployment.
func outcome(e *bellhop.Event, what, phrase, status string, harmless bool) {
	e.Kind, e.Action, e.Reason = bellhop.KindCI, status, text.Camel(what, status)
	if status == "failed" && !harmless {
		e.Severity = bellhop.Error
	}
	phrase += ": " + cmp.Or(text.Words(status), "changed")
	if on := text.Line(cmp.Or(cmp.Or(e.Branch, e.Tag), e.Ref)); on != "" {
		phrase += " on " + on
		if e.Repo.Name != "" {
			phrase += " of " + text.Line(e.Repo.Name)
		}
	}
	describe.Other(e, phrase, "")
}

// shortRef sets the ref of a pipeline or job, which is short and stands beside a flag.
func shortRef(e *bellhop.Event, ref string, tag bool) {
	e.Ref = ref
	if tag {
		e.Tag = ref
	} else {
		e.Branch = ref
	}
}

// pipeline: https://docs.gitlab.com/user/project/integrations/webhook_events/#pipeline-events
type pipeline struct {
	envelope
	Attributes struct {
		ID     int64  `json:"id"`
		Ref    string `json:"ref"`
		Tag    bool   `json:"tag"`
		SHA    string `json:"sha"`
		Status string `json:"status"`
		URL    string `json:"url"`
	} `json:"object_attributes"`
	MergeRequest request `json:"merge_request"`
}

func (p *pipeline) describe(e *bellhop.Event) {
	a := &p.Attributes
	if p.MergeRequest.IID != 0 {
		p.MergeRequest.fill(e)
	}
	shortRef(e, a.Ref, a.Tag)
	if strings.HasPrefix(a.Ref, "refs/") { // refs/merge-requests/1/head of a merge request's own pipeline
		e.Branch = p.MergeRequest.SourceBranch
	}
	e.Commit, e.Link = a.SHA, a.URL
	phrase := "pipeline"
	if a.ID != 0 {
		phrase += fmt.Sprintf(" #%d", a.ID)
		if e.Link == "" && e.Repo.WebURL != "" {
			e.Link = fmt.Sprintf("%s/-/pipelines/%d", e.Repo.WebURL, a.ID)
		}
	}
	outcome(e, "pipeline", phrase, a.Status, false)
}

// job: https://docs.gitlab.com/user/project/integrations/webhook_events/#job-events
type job struct {
	envelope
	Ref          string `json:"ref"`
	Tag          bool   `json:"tag"`
	SHA          string `json:"sha"`
	ID           int64  `json:"build_id"`
	Name         string `json:"build_name"`
	Status       string `json:"build_status"`
	AllowFailure bool   `json:"build_allow_failure"`
}

func (p *job) describe(e *bellhop.Event) {
	shortRef(e, p.Ref, p.Tag)
	e.Commit = p.SHA
	if e.Repo.WebURL != "" && p.ID != 0 {
		e.Link = fmt.Sprintf("%s/-/jobs/%d", e.Repo.WebURL, p.ID)
	}
	outcome(e, "job", strings.TrimSpace("job "+text.Line(p.Name)), p.Status, p.AllowFailure)
}

// deployment: https://docs.gitlab.com/user/project/integrations/webhook_events/#deployment-events
type deployment struct {
	envelope
	Status        string `json:"status"`
	Environment   string `json:"environment"`
	Ref           string `json:"ref"`       // a branch or a tag; not told which
	ShortSHA      string `json:"short_sha"` // eight digits
	DeployableURL string `json:"deployable_url"`
}

func (p *deployment) describe(e *bellhop.Event) {
	e.Ref, e.Commit, e.Link = p.Ref, p.ShortSHA, p.DeployableURL
	outcome(e, "deployment", "deployment to "+cmp.Or(text.Line(p.Environment), "an environment"), p.Status, false)
}

// note: https://docs.gitlab.com/user/project/integrations/webhook_events/#comment-events
type note struct {
	envelope
	Attributes struct {
		Note   string `json:"note"`
		URL    string `json:"url"`
		Action string `json:"action"`
		On     string `json:"noteable_type"` // Commit, MergeRequest, Issue, Snippet
	} `json:"object_attributes"`
	MergeRequest request `json:"merge_request"`
	Issue        topic   `json:"issue"`
	Commit       struct {
		ID string `json:"id"`
	} `json:"commit"`
	Snippet topic `json:"snippet"`
}

type topic struct {
	IID         int64  `json:"iid"`
	Title       string `json:"title"`
	Description string `json:"description"`
	URL         string `json:"url"`
	Action      string `json:"action"`
	State       string `json:"state"`
}

func (p *note) describe(e *bellhop.Event) {
	phrase, title := "comment", ""
	switch p.Attributes.On {
	case "MergeRequest":
		p.MergeRequest.fill(e)
		phrase, title = fmt.Sprintf("comment on merge request !%d", p.MergeRequest.IID), p.MergeRequest.Title
	case "Issue":
		phrase, title = fmt.Sprintf("comment on issue #%d", p.Issue.IID), p.Issue.Title
	case "Snippet":
		phrase, title = "comment on a snippet", p.Snippet.Title
	case "Commit":
		e.Commit = p.Commit.ID
		phrase = "comment on commit " + bellhop.ShortCommit(p.Commit.ID)
	}
	e.Kind, e.Link = bellhop.KindComment, p.Attributes.URL
	e.Action = cmp.Or(p.Attributes.Action, e.Action)
	describe.Other(e, titled(phrase, title), p.Attributes.Note)
}

// issue: https://docs.gitlab.com/user/project/integrations/webhook_events/#work-item-events
type issue struct {
	envelope
	Attributes topic `json:"object_attributes"`
}

func (p *issue) describe(e *bellhop.Event) {
	a := &p.Attributes
	e.Link, e.Action = a.URL, cmp.Or(a.Action, e.Action)
	did, description := deed(a.Action, a.State), ""
	if a.Action == "open" {
		description = a.Description
	}
	e.Reason = text.Camel("issue", did)
	phrase := "issue"
	if a.IID != 0 {
		phrase += fmt.Sprintf(" #%d", a.IID)
	}
	describe.Other(e, titled(phrase+" "+did, a.Title), description)
}

// release: https://docs.gitlab.com/user/project/integrations/webhook_events/#release-events
type release struct {
	envelope
	Name        string `json:"name"`
	Tag         string `json:"tag"`
	Description string `json:"description"`
	URL         string `json:"url"`
	Action      string `json:"action"` // create, update, delete
	Commit      struct {
		ID string `json:"id"`
	} `json:"commit"`
}

func (p *release) describe(e *bellhop.Event) {
	e.Kind, e.Tag, e.Ref, e.Commit, e.Link, e.Action = bellhop.KindRelease, p.Tag, p.Tag, p.Commit.ID, p.URL, p.Action
	did := deed(p.Action, "")
	e.Reason = text.Camel("release", did)
	name := p.Name
	if name == p.Tag {
		name = ""
	}
	description := ""
	if p.Action == "create" {
		description = p.Description
	}
	describe.Other(e, titled(strings.TrimSpace("release "+text.Line(p.Tag))+" "+did, name), description)
}

// vulnerability: https://docs.gitlab.com/user/project/integrations/webhook_events/#vulnerability-events
type vulnerability struct {
	envelope
	Attributes struct {
		Title string `json:"title"`
		URL   string `json:"url"`
		State string `json:"state"` // detected, confirmed, resolved, dismissed
	} `json:"object_attributes"`
}

func (p *vulnerability) describe(e *bellhop.Event) {
	a := &p.Attributes
	e.Kind, e.Link, e.Action = bellhop.KindAlert, a.URL, a.State
	if e.Severity = bellhop.Error; a.State == "resolved" || a.State == "dismissed" {
		e.Severity = bellhop.Info
	}
	describe.Other(e, titled("vulnerability "+cmp.Or(text.Words(a.State), "changed"), a.Title), "")
}

func titled(phrase, title string) string {
	if t := text.Line(title); t != "" {
		return phrase + ": " + t
	}
	return phrase
}
