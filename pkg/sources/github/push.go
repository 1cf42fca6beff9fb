package github

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/git"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
)

// push: https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
//
// Pushes are most of what GitHub sends and their bodies the largest, so a push reads itself, member by member.
type push struct {
	envelope
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

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (p *push) UnmarshalJSONFrom(dec *jsontext.Decoder) error { return payload.Object(dec, p) }

func (p *push) Member(dec *jsontext.Decoder, name []byte) (bool, error) {
	switch string(name) {
	case `"ref"`:
		return true, payload.String(dec, &p.ref)
	case `"before"`:
		return true, payload.String(dec, &p.before)
	case `"after"`:
		return true, payload.String(dec, &p.after)
	case `"created"`:
		return true, payload.Bool(dec, &p.created)
	case `"deleted"`:
		return true, payload.Bool(dec, &p.deleted)
	case `"forced"`:
		return true, payload.Bool(dec, &p.forced)
	case `"compare"`:
		return true, payload.String(dec, &p.compare)
	case `"commits"`:
		return true, p.commits.UnmarshalJSONFrom(dec)
	case `"head_commit"`:
		return true, payload.Object(dec, &p.head)
	case `"pusher"`:
		return true, payload.Object(dec, &p.pusher)
	case `"repository"`:
		return true, payload.Object(dec, &p.Repository)
	case `"sender"`:
		return true, payload.Object(dec, &p.Sender)
	}
	return false, nil
}

func (c *commit) Member(dec *jsontext.Decoder, name []byte) (bool, error) {
	switch string(name) {
	case `"id"`:
		return true, payload.String(dec, &c.id)
	case `"message"`:
		return true, payload.String(dec, &c.message)
	case `"url"`:
		return true, payload.String(dec, &c.url)
	case `"author"`:
		return true, payload.Object(dec, &c.author)
	}
	return false, nil
}

func (p *person) Member(dec *jsontext.Decoder, name []byte) (bool, error) {
	switch string(name) {
	case `"name"`:
		return true, payload.String(dec, &p.name)
	case `"username"`:
		return true, payload.String(dec, &p.username)
	}
	return false, nil
}

func (r *repository) Member(dec *jsontext.Decoder, name []byte) (bool, error) {
	switch string(name) {
	case `"full_name"`:
		return true, payload.String(dec, &r.FullName)
	case `"clone_url"`:
		return true, payload.String(dec, &r.CloneURL)
	case `"ssh_url"`:
		return true, payload.String(dec, &r.SSHURL)
	case `"html_url"`:
		return true, payload.String(dec, &r.HTMLURL)
	}
	return false, nil
}

func (u *user) Member(dec *jsontext.Decoder, name []byte) (bool, error) {
	if string(name) != `"login"` {
		return false, nil
	}
	return true, payload.String(dec, &u.Login)
}

func (p *push) describe(e *bellhop.Event) {
	git.SetRef(e, p.ref)
	e.Actor = orThe(e.Actor, p.pusher.name)
	e.Before, e.Commit = git.Hash(p.before), git.Hash(p.after)
	e.Link = p.compare
	switch {
	case p.deleted || p.after != "" && e.Commit == "":
		e.Link = ""
		describe.Deletion(e)
	case e.Tag != "":
		e.Commit = orThe(p.head.id, e.Commit)
		describe.Tag(e, e.Before != "", "")
	default:
		commits := describe.Commits{
			First: make([]describe.Commit, len(p.commits.Items)), Total: p.commits.Total, Created: p.created, Forced: p.forced,
		}
		for i, c := range p.commits.Items {
			commits.First[i] = describe.Commit{ID: c.id, Message: c.message, URL: c.url, Author: orThe(c.author.username, c.author.name)}
		}
		describe.Push(e, commits)
	}
}
