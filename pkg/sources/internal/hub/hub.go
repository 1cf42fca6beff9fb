// Package hub reads the payloads that GitHub made up and that Gitea, Forgejo and Gogs send in the same form.
//
// What one of them sends in a form of its own stays with its source, as a Message beside those that are here.
package hub

import (
	"cmp"
	"errors"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// Message is the part of a payload that its event needs. Fields that the sender leaves out or sets to null are
// zero.
type Message interface {
	Common() *Envelope
	// Describe completes an event whose Type, Action, DeliveryID, Actor and Repo are set.
	Describe(e *bellhop.Event)
}

// Messages make an empty message for each event type that has words of its own.
type Messages map[string]func() Message

// Parse makes one event of a delivery's JSON. The name is its type, id its delivery id.
func Parse(body []byte, name, id string, messages Messages) ([]bellhop.Event, error) {
	var p Message
	if empty, ok := messages[name]; ok {
		p = empty()
	} else {
		p = new(Other)
	}
	if err := payload.Decode(body, p); errors.Is(err, payload.ErrShape) {
		// Half understood is not understood: nobody acts on a push of which a part is a guess.
		p = new(Other)
		payload.Salvage(body, p)
	} else if err != nil {
		return nil, err
	}
	common := p.Common()
	events := []bellhop.Event{{
		Type:       name,
		Action:     common.Action,
		DeliveryID: id,
		Actor:      common.Sender.Login,
		Repo:       common.Repository.Repo(),
	}}
	e := &events[0]
	p.Describe(e)
	if e.Reason == "" {
		e.Reason = text.Camel(name, e.Action)
	}
	e.Link = text.Web(e.Link, e.Repo.WebURL)
	if e.Title == "" {
		describe.Other(e, strings.TrimSpace(text.Words(cmp.Or(name, "event"))+" "+text.Words(e.Action)), "")
	}
	return events, nil
}

// Envelope is what most payloads have.
type Envelope struct {
	Action     string     `json:"action"`
	Repository Repository `json:"repository"`
	Sender     User       `json:"sender"`
}

// Common implements Message.
func (p *Envelope) Common() *Envelope { return p }

// User is who caused an event, or whom it is about.
type User struct {
	Login string `json:"login"`
}

// Repository is with its clone URLs.
type Repository struct {
	FullName string `json:"full_name"`
	CloneURL string `json:"clone_url"` // https://github.com/owner/name.git
	SSHURL   string `json:"ssh_url"`   // git@github.com:owner/name.git
	HTMLURL  string `json:"html_url"`
}

// Repo is what events say of it.
func (r *Repository) Repo() bellhop.Repo {
	return bellhop.Repo{Name: r.FullName, HTTPURL: r.CloneURL, SSHURL: r.SSHURL, WebURL: text.Web(r.HTMLURL)}
}

// Other is any event type without words of its own, and any payload of another shape than expected.
type Other struct{ Envelope }

// Describe implements Message: Parse finds the words.
func (*Other) Describe(*bellhop.Event) {}

// Member implements payload.Members.
func (r *Repository) Member(s *payload.Scanner, name []byte) {
	switch string(name) {
	case "full_name":
		s.String(&r.FullName)
	case "clone_url":
		s.String(&r.CloneURL)
	case "ssh_url":
		s.String(&r.SSHURL)
	case "html_url":
		s.String(&r.HTMLURL)
	}
}

// Member implements payload.Members.
func (u *User) Member(s *payload.Scanner, name []byte) {
	if string(name) == "login" {
		s.String(&u.Login)
	}
}
