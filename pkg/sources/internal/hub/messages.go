package hub

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/git"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// Create comes beside the push of a new ref.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#create
type Create struct {
	Envelope
	Ref     string `json:"ref"`      // short
	RefType string `json:"ref_type"` // branch, tag
	SHA     string `json:"sha"`      // of Gitea alone
}

// Describe implements Message.
func (p *Create) Describe(e *bellhop.Event) {
	e.Commit = git.Hash(p.SHA)
	switch p.setRef(e); {
	case e.Tag != "":
		describe.Tag(e, false, "")
	case e.Branch != "":
		describe.Push(e, describe.Commits{Created: true})
	}
}

func (p *Create) setRef(e *bellhop.Event) {
	git.SetRef(e, p.Ref)
	switch {
	case e.Branch != "" || e.Tag != "": // spelled in full, against the rule
	case p.RefType == "tag":
		e.Tag = p.Ref
	case p.RefType == "branch":
		e.Branch = p.Ref
	}
}

// Delete comes beside the push of a deleted ref.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#delete
type Delete struct{ Create }

// Describe implements Message.
func (p *Delete) Describe(e *bellhop.Event) {
	if p.setRef(e); e.Tag != "" || e.Branch != "" {
		describe.Deletion(e)
	}
}

// PullRequest is with its branches.
type PullRequest struct {
	Number  int64  `json:"number"`
	Title   string `json:"title"`
	Body    string `json:"body"`
	HTMLURL string `json:"html_url"`
	Merged  bool   `json:"merged"`
	Head    struct {
		Ref string `json:"ref"`
		SHA string `json:"sha"`
	} `json:"head"`
	Base struct {
		Ref string `json:"ref"`
	} `json:"base"`
}

// Fill sets what events say of it.
func (p *PullRequest) Fill(e *bellhop.Event) {
	e.Branch, e.Commit = p.Head.Ref, p.Head.SHA
	e.PullRequest = bellhop.PullRequest{Number: p.Number, Title: p.Title, URL: text.Web(p.HTMLURL), Head: p.Head.Ref, Base: p.Base.Ref}
	e.Link = p.HTMLURL
}

// PullRequestEvent is what was done to a pull request.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request
type PullRequestEvent struct {
	Envelope
	Number      int64       `json:"number"`
	PullRequest PullRequest `json:"pull_request"`
}

// Describe implements Message.
func (p *PullRequestEvent) Describe(e *bellhop.Event) {
	if p.PullRequest.Number == 0 {
		p.PullRequest.Number = p.Number
	}
	p.PullRequest.Fill(e)
	deed, note := text.Words(p.Action), ""
	switch p.Action {
	case "closed":
		if p.PullRequest.Merged {
			e.Reason, deed = "PullRequestMerged", "merged"
		}
	case "synchronize", "synchronized": // GitHub, Gitea
		deed = "updated"
	case "opened":
		note = p.PullRequest.Body
	}
	describe.PullRequest(e, "pull request", "#", deed, note)
}

// Release is what was done to a release.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#release
type Release struct {
	Envelope
	Release struct {
		TagName    string `json:"tag_name"`
		Name       string `json:"name"`
		Body       string `json:"body"`
		HTMLURL    string `json:"html_url"`
		Prerelease bool   `json:"prerelease"`
	} `json:"release"`
}

// Describe implements Message.
func (p *Release) Describe(e *bellhop.Event) {
	r := p.Release
	e.Kind, e.Tag, e.Ref, e.Link = bellhop.KindRelease, r.TagName, r.TagName, r.HTMLURL
	what := "release"
	if r.Prerelease {
		what = "pre-release"
	}
	note := ""
	switch p.Action {
	case "published", "released", "prereleased":
		note = r.Body
	}
	title := strings.TrimSpace(what + " " + r.TagName + " " + text.Words(p.Action))
	if r.Name != "" && r.Name != r.TagName {
		title += ": " + r.Name
	}
	describe.Other(e, title, note)
}

// Outcome describes a check: its name, what became of it and where. The conclusion is empty until the
// check is completed.
func Outcome(e *bellhop.Event, what, name, state, conclusion string) {
	e.Kind = bellhop.KindCI
	result := cmp.Or(conclusion, state, e.Action)
	e.Reason = text.Camel(what, result)
	switch result {
	case "failure", "error", "timed_out", "startup_failure", "action_required":
		e.Severity = bellhop.Error
	}
	phrase := strings.TrimSpace(text.Words(what)+" "+text.Line(name)) + ": " + cmp.Or(text.Words(result), "changed")
	where := text.Line(e.Repo.Name)
	if e.Branch != "" {
		where = strings.TrimSuffix(text.Line(e.Branch)+" of "+where, " of ")
	}
	if where != "" {
		phrase += " on " + where
	}
	describe.Other(e, phrase, "")
}

// Suite is what checks and workflows ran on, and what became of them.
type Suite struct {
	HeadBranch string `json:"head_branch"`
	HeadSHA    string `json:"head_sha"`
	Status     string `json:"status"`
	Conclusion string `json:"conclusion"`
	App        struct {
		Name string `json:"name"`
	} `json:"app"`
}

// Status is a commit status that somebody set.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#status
type Status struct {
	Envelope
	SHA         string `json:"sha"`
	State       string `json:"state"` // pending, success, failure, error
	Context     string `json:"context"`
	Description string `json:"description"`
	TargetURL   string `json:"target_url"`
	Branches    []struct {
		Name string `json:"name"`
	} `json:"branches"` // those that contain the commit
}

// Describe implements Message.
func (p *Status) Describe(e *bellhop.Event) {
	e.Commit, e.Link = p.SHA, p.TargetURL
	if len(p.Branches) == 1 {
		e.Branch = p.Branches[0].Name
	}
	if e.Link == "" && e.Repo.WebURL != "" && p.SHA != "" {
		e.Link = e.Repo.WebURL + "/commit/" + p.SHA
	}
	Outcome(e, "status", p.Context, p.State, "")
	describe.Note(e, text.Escape(p.Description))
}

// WorkflowRun is a workflow that runs or ran.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#workflow_run
type WorkflowRun struct {
	Envelope
	WorkflowRun struct {
		Suite
		Name    string `json:"name"`
		HTMLURL string `json:"html_url"`
	} `json:"workflow_run"`
	Workflow struct {
		Name string `json:"name"`
	} `json:"workflow"`
}

// Describe implements Message.
func (p *WorkflowRun) Describe(e *bellhop.Event) {
	w := &p.WorkflowRun
	e.Branch, e.Commit, e.Link = w.HeadBranch, w.HeadSHA, w.HTMLURL
	Outcome(e, "workflow_run", cmp.Or(w.Name, p.Workflow.Name), w.Status, w.Conclusion)
}

// WorkflowJob is a job of such a workflow.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#workflow_job
type WorkflowJob struct {
	Envelope
	WorkflowJob struct {
		Suite
		Name         string `json:"name"`
		WorkflowName string `json:"workflow_name"`
		HTMLURL      string `json:"html_url"`
	} `json:"workflow_job"`
}

// Describe implements Message.
func (p *WorkflowJob) Describe(e *bellhop.Event) {
	w := &p.WorkflowJob
	e.Branch, e.Commit, e.Link = w.HeadBranch, w.HeadSHA, w.HTMLURL
	name := w.Name
	if w.WorkflowName != "" {
		name = w.WorkflowName + " / " + w.Name
	}
	Outcome(e, "workflow_job", name, w.Status, w.Conclusion)
}

// Remark is what somebody wrote.
type Remark struct {
	Body     string `json:"body"`
	HTMLURL  string `json:"html_url"`
	CommitID string `json:"commit_id"`
}

// Topic is what is written about: an issue, a pull request, a discussion.
type Topic struct {
	Number      int64           `json:"number"`
	Title       string          `json:"title"`
	Body        string          `json:"body"`
	HTMLURL     string          `json:"html_url"`
	PullRequest payload.Present `json:"pull_request"` // the issue is a pull request
}

// Comment is on an issue, a pull request, a commit or a discussion.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#issue_comment, #commit_comment and
// #discussion_comment
type Comment struct {
	Envelope
	Comment    Remark `json:"comment"`
	Issue      Topic  `json:"issue"`
	Discussion Topic  `json:"discussion"`
}

// Describe implements Message.
func (p *Comment) Describe(e *bellhop.Event) {
	e.Kind, e.Link, e.Commit = bellhop.KindComment, p.Comment.HTMLURL, p.Comment.CommitID
	on, about := "comment", &p.Issue
	switch {
	case p.Comment.CommitID != "":
		on = "comment on commit " + bellhop.ShortCommit(p.Comment.CommitID)
	case p.Discussion.Number != 0:
		on, about = "comment on discussion", &p.Discussion
	case bool(p.Issue.PullRequest):
		on = "comment on pull request"
		e.PullRequest = bellhop.PullRequest{Number: p.Issue.Number, Title: p.Issue.Title, URL: text.Web(p.Issue.HTMLURL)}
	case p.Issue.Number != 0:
		on = "comment on issue"
	}
	describe.Other(e, Numbered(on, about.Number, p.Action, about.Title), p.Comment.Body)
}

// Issue is what was done to an issue or a discussion.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#issues and #discussion
type Issue struct {
	Envelope
	Issue      Topic `json:"issue"`
	Discussion Topic `json:"discussion"`
}

// Describe implements Message.
func (p *Issue) Describe(e *bellhop.Event) {
	noun, about := "issue", &p.Issue
	if p.Discussion.Number != 0 {
		noun, about = "discussion", &p.Discussion
	}
	e.Link = about.HTMLURL
	note := ""
	if p.Action == "opened" || p.Action == "created" {
		note = about.Body
	}
	describe.Other(e, Numbered(noun, about.Number, p.Action, about.Title), note)
}

// Numbered is "noun #1 action: title" as far as known.
func Numbered(noun string, number int64, action, title string) string {
	s := noun
	if number != 0 {
		s += fmt.Sprintf(" #%d", number)
	}
	if action != "" {
		s += " " + text.Words(action)
	}
	if t := text.Line(title); t != "" {
		s += ": " + t
	}
	return s
}
