package cdevents

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/image"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// message is a CDEvent, as far as events need it. Its context's version (version, since 0.5 specversion) is of no
// matter: fields come and go, and what is not there is empty.
//
// https://github.com/cdevents/spec/blob/main/spec.md
type message struct {
	Context attributes `json:"context"`
	Subject struct {
		ID      string  `json:"id"`
		Content content `json:"content"`
	} `json:"subject"`
}

// content is of all subjects together. Fields are texts where versions or subjects differ.
type content struct {
	Name         payload.Text `json:"name"`
	PipelineName payload.Text `json:"pipelineName"`
	TaskName     payload.Text `json:"taskName"`
	TestCase     named        `json:"testCase"`
	TestSuite    named        `json:"testSuite"`

	Outcome     payload.Text `json:"outcome"` // success, failure, error, cancel; of tests pass, fail, cancel, error
	Errors      payload.Text `json:"errors"`
	Reason      payload.Text `json:"reason"`
	Description payload.Text `json:"description"`
	Summary     payload.Text `json:"summary"`

	URI     payload.Text `json:"uri"`
	URL     payload.Text `json:"url"`
	ViewURL payload.Text `json:"viewUrl"`
	User    payload.Text `json:"user"`
	Creator payload.Text `json:"creator"`

	ArtifactID  payload.Text `json:"artifactId"` // a package URL
	Owner       payload.Text `json:"owner"`      // of a repository
	Repository  named        `json:"repository"` // of a change or a branch
	Environment named        `json:"environment"`
}

// named refers to another subject.
type named struct {
	ID   payload.Text `json:"id"`
	Name payload.Text `json:"name"`
}

func (n *named) String() string { return cmp.Or(string(n.Name), string(n.ID)) }

const (
	prefix       = "dev.cdevents."
	customPrefix = "dev.cdeventsx."
)

func isCDEvent(eventType string) bool {
	return strings.HasPrefix(eventType, prefix) || strings.HasPrefix(eventType, customPrefix)
}

// split is a type's subject and predicate: change and merged of dev.cdevents.change.merged.0.2.0.
func split(eventType string) (subject, predicate string) {
	rest, ok := strings.CutPrefix(eventType, prefix)
	if !ok {
		rest = strings.TrimPrefix(eventType, customPrefix)
	}
	subject, rest, _ = strings.Cut(rest, ".")
	predicate, _, _ = strings.Cut(rest, ".")
	return subject, predicate
}

// nouns are subjects that are more than one word.
var nouns = map[string]string{
	"pipelinerun": "pipeline run", "taskrun": "task run", "testcaserun": "test case run", "testsuiterun": "test suite run",
	"testoutput": "test output",
}

func noun(subject string) string { return cmp.Or(nouns[subject], text.Words(subject)) }

func (m *message) event() bellhop.Event {
	c := &m.Subject.Content
	subject, predicate := split(m.Context.Type)
	noun := noun(subject)
	e := bellhop.Event{
		Type:       m.Context.Type,
		Action:     predicate,
		DeliveryID: m.Context.deliveryID(),
		Reason:     text.Camel(noun, predicate),
		Actor:      cmp.Or(string(c.User), string(c.Creator)),
		Link:       text.Web(string(c.ViewURL), string(c.URI), string(c.URL)),
		Repo:       bellhop.Repo{Name: c.Repository.String()},
	}
	artifact := cmp.Or(string(c.ArtifactID), m.Subject.ID)
	e.Image = packaged(artifact)
	note := cmp.Or(string(c.Errors), cmp.Or(string(c.Reason), string(c.Description)))
	phrase := strings.TrimSpace(noun + " " + cmp.Or(m.name(), m.Subject.ID) + " " + text.Words(predicate))

	switch subject {
	case "repository":
		m.repository(&e)
		phrase = "repository " + text.Words(predicate)
	case "branch":
		e.Branch = m.Subject.ID
		switch predicate {
		case "created":
			describe.Push(&e, describe.Commits{Created: true})
		case "deleted":
			describe.Deletion(&e)
		}
	case "change":
		m.change(&e, predicate)
	case "artifact":
		if e.Image.Name != "" {
			treated(&e, predicate)
			return e
		}
		e.Kind = bellhop.KindPackage
		if predicate == "packaged" || predicate == "signed" {
			e.Kind = bellhop.KindCI
		}
		phrase = strings.TrimSpace(cmp.Or(text.Line(artifact), "artifact") + " " + text.Words(predicate))
	case "pipelinerun", "taskrun", "build", "testcaserun", "testsuiterun", "testoutput":
		e.Kind = bellhop.KindCI
		if outcome := string(c.Outcome); outcome != "" {
			phrase += ": " + text.Words(outcome)
			e.Reason = text.Camel(noun, outcome)
			e.Severity = severity(outcome)
		}
	case "service":
		e.Kind = bellhop.KindCI
		phrase += m.place()
	case "incident":
		e.Kind = bellhop.KindAlert
		if predicate != "resolved" {
			e.Severity = bellhop.Error
		}
		phrase += m.place()
		if about := text.Line(string(c.Description)); about != "" {
			phrase, note = phrase+": "+about, string(c.Summary)
		}
	}
	describe.Other(&e, phrase, note)
	return e
}

// name is what people call the subject, empty if it has an id only.
func (m *message) name() string {
	c := &m.Subject.Content
	for _, name := range []string{
		string(c.PipelineName), string(c.TaskName), string(c.Name), c.TestCase.String(), c.TestSuite.String(),
	} {
		if name != "" {
			return name
		}
	}
	return ""
}

// place is " in environment" if it is known.
func (m *message) place() string {
	if environment := m.Subject.Content.Environment.String(); environment != "" {
		return " in " + environment
	}
	return ""
}

func severity(outcome string) bellhop.Severity {
	switch strings.ToLower(outcome) {
	case "failure", "fail", "failed", "error":
		return bellhop.Error
	}
	return bellhop.Info
}

// repository is about itself.
func (m *message) repository(e *bellhop.Event) {
	c := &m.Subject.Content
	e.Repo = bellhop.Repo{Name: cmp.Or(string(c.Name), m.Subject.ID), HTTPURL: cmp.Or(string(c.URI), string(c.URL)), WebURL: text.Web(string(c.ViewURL))}
	if c.Owner != "" {
		e.Repo.Name = string(c.Owner) + "/" + e.Repo.Name
	}
}

// change is a pull request, whatever the tool calls it. Where its id is a number, it is known by that.
func (m *message) change(e *bellhop.Event, predicate string) {
	c := &m.Subject.Content
	e.PullRequest = bellhop.PullRequest{Title: cmp.Or(string(c.Name), string(c.Description)), URL: e.Link}
	noun := "change"
	if number, err := strconv.ParseInt(m.Subject.ID, 10, 64); err == nil && number > 0 {
		e.PullRequest.Number = number
	} else if id := text.Line(m.Subject.ID); id != "" {
		noun += " " + id
	}
	describe.PullRequest(e, noun, "#", text.Words(predicate), "")
}

// treated says what was done to a container image.
func treated(e *bellhop.Event, predicate string) {
	switch predicate {
	case "published":
		image.Pushed(e)
	case "deleted":
		image.Deleted(e)
	default:
		e.Kind = bellhop.KindCI
		if predicate == "downloaded" {
			e.Kind = bellhop.KindOther
		}
		image.Describe(e, text.Words(predicate))
	}
}
