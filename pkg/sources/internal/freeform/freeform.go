// Package freeform reads what any sender may post: JSON with the fields that many have in common, a form that
// holds such JSON, text, or bytes.
//
// Nothing of it is required. A Flux event is an event of kind flux. What Distribution, Alibaba Cloud and JFrog
// Artifactory post of container images makes events of them. Everything else is of kind other, with as much of title,
// message, severity, link, ref, commit and repository as the body has under its usual names.
package freeform

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/fluxevent"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/git"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// Parse makes one event of every request, of a registry's one for every image. What says that it is JSON and is not
// is an error.
func Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	mediaType := payload.MediaType(r)
	if mediaType == "application/x-www-form-urlencoded" {
		if p := bellhop.FormPayload(r.Body); p != nil {
			return understood(p)
		}
	}
	switch {
	case payload.IsJSON(mediaType):
		return understood(r.Body)
	case mediaType == "" && payload.IsJSONText(r.Body):
		return understood(r.Body)
	}
	e := bellhop.Event{Reason: "Event"}
	if utf8.Valid(r.Body) {
		line := text.Line(string(r.Body))
		e.Message = text.Escape(line)
		describe.Other(&e, cmp.Or(line, "an empty message"), "")
		if e.Message == "" {
			e.Message = e.Title
		}
	} else {
		describe.Other(&e, fmt.Sprintf("%d bytes of %s", len(r.Body), cmp.Or(mediaType, "unknown type")), "")
	}
	return []bellhop.Event{e}, nil
}

// message is what is understood of JSON from anybody. Fields are texts where senders differ: a commit is a
// hash here and an object there.
type message struct {
	InvolvedObject payload.Present `json:"involvedObject"` // of a Flux event

	Severity payload.Text `json:"severity"`
	Reason   payload.Text `json:"reason"`
	Title    payload.Text `json:"title"`
	Summary  payload.Text `json:"summary"`
	Message  payload.Text `json:"message"`
	Text     payload.Text `json:"text"`
	Link     payload.Text `json:"link"`
	URL      payload.Text `json:"url"`
	Compare  payload.Text `json:"compare"`
	Type     payload.Text `json:"type"`
	Event    payload.Text `json:"event"`
	Action   payload.Text `json:"action"`
	ID       payload.Text `json:"id"`

	Ref    payload.Text `json:"ref"`
	Branch payload.Text `json:"branch"`
	Tag    payload.Text `json:"tag"`
	Before payload.Text `json:"before"`
	After  payload.Text `json:"after"`
	Commit payload.Text `json:"commit"`
	Head   struct {
		ID payload.Text `json:"id"`
	} `json:"head_commit"`
	Repository struct {
		FullName payload.Text `json:"full_name"`
		Name     payload.Text `json:"name"`
		CloneURL payload.Text `json:"clone_url"`
		SSHURL   payload.Text `json:"ssh_url"`
		HTMLURL  payload.Text `json:"html_url"`
		URL      payload.Text `json:"url"`
	} `json:"repository"`
	Sender struct {
		Login payload.Text `json:"login"`
	} `json:"sender"`
	Pusher struct {
		Name payload.Text `json:"name"`
	} `json:"pusher"`
	Actor payload.Text `json:"actor"`
	User  payload.Text `json:"user"`
}

func understood(body []byte) ([]bellhop.Event, error) {
	var m message
	if err := payload.Decode(body, &m); errors.Is(err, payload.ErrShape) {
		payload.Salvage(body, &m)
	} else if err != nil {
		return nil, err
	}
	if m.InvolvedObject {
		var f fluxevent.Message
		if payload.Decode(body, &f) == nil && f.IsEvent() {
			return []bellhop.Event{f.Event()}, nil
		}
	}
	if events, ok := images(body); ok {
		return events, nil
	}
	e := bellhop.Event{
		Type:   cmp.Or(string(m.Type), string(m.Event)),
		Action: string(m.Action),
		Actor:  first(m.Sender.Login, m.Pusher.Name, m.Actor, m.User),
		Before: git.Hash(string(m.Before)),
		Commit: cmp.Or(git.Hash(string(m.After)), first(m.Commit, m.Head.ID)),
		Repo: bellhop.Repo{
			Name:    first(m.Repository.FullName, m.Repository.Name),
			HTTPURL: first(m.Repository.CloneURL, m.Repository.URL),
			SSHURL:  string(m.Repository.SSHURL),
			WebURL:  text.Web(string(m.Repository.HTMLURL), string(m.Repository.URL)),
		},
		Reason: text.Camel(cmp.Or(string(m.Reason), cmp.Or(string(m.Type), string(m.Event))+" "+string(m.Action))),
	}
	git.SetRef(&e, string(m.Ref))
	e.Branch, e.Tag = cmp.Or(e.Branch, string(m.Branch)), cmp.Or(e.Tag, string(m.Tag))
	e.Link = text.Web(string(m.Link), string(m.Compare), string(m.URL), e.Repo.WebURL)
	if strings.EqualFold(string(m.Severity), "error") {
		e.Severity = bellhop.Error
	}
	note := first(m.Message, m.Text, m.Summary)
	phrase := first(m.Title, m.Summary, m.Message, m.Text)
	e.Message = text.Body(note)
	describe.Other(&e, cmp.Or(text.Line(phrase), cmp.Or(text.Words(e.Type+" "+e.Action), "event")), "")
	return []bellhop.Event{e}, nil
}

func first(texts ...payload.Text) string {
	for _, t := range texts {
		if t != "" {
			return string(t)
		}
	}
	return ""
}
