package bitbucketserver

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/bitbucket"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/git"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// Parse makes one event of every request, of a push one for every branch and tag.
func (s source) Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	if bitbucket.IsCloud(r) {
		return bitbucket.Cloud(r)
	}
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
	name := r.Header.Get(bitbucket.HeaderEvent)
	if name == "" {
		name = p.EventKey
	}
	_, action, _ := strings.Cut(name, ":")
	repository := p.repository()
	e := bellhop.Event{
		Type:       name,
		Action:     action,
		DeliveryID: r.Header.Get(headerDelivery),
		Reason:     text.Camel(name),
		Actor:      cmp.Or(p.Actor.Name, p.Actor.DisplayName),
		Repo:       repository.repo(),
		Link:       repository.Links.web(),
	}
	switch {
	case name == eventPing:
		e.Kind, e.Reason = bellhop.KindPing, "Ping"
		describe.Other(&e, "ping", "")
	case err != nil: // half understood is not understood
	case name == "repo:refs_changed" && len(p.Changes) > 0,
		name == eventMirrored && len(p.Changes) > 0:
		return p.pushes(e), nil
	case name == eventMirrored:
		p.mirrored(&e, "")
	case strings.HasPrefix(name, "pr:"):
		p.pullRequest(&e)
	case strings.HasPrefix(name, "repo:comment:"):
		e.Kind, e.Commit = bellhop.KindComment, p.Commit
		describe.Other(&e, "comment on commit "+bellhop.ShortCommit(p.Commit)+ended(action, "comment:added"), p.Comment.Text)
	case name == "repo:forked" && repository.Origin.name() != "":
		e.Title = text.Line(repository.Origin.name()) + " forked to " + text.Line(e.Repo.Name)
		describe.Other(&e, e.Title, "")
	case name == "repo:modified":
		describe.Other(&e, "repository modified"+renamed(&p.Old, &p.New), "")
	}
	if e.Title == "" {
		describe.Other(&e, text.Words(cmp.Or(name, "event")), "")
	}
	return []bellhop.Event{e}, nil
}

// message is the part of all payloads that their events need.
type message struct {
	EventKey string `json:"eventKey"`
	Actor    struct {
		Name        string `json:"name"`
		DisplayName string `json:"displayName"`
	} `json:"actor"`
	Repository  repository  `json:"repository"`
	Changes     []change    `json:"changes"`
	Commits     []commit    `json:"commits"` // newest first, by default five at most; old versions tell none
	PullRequest pullRequest `json:"pullRequest"`
	Comment     struct {
		Text string `json:"text"`
	} `json:"comment"`
	Commit       string `json:"commit"`
	MirrorServer struct {
		Name string `json:"name"`
	} `json:"mirrorServer"`
	// Old and New are a repository that was renamed or moved.
	Old repository `json:"old"`
	New repository `json:"new"`
}

// repository is the one that the message is about: of a pull request its target's.
func (p *message) repository() *repository {
	for _, r := range []*repository{&p.Repository, &p.PullRequest.ToRef.Repository, &p.New} {
		if r.Slug != "" || len(r.Links.Clone) > 0 {
			return r
		}
	}
	return &p.Repository
}

type repository struct {
	Slug    string `json:"slug"`
	Project struct {
		Key string `json:"key"` // ~name for a person's
	} `json:"project"`
	Links  links       `json:"links"`
	Origin *repository `json:"origin"` // what it was forked from
}

// name is project/slug as far as it is known, empty for a nil repository.
func (r *repository) name() string {
	switch {
	case r == nil:
		return ""
	case r.Slug == "" || r.Project.Key == "":
		return r.Slug
	}
	return r.Project.Key + "/" + r.Slug
}

func (r *repository) repo() bellhop.Repo {
	repo := bellhop.Repo{Name: r.name(), WebURL: r.Links.web()}
	for _, l := range r.Links.Clone {
		switch l.Name {
		case "http", "https":
			repo.HTTPURL = l.Href
		case "ssh":
			repo.SSHURL = l.Href
		}
	}
	return repo
}

type links struct {
	Self  []link `json:"self"`
	Clone []link `json:"clone"` // left out of what the sender's user may not clone
}

type link struct {
	Href string `json:"href"`
	Name string `json:"name"` // http, ssh
}

// web is the address for a person, empty if there is none.
func (l *links) web() string {
	for _, one := range l.Self {
		if url := text.Web(one.Href); url != "" {
			return url
		}
	}
	return ""
}

// change: https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html#Eventpayload-Push
type change struct {
	Ref struct {
		ID        string `json:"id"` // refs/heads/main
		DisplayID string `json:"displayId"`
		Type      string `json:"type"` // BRANCH, TAG
	} `json:"ref"`
	FromHash string `json:"fromHash"` // zeros when the ref was added
	ToHash   string `json:"toHash"`   // zeros when it was deleted
	Type     string `json:"type"`     // ADD, UPDATE, DELETE
}

// maxCommits is how many commits of a push Bitbucket lists unless it is configured otherwise.
const maxCommits = 5

type commit struct {
	ID      string `json:"id"`
	Message string `json:"message"`
	Author  struct {
		Name        string `json:"name"`
		DisplayName string `json:"displayName"`
	} `json:"author"`
	Parents []struct {
		ID string `json:"id"`
	} `json:"parents"`
}

// pushes describes every change; what all have in common stands in template.
func (p *message) pushes(template bellhop.Event) []bellhop.Event {
	events := make([]bellhop.Event, len(p.Changes))
	for i := range p.Changes {
		c, e := &p.Changes[i], &events[i]
		*e = template
		git.SetRef(e, c.Ref.ID)
		switch {
		case e.Branch != "" || e.Tag != "":
		case c.Ref.Type == "TAG":
			e.Tag = c.Ref.DisplayID
		case c.Ref.Type == "BRANCH" || c.Ref.ID == "":
			e.Branch = c.Ref.DisplayID
		}
		e.Before, e.Commit = git.Hash(c.FromHash), git.Hash(c.ToHash)
		switch {
		case e.Branch == "" && e.Tag == "":
			describe.Other(e, cmp.Or(text.Line(e.Ref), "a ref")+" changed", "")
		case c.Type == "DELETE" || c.ToHash != "" && e.Commit == "":
			describe.Deletion(e)
		case e.Tag != "":
			describe.Tag(e, c.Type == "UPDATE", "")
		default:
			describe.Push(e, p.push(c))
		}
		if e.Type == eventMirrored {
			p.mirrored(e, cmp.Or(e.Branch, e.Tag, e.Ref))
		}
	}
	return events
}

// push is what came to a branch. Bitbucket tells a push's commits only once, whatever the number of its branches,
// so they are shown only where there is one.
func (p *message) push(c *change) describe.Commits {
	d := describe.Commits{Created: c.Type == "ADD"}
	if len(p.Changes) > 1 {
		return d
	}
	d.More = len(p.Commits) >= maxCommits
	for i := len(p.Commits) - 1; i >= 0; i-- {
		one := &p.Commits[i]
		for _, parent := range one.Parents {
			if parent.ID == c.FromHash {
				d.More = false // the list reaches down to where the branch was
			}
		}
		d.First = append(d.First, describe.Commit{
			ID: one.ID, Message: one.Message, Author: cmp.Or(one.Author.Name, one.Author.DisplayName),
			URL: commitURL(p.Repository.Links.web(), one.ID),
		})
	}
	return d
}

// commitURL is the page of a commit; browse is the repository's.
func commitURL(browse, id string) string {
	base, ok := strings.CutSuffix(browse, "/browse")
	if !ok || id == "" {
		return ""
	}
	return base + "/commits/" + id
}

// mirrored says what happened in words of its own: nobody pushed, a mirror has now what was pushed before. The ref
// is empty for a mirror that fetched too much to name it.
func (p *message) mirrored(e *bellhop.Event, ref string) {
	e.Title, e.Message = "", ""
	what := "mirror"
	if name := text.Line(p.MirrorServer.Name); name != "" {
		what += " " + name
	}
	what += " synchronized"
	switch ref = text.Line(ref); {
	case ref != "" && e.Kind == bellhop.KindGitDelete:
		what += " the deletion of " + ref
	case ref != "":
		what += " " + ref
	}
	describe.Other(e, what, "")
}

// pullRequest: https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html#Eventpayload-Pullrequest
type pullRequest struct {
	ID          int64  `json:"id"`
	Title       string `json:"title"`
	Description string `json:"description"`
	FromRef     side   `json:"fromRef"`
	ToRef       side   `json:"toRef"`
	Links       links  `json:"links"`
}

type side struct {
	ID           string     `json:"id"` // refs/heads/main
	DisplayID    string     `json:"displayId"`
	LatestCommit string     `json:"latestCommit"`
	Repository   repository `json:"repository"`
}

// deeds are what was done, in the words of people.
var deeds = map[string]string{
	"from_ref_updated":           "updated",
	"to_ref_updated":             "target branch updated",
	"reviewer:updated":           "reviewers changed",
	"reviewer:approved":          "approved",
	"reviewer:unapproved":        "approval removed",
	"reviewer:needs_work":        "changes requested",
	"reviewer:changes_requested": "changes requested",
}

func (p *message) pullRequest(e *bellhop.Event) {
	pr := &p.PullRequest
	e.Ref, e.Branch, e.Commit = pr.FromRef.ID, pr.FromRef.DisplayID, pr.FromRef.LatestCommit
	e.Link = cmp.Or(pr.Links.web(), e.Link)
	e.PullRequest = bellhop.PullRequest{
		Number: pr.ID, Title: pr.Title, URL: pr.Links.web(), Head: pr.FromRef.DisplayID, Base: pr.ToRef.DisplayID,
	}
	if strings.HasPrefix(e.Action, "comment:") {
		e.Kind = bellhop.KindComment
		what := "comment on pull request"
		if pr.ID != 0 {
			what += fmt.Sprintf(" #%d", pr.ID)
		}
		what += ended(e.Action, "comment:added")
		if t := text.Line(pr.Title); t != "" {
			what += ": " + t
		}
		describe.Other(e, what, p.Comment.Text)
		return
	}
	note := ""
	if e.Action == "opened" {
		note = pr.Description
	}
	deed := cmp.Or(deeds[e.Action], text.Words(e.Action))
	e.Reason = text.Camel("pull request", deed)
	describe.PullRequest(e, "pull request", "#", deed, note)
}

// ended is the last word of an action after a space, nothing for the usual one.
func ended(action, usual string) string {
	if action == usual {
		return ""
	}
	return " " + action[strings.LastIndexByte(action, ':')+1:]
}

// renamed is " from old to new" if the name differs.
func renamed(old, now *repository) string {
	if old.name() == "" || old.name() == now.name() {
		return ""
	}
	return ": " + text.Line(old.name()) + " is now " + text.Line(now.name())
}
