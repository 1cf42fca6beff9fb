package azuredevops

import (
	"errors"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// message is what all payloads have in common. The resource depends on the event type.
// https://learn.microsoft.com/azure/devops/service-hooks/events
type message struct {
	ID        string         `json:"id"`
	EventType string         `json:"eventType"`
	Message   messageText    `json:"message"`
	Resource  jsontext.Value `json:"resource"` // null if the subscription sends none
}

type messageText struct {
	Text string `json:"text"`
}

// event is a resource that makes the events of its event type from what they have in common: Type, Action, DeliveryID,
// Repo and Link. It leaves Title empty where the sender's own words are as good.
type event interface {
	events(template bellhop.Event, p *message) []bellhop.Event
}

// resources are the event types with words of their own.
var resources = map[string]func() event{
	"git.push":                                   func() event { return new(push) },
	"git.pullrequest.created":                    func() event { return new(pullRequest) },
	"git.pullrequest.updated":                    func() event { return new(pullRequest) },
	"git.pullrequest.merged":                     func() event { return new(pullRequest) },
	"ms.vss-code.git-pullrequest-comment-event":  func() event { return new(comment) },
	"build.complete":                             func() event { return new(buildResult) },
	"ms.vss-pipelines.run-state-changed-event":   func() event { return new(pipelineRun) },
	"ms.vss-pipelines.stage-state-changed-event": func() event { return new(pipelineRun) },
	"ms.vss-pipelines.job-state-changed-event":   func() event { return new(pipelineRun) },
	"ms.vss-release.deployment-started-event":    func() event { return new(deployment) },
	"ms.vss-release.deployment-completed-event":  func() event { return new(deployment) },
	"workitem.created":                           func() event { return new(workItem) },
	"workitem.updated":                           func() event { return new(workItem) },
	"workitem.deleted":                           func() event { return new(workItem) },
	"workitem.restored":                          func() event { return new(workItem) },
	"workitem.commented":                         func() event { return new(workItem) },
}

// Parse makes one event of every request, of a push one for every branch and tag.
func (s *source) Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	body, err := payload.JSON(r)
	if err != nil {
		return nil, err
	}
	var p message
	if err := payload.Decode(body, &p); errors.Is(err, payload.ErrShape) {
		payload.Salvage(body, &p)
	} else if err != nil {
		return nil, err
	}
	e := bellhop.Event{Type: p.EventType, DeliveryID: p.ID}
	if !strings.HasPrefix(p.EventType, "ms.") { // workitem.created, but not ms.vss-release.release-created-event
		if i := strings.LastIndexByte(p.EventType, '.'); i >= 0 {
			e.Action = p.EventType[i+1:]
		}
	}
	events := p.understood(e)
	for i := range events {
		e := &events[i]
		if e.Reason == "" {
			name := strings.TrimSuffix(p.EventType, "-event")
			e.Reason = text.Camel(name[strings.LastIndexByte(name, '.')+1:])
			if e.Action != "" { // build.complete
				e.Reason = text.Camel(p.EventType)
			}
		}
		if e.Title == "" {
			p.describe(e)
		}
	}
	return events, nil
}

func (p *message) understood(e bellhop.Event) []bellhop.Event {
	var about event
	if empty, ok := resources[p.EventType]; ok {
		about = empty()
		if payload.Decode(p.Resource, about) != nil {
			about = nil // half understood is not understood
		}
	}
	var place struct {
		Repository  repository `json:"repository"`
		PullRequest struct {
			Repository repository `json:"repository"`
		} `json:"pullRequest"`
	}
	payload.Salvage(p.Resource, &place)
	if e.Repo = place.Repository.repo(); e.Repo.Name == "" {
		e.Repo = place.PullRequest.Repository.repo()
	}
	e.Link = e.Repo.WebURL
	if about == nil {
		return []bellhop.Event{e}
	}
	return about.events(e, p)
}

// describe uses the sender's own words, and for want of them the event type.
func (p *message) describe(e *bellhop.Event) {
	for _, prefix := range []string{"build.", "ms.vss-pipelines.", "ms.vss-pipelinechecks-events.", "ms.vss-release."} {
		if e.Kind == "" && strings.HasPrefix(p.EventType, prefix) {
			e.Kind = bellhop.KindCI
		}
	}
	p.quote(e)
	describe.Other(e, strings.TrimSpace("Azure DevOps event "+text.Words(strings.TrimSuffix(strings.TrimPrefix(p.EventType, "ms."), "-event"))), "")
}

// quote uses the sender's own words, if there are any. They name who did it and where.
func (p *message) quote(e *bellhop.Event) {
	if words := strings.TrimSuffix(text.Line(p.Message.Text), "."); words != "" {
		e.Title, e.Message = words, text.Link(text.Escape(words), e.Link)
	}
}

type identity struct {
	DisplayName string `json:"displayName"`
}

type link struct {
	Href string `json:"href"`
}

type links struct {
	Web  link `json:"web"`
	HTML link `json:"html"` // of work items
}

type repository struct {
	Name    string `json:"name"`
	Project struct {
		Name string `json:"name"`
	} `json:"project"`
	RemoteURL string `json:"remoteUrl"` // to clone, and for a person
	SSHURL    string `json:"sshUrl"`
	WebURL    string `json:"webUrl"`
}

func (r *repository) repo() bellhop.Repo {
	if r.RemoteURL == "" && r.WebURL == "" { // of a build, which has an id and little more
		return bellhop.Repo{}
	}
	repo := bellhop.Repo{Name: r.Name, HTTPURL: r.RemoteURL, SSHURL: r.SSHURL, WebURL: text.Web(r.WebURL, r.RemoteURL)}
	if r.Project.Name != "" {
		repo.Name = r.Project.Name + "/" + r.Name
	}
	if repo.SSHURL == "" {
		repo.SSHURL = sshURL(r.RemoteURL)
	}
	return repo
}

// sshURL is the SSH URL of a repository at https://dev.azure.com/organisation/project/_git/name, where the project
// is left out if it has the repository's name.
func sshURL(remote string) string {
	u, err := url.Parse(remote)
	if err != nil || u.Host != "dev.azure.com" {
		return ""
	}
	organisation, rest, _ := strings.Cut(strings.Trim(u.EscapedPath(), "/"), "/")
	project, name, ok := strings.Cut("/"+rest, "/_git/")
	if project = strings.Trim(project, "/"); project == "" {
		project = name
	}
	if !ok || organisation == "" || name == "" || strings.Contains(project+name, "/") {
		return ""
	}
	return "git@ssh.dev.azure.com:v3/" + organisation + "/" + project + "/" + name
}

// spaced is one of Azure's words, such as partiallySucceeded, as people write it.
func spaced(word string) string {
	var b strings.Builder
	for i, r := range word {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(text.Line(b.String()))
}
