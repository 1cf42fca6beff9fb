package github

import (
	"cmp"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/git"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/hub"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
)

// push: https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
//
// Pushes are most of what GitHub sends and their bodies the largest, so a push reads itself, member by member.
type push struct {
	hub.Envelope
	ref     string
	before  string
	after   string // zeros when the ref was deleted
	created bool
	deleted bool
	forced  bool
	compare string
	commits payload.First[commit]
	head    commit // the commit, where after is an annotated tag's object
	pusher  person
}

type commit struct {
	id      string
	message string
	url     string
	author  person
}

// person is who wrote or pushed; the user name is known of authors with an account.
type person struct {
	name     string
	username string
}

// Member implements payload.Members.
func (p *push) Member(s *payload.Scanner, name []byte) {
	switch string(name) {
	case "ref":
		s.String(&p.ref)
	case "before":
		s.String(&p.before)
	case "after":
		s.String(&p.after)
	case "created":
		s.Bool(&p.created)
	case "deleted":
		s.Bool(&p.deleted)
	case "forced":
		s.Bool(&p.forced)
	case "compare":
		s.String(&p.compare)
	case "commits":
		payload.Elements(s, &p.commits)
	case "head_commit":
		s.Object(&p.head)
	case "pusher":
		s.Object(&p.pusher)
	case "repository":
		s.Object(&p.Repository)
	case "sender":
		s.Object(&p.Sender)
	}
}

// Member implements payload.Members.
func (c *commit) Member(s *payload.Scanner, name []byte) {
	switch string(name) {
	case "id":
		s.String(&c.id)
	case "message":
		s.String(&c.message)
	case "url":
		s.String(&c.url)
	case "author":
		s.Object(&c.author)
	}
}

// Member implements payload.Members.
func (p *person) Member(s *payload.Scanner, name []byte) {
	switch string(name) {
	case "name":
		s.String(&p.name)
	case "username":
		s.String(&p.username)
	}
}

func (p *push) Describe(e *bellhop.Event) {
	git.SetRef(e, p.ref)
	e.Actor = cmp.Or(e.Actor, p.pusher.name)
	e.Before, e.Commit = git.Hash(p.before), git.Hash(p.after)
	e.Link = p.compare
	switch {
	case p.deleted || p.after != "" && e.Commit == "":
		e.Link = ""
		describe.Deletion(e)
	case e.Tag != "":
		e.Commit = cmp.Or(p.head.id, e.Commit)
		describe.Tag(e, e.Before != "", "")
	default:
		commits := describe.Commits{
			First: make([]describe.Commit, len(p.commits.Items)), Total: p.commits.Total, Created: p.created, Forced: p.forced,
		}
		for i, c := range p.commits.Items {
			commits.First[i] = describe.Commit{ID: c.id, Message: c.message, URL: c.url, Author: cmp.Or(c.author.username, c.author.name)}
		}
		describe.Push(e, commits)
	}
}
