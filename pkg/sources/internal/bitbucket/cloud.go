// Package bitbucket reads the payloads of Bitbucket Cloud, which senders of two kinds of endpoints post: those
// of Bitbucket Cloud's own, and those that know no difference between the two Bitbuckets.
package bitbucket

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// The headers of Bitbucket Cloud, in the case of net/http. Bitbucket Data Center calls the event alike.
const (
	HeaderEvent    = "X-Event-Key"
	HeaderDelivery = "X-Request-Uuid"
)

// IsCloud reports whether a request comes from Bitbucket Cloud, which numbers its deliveries under a name of its
// own and calls no event as Bitbucket Data Center does.
func IsCloud(r *bellhop.Request) bool {
	name := r.Header.Get(HeaderEvent)
	return r.Header.Get(HeaderDelivery) != "" || name == "repo:push" || strings.HasPrefix(name, "pullrequest:")
}

// Cloud makes one event of every request of Bitbucket Cloud, of a push one for every branch and tag.
func Cloud(r *bellhop.Request) ([]bellhop.Event, error) {
	body, err := payload.JSON(r)
	if err != nil {
		return nil, err
	}
	var p message
	err = payload.Decode(body, &p)
	if errors.Is(err, payload.ErrShape) {
		payload.Salvage(body, &p)
	} else if err != nil {
		return nil, err
	}
	name := r.Header.Get(HeaderEvent)
	_, action, _ := strings.Cut(name, ":")
	e := bellhop.Event{
		Type:       name,
		Action:     action,
		DeliveryID: r.Header.Get(HeaderDelivery),
		Reason:     text.Camel(name),
		Actor:      cmp.Or(p.Actor.Nickname, p.Actor.Username, p.Actor.DisplayName),
		Repo:       p.Repository.repo(),
		Link:       p.Repository.Links.web(),
	}
	switch {
	case err != nil: // half understood is not understood
	case name == "repo:push" && p.Push.Changes != nil:
		return p.pushes(e), nil
	case strings.HasPrefix(name, "pullrequest:"):
		p.pullRequest(&e)
	case strings.HasPrefix(name, "repo:commit_status_"):
		p.status(&e)
	case name == "repo:commit_comment_created":
		e.Commit = p.Commit.Hash
		p.comment(&e, "comment on commit "+bellhop.ShortCommit(p.Commit.Hash))
	case strings.HasPrefix(name, "issue:comment"):
		p.comment(&e, numbered("comment on issue", p.Issue.ID, "", p.Issue.Title))
	case strings.HasPrefix(name, "issue:"):
		e.Link = cmp.Or(p.Issue.Links.web(), e.Link)
		describe.Other(&e, numbered("issue", p.Issue.ID, action, p.Issue.Title), p.Issue.Content.Raw)
	}
	if e.Title == "" {
		describe.Other(&e, text.Words(cmp.Or(name, "event")), "")
	}
	return []bellhop.Event{e}, nil
}

// message is the part of all payloads that their events need.
type message struct {
	Actor struct {
		Nickname    string `json:"nickname"`
		Username    string `json:"username"` // teams and old payloads
		DisplayName string `json:"display_name"`
	} `json:"actor"`
	Repository repository `json:"repository"`
	Push       struct {
		Changes []change `json:"changes"`
	} `json:"push"`
	PullRequest pullRequest `json:"pullrequest"`
	Comment     struct {
		Content content `json:"content"`
		Links   links   `json:"links"`
	} `json:"comment"`
	Commit struct {
		Hash string `json:"hash"`
	} `json:"commit"`
	Status struct {
		Name        string `json:"name"`
		Key         string `json:"key"`
		State       string `json:"state"` // SUCCESSFUL, FAILED, INPROGRESS, STOPPED
		Description string `json:"description"`
		URL         string `json:"url"`
		RefName     string `json:"refname"`
		Commit      struct {
			Hash string `json:"hash"`
		} `json:"commit"`
	} `json:"commit_status"`
	Issue struct {
		ID      int64   `json:"id"`
		Title   string  `json:"title"`
		Content content `json:"content"`
		Links   links   `json:"links"`
	} `json:"issue"`
}

type repository struct {
	FullName string `json:"full_name"`
	Links    links  `json:"links"`
}

// repo makes up the clone URLs that the payload lacks.
func (r *repository) repo() bellhop.Repo {
	repo := bellhop.Repo{Name: r.FullName, WebURL: r.Links.web()}
	if r.FullName != "" {
		repo.HTTPURL = "https://bitbucket.org/" + r.FullName + ".git"
		repo.SSHURL = "git@bitbucket.org:" + r.FullName + ".git"
	}
	return repo
}

type links struct {
	HTML struct {
		Href string `json:"href"`
	} `json:"html"`
}

// web is the address for a person, empty if there is none.
func (l *links) web() string { return text.Web(l.HTML.Href) }

type content struct {
	Raw string `json:"raw"`
}

// change: https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#Push
type change struct {
	New       target                `json:"new"` // null when the ref was deleted
	Old       target                `json:"old"` // null when it was created
	Created   bool                  `json:"created"`
	Closed    bool                  `json:"closed"`
	Forced    bool                  `json:"forced"`
	Truncated bool                  `json:"truncated"` // there are more commits than are listed
	Commits   payload.First[commit] `json:"commits"`   // newest first, five at most
	Links     links                 `json:"links"`
}

type target struct {
	Type   string `json:"type"` // branch, tag, and for Mercurial more
	Name   string `json:"name"`
	Target struct {
		Hash string `json:"hash"`
	} `json:"target"`
}

type commit struct {
	Hash    string `json:"hash"`
	Message string `json:"message"`
	Links   links  `json:"links"`
	Author  struct {
		Raw  string `json:"raw"` // Emma <emma@example.com>
		User struct {
			Nickname    string `json:"nickname"`
			DisplayName string `json:"display_name"`
		} `json:"user"`
	} `json:"author"`
}

// pushes describes every change; what all have in common stands in template. A push that changed nothing is
// no event.
func (p *message) pushes(template bellhop.Event) []bellhop.Event {
	var events []bellhop.Event
	for i := range p.Push.Changes {
		c := &p.Push.Changes[i]
		e := template
		e.Link = cmp.Or(c.Links.web(), e.Link)
		e.Before, e.Commit = c.Old.Target.Hash, c.New.Target.Hash
		ref := c.New
		if ref.Name == "" {
			ref = c.Old
		}
		if e.Ref = ref.Name; ref.Type == "tag" {
			e.Tag = ref.Name
		} else {
			e.Branch = ref.Name
		}
		switch {
		case ref.Name == "":
			describe.Other(&e, "push", "")
		case c.New.Name == "":
			describe.Deletion(&e)
		case e.Tag != "":
			describe.Tag(&e, e.Before != "", "")
		default:
			describe.Push(&e, c.push())
		}
		events = append(events, e)
	}
	return events
}

func (c *change) push() describe.Commits {
	p := describe.Commits{Created: c.Created, Forced: c.Forced, More: c.Truncated}
	for i := len(c.Commits.Items) - 1; i >= 0; i-- {
		one := &c.Commits.Items[i]
		author, _, _ := strings.Cut(one.Author.Raw, " <")
		p.First = append(p.First, describe.Commit{
			ID: one.Hash, Message: one.Message, URL: one.Links.web(),
			Author: cmp.Or(one.Author.User.Nickname, one.Author.User.DisplayName, author),
		})
	}
	return p
}

// pullRequest: https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#Pull-request-events
type pullRequest struct {
	ID          int64  `json:"id"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Links       links  `json:"links"`
	Source      side   `json:"source"`
	Destination side   `json:"destination"`
}

type side struct {
	Branch struct {
		Name string `json:"name"`
	} `json:"branch"`
	Commit struct {
		Hash string `json:"hash"` // twelve digits
	} `json:"commit"`
}

// deeds are Bitbucket's words for what people call otherwise.
var deeds = map[string]string{
	"created": "opened", "fulfilled": "merged", "rejected": "declined", "unapproved": "approval removed",
	"changes_request_created": "changes requested", "changes_request_removed": "request for changes removed",
}

func (p *message) pullRequest(e *bellhop.Event) {
	pr := &p.PullRequest
	e.Branch, e.Commit = pr.Source.Branch.Name, pr.Source.Commit.Hash
	e.Link = cmp.Or(pr.Links.web(), e.Link)
	e.PullRequest = bellhop.PullRequest{
		Number: pr.ID, Title: pr.Title, URL: pr.Links.web(), Head: pr.Source.Branch.Name, Base: pr.Destination.Branch.Name,
	}
	if strings.HasPrefix(e.Action, "comment_") {
		p.comment(e, numbered("comment on pull request", pr.ID, "", pr.Title))
		return
	}
	note := ""
	if e.Action == "created" {
		note = pr.Description
	}
	deed := cmp.Or(deeds[e.Action], text.Words(e.Action))
	e.Reason = text.Camel("pull request", deed)
	describe.PullRequest(e, "pull request", "#", deed, note)
}

// status: https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#Build-status-created
func (p *message) status(e *bellhop.Event) {
	s := &p.Status
	e.Kind, e.Branch, e.Commit = bellhop.KindCI, s.RefName, s.Commit.Hash
	e.Reason = text.Camel("build", strings.ToLower(s.State))
	e.Link = text.Web(s.URL, e.Link)
	if s.State == "FAILED" {
		e.Severity = bellhop.Error
	}
	state := strings.ToLower(cmp.Or(s.State, "changed"))
	if state == "inprogress" {
		state = "in progress"
	}
	phrase := "build " + text.Line(cmp.Or(s.Name, s.Key)) + ": " + state
	if e.Repo.Name != "" {
		phrase += " in " + text.Line(e.Repo.Name)
	}
	describe.Other(e, phrase, text.Escape(s.Description))
}

func (p *message) comment(e *bellhop.Event, phrase string) {
	e.Kind, e.Link = bellhop.KindComment, cmp.Or(p.Comment.Links.web(), e.Link)
	describe.Other(e, phrase, p.Comment.Content.Raw)
}

func numbered(noun string, number int64, action, title string) string {
	if number != 0 {
		noun += fmt.Sprintf(" #%d", number)
	}
	if action != "" {
		noun += " " + text.Words(action)
	}
	if t := text.Line(title); t != "" {
		noun += ": " + t
	}
	return noun
}
