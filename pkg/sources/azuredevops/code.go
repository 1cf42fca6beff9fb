package azuredevops

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/git"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// push: https://learn.microsoft.com/azure/devops/service-hooks/events#git.push
type push struct {
	Commits    payload.First[commit] `json:"commits"` // of all branches, newest first
	RefUpdates []refUpdate           `json:"refUpdates"`
	PushedBy   identity              `json:"pushedBy"`
}

type commit struct {
	CommitID string `json:"commitId"`
	Comment  string `json:"comment"`
	Author   struct {
		Name string `json:"name"`
	} `json:"author"`
}

type refUpdate struct {
	Name        string `json:"name"`
	OldObjectID string `json:"oldObjectId"` // zeros when the ref was created
	NewObjectID string `json:"newObjectId"` // zeros when it was deleted
}

func (p *push) events(template bellhop.Event, _ *message) []bellhop.Event {
	template.Actor = p.PushedBy.DisplayName
	if len(p.RefUpdates) == 0 {
		return []bellhop.Event{template}
	}
	events := make([]bellhop.Event, len(p.RefUpdates))
	for i, u := range p.RefUpdates {
		e := &events[i]
		*e = template
		git.SetRef(e, u.Name)
		e.Before, e.Commit = git.Hash(u.OldObjectID), git.Hash(u.NewObjectID)
		switch {
		case e.Commit == "":
			describe.Deletion(e)
		case e.Tag != "":
			describe.Tag(e, e.Before != "", "")
		default:
			e.Link = text.Web(e.Repo.WebURL+"/commit/"+e.Commit, e.Link)
			describe.Push(e, p.commits(e))
		}
	}
	return events
}

// commits are those of e's branch: all of them if nothing else was pushed, or if the newest is the branch's.
func (p *push) commits(e *bellhop.Event) describe.Commits {
	pushed := describe.Commits{Created: e.Before == ""}
	first := p.Commits.Items
	if len(first) == 0 || len(p.RefUpdates) > 1 && first[0].CommitID != e.Commit {
		return pushed
	}
	pushed.Total = p.Commits.Total
	for i := len(first) - 1; i >= 0; i-- {
		c := &first[i]
		pushed.First = append(pushed.First, describe.Commit{
			ID: c.CommitID, Message: c.Comment, Author: c.Author.Name, URL: e.Repo.WebURL + "/commit/" + c.CommitID,
		})
	}
	return pushed
}

// pullRequest: https://learn.microsoft.com/azure/devops/service-hooks/events#git.pullrequest.created
type pullRequest struct {
	ID                    int64    `json:"pullRequestId"`
	Title                 string   `json:"title"`
	Description           string   `json:"description"`
	Status                string   `json:"status"`      // active, completed, abandoned
	MergeStatus           string   `json:"mergeStatus"` // succeeded, conflicts, failure, rejectedByPolicy, queued
	SourceRefName         string   `json:"sourceRefName"`
	TargetRefName         string   `json:"targetRefName"`
	CreatedBy             identity `json:"createdBy"`
	LastMergeSourceCommit struct {
		CommitID string `json:"commitId"`
	} `json:"lastMergeSourceCommit"`
	Links links `json:"_links"` // since version 2.0 of the resource
}

func (p *pullRequest) events(e bellhop.Event, m *message) []bellhop.Event {
	p.fill(&e)
	deed, note := e.Action, text.Escape(m.Message.Text)
	e.Reason = text.Camel("pull request", e.Action)
	switch {
	case e.Action == "created":
		deed, note = "opened", p.Description
	case e.Action == "merged" && p.MergeStatus != "" && p.MergeStatus != "succeeded":
		deed, e.Reason, e.Severity = "not merged ("+spaced(p.MergeStatus)+")", "PullRequestMergeFailed", bellhop.Error
	case e.Action == "merged" && p.Status != "completed": // tried out, while it goes on
		deed, e.Reason = "has a new merge commit", "PullRequestMergeCommit"
	case e.Action != "merged" && (p.Status == "completed" || p.Status == "abandoned"):
		deed, e.Reason = p.Status, text.Camel("pull request", p.Status)
	}
	severity := e.Severity
	if describe.PullRequest(&e, "pull request", "#", deed, note); severity != "" {
		e.Severity = severity
	}
	return []bellhop.Event{e}
}

// fill sets the facts.
func (p *pullRequest) fill(e *bellhop.Event) {
	git.SetRef(e, p.SourceRefName)
	var base bellhop.Event
	git.SetRef(&base, p.TargetRefName)
	e.Commit, e.Actor = p.LastMergeSourceCommit.CommitID, p.CreatedBy.DisplayName
	e.PullRequest = bellhop.PullRequest{Number: p.ID, Title: p.Title, URL: text.Web(p.Links.Web.Href), Head: e.Branch, Base: base.Branch}
	if e.PullRequest.URL == "" && e.Repo.WebURL != "" && p.ID != 0 {
		e.PullRequest.URL = fmt.Sprintf("%s/pullrequest/%d", e.Repo.WebURL, p.ID)
	}
	e.Link = cmp.Or(e.PullRequest.URL, e.Link)
}

// comment: https://learn.microsoft.com/azure/devops/service-hooks/events#ms.vss-code.git-pullrequest-comment-event
type comment struct {
	Comment struct {
		Author    identity `json:"author"`
		Content   string   `json:"content"`
		IsDeleted bool     `json:"isDeleted"`
	} `json:"comment"`
	PullRequest pullRequest `json:"pullRequest"`
}

func (p *comment) events(e bellhop.Event, _ *message) []bellhop.Event {
	p.PullRequest.fill(&e)
	e.Kind, e.Actor = bellhop.KindComment, cmp.Or(p.Comment.Author.DisplayName, e.Actor)
	what, note := "comment on pull request", p.Comment.Content
	e.Reason = "PullRequestComment"
	if p.PullRequest.ID != 0 {
		what += fmt.Sprintf(" #%d", p.PullRequest.ID)
	}
	if p.Comment.IsDeleted {
		what, note, e.Reason = what+" deleted", "", "PullRequestCommentDeleted"
	}
	if p.PullRequest.Title != "" {
		what += ": " + p.PullRequest.Title
	}
	describe.Other(&e, what, note)
	return []bellhop.Event{e}
}

// workItem: https://learn.microsoft.com/azure/devops/service-hooks/events#workitem.created
type workItem struct {
	WorkItemID int64    `json:"workItemId"` // of an update, whose own id is another
	ID         int64    `json:"id"`
	Fields     fields   `json:"fields"` // of an update only those that changed, each an object
	RevisedBy  identity `json:"revisedBy"`
	Revision   struct { // the work item after an update
		Fields fields `json:"fields"`
		Links  links  `json:"_links"`
	} `json:"revision"`
	Links links `json:"_links"`
}

type fields struct {
	Title     payload.Text `json:"System.Title"`
	Type      payload.Text `json:"System.WorkItemType"`
	ChangedBy author       `json:"System.ChangedBy"`
	History   payload.Text `json:"System.History"` // the comment
}

// author is a display name: Name <mail> in version 1.0 of the resource, an identity since.
type author string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (a *author) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	value, err := dec.ReadValue()
	if err != nil {
		return err
	}
	var combined payload.Text
	var who identity
	payload.Salvage(value, &combined) // one of them fits
	payload.Salvage(value, &who)
	name, _, _ := strings.Cut(string(combined), " <")
	*a = author(cmp.Or(who.DisplayName, name))
	return nil
}

func (p *workItem) events(e bellhop.Event, m *message) []bellhop.Event {
	f := &p.Fields
	id, by := p.ID, p.RevisedBy.DisplayName
	if p.WorkItemID != 0 {
		f, id = &p.Revision.Fields, p.WorkItemID
	}
	if e.Action == "commented" {
		e.Kind = bellhop.KindComment
	}
	e.Actor = cmp.Or(by, string(f.ChangedBy))
	e.Link = text.Web(p.Links.HTML.Href, p.Revision.Links.HTML.Href)
	e.Reason = text.Camel("work item", e.Action)
	what := fmt.Sprintf("%s #%d %s", cmp.Or(string(f.Type), "work item"), id, e.Action)
	if f.Title != "" {
		what += ": " + string(f.Title)
	}
	if m.quote(&e); e.Message != "" { // which tells what changed
		describe.Note(&e, text.Escape(string(f.History)))
	}
	describe.Other(&e, what, text.Escape(string(f.History)))
	return []bellhop.Event{e}
}
