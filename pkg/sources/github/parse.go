package github

import (
	"errors"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// Parse makes one event of every request.
func (s *source) Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	body, err := payload.JSON(r)
	if err != nil {
		return nil, err
	}
	name := r.Header.Get(headerEvent)
	var p message
	if empty, ok := messages[name]; ok {
		p = empty()
	} else {
		p = new(other)
	}
	if err := payload.Decode(body, p); errors.Is(err, payload.ErrShape) {
		// Half understood is not understood: nobody acts on a push of which a part is a guess.
		p = new(other)
		payload.Salvage(body, p)
	} else if err != nil {
		return nil, err
	}
	common := p.common()
	events := []bellhop.Event{{
		Type:       name,
		Action:     common.Action,
		DeliveryID: r.Header.Get(headerDelivery),
		Actor:      common.Sender.Login,
		Repo:       common.Repository.repo(),
	}}
	e := &events[0]
	p.describe(e)
	if e.Reason == "" {
		e.Reason = text.Camel(name, e.Action)
	}
	e.Link = text.Web(e.Link, e.Repo.WebURL)
	if e.Title == "" {
		describe.Other(e, strings.TrimSpace(text.Words(orThe(name, "event"))+" "+text.Words(e.Action)), "")
	}
	return events, nil
}

// message is the part of a payload that its event needs. Fields that GitHub leaves out or sets to null are
// zero.
type message interface {
	common() *envelope
	// describe completes an event whose Type, Action, DeliveryID, Actor and Repo are set.
	describe(e *bellhop.Event)
}

// messages are the event types with words of their own.
var messages = map[string]func() message{
	"push":                           func() message { return new(push) },
	"create":                         func() message { return new(create) },
	"delete":                         func() message { return new(remove) },
	"ping":                           func() message { return new(ping) },
	"pull_request":                   func() message { return new(pullRequestEvent) },
	"pull_request_target":            func() message { return new(pullRequestEvent) },
	"pull_request_review":            func() message { return new(review) },
	"pull_request_review_comment":    func() message { return new(reviewComment) },
	"pull_request_review_thread":     func() message { return new(pullRequestEvent) },
	"merge_group":                    func() message { return new(mergeGroup) },
	"release":                        func() message { return new(release) },
	"package":                        func() message { return new(packageEvent) },
	"registry_package":               func() message { return new(packageEvent) },
	"check_run":                      func() message { return new(checkRun) },
	"check_suite":                    func() message { return new(checkSuite) },
	"status":                         func() message { return new(status) },
	"workflow_run":                   func() message { return new(workflowRun) },
	"workflow_job":                   func() message { return new(workflowJob) },
	"deployment":                     func() message { return new(deployment) },
	"deployment_status":              func() message { return new(deployment) },
	"commit_comment":                 func() message { return new(comment) },
	"issue_comment":                  func() message { return new(comment) },
	"discussion_comment":             func() message { return new(comment) },
	"issues":                         func() message { return new(issue) },
	"discussion":                     func() message { return new(issue) },
	"code_scanning_alert":            func() message { return new(alert) },
	"secret_scanning_alert":          func() message { return new(alert) },
	"dependabot_alert":               func() message { return new(alert) },
	"repository_vulnerability_alert": func() message { return new(alert) },
	"security_advisory":              func() message { return new(advisory) },
	"repository_advisory":            func() message { return new(advisory) },
	"repository_dispatch":            func() message { return new(dispatch) },
	"member":                         func() message { return new(member) },
	"membership":                     func() message { return new(member) },
}

// envelope is what most payloads have.
type envelope struct {
	Action     string     `json:"action"`
	Repository repository `json:"repository"`
	Sender     user       `json:"sender"`
}

func (p *envelope) common() *envelope { return p }

type user struct {
	Login string `json:"login"`
}

type repository struct {
	FullName string `json:"full_name"`
	CloneURL string `json:"clone_url"` // https://github.com/owner/name.git
	SSHURL   string `json:"ssh_url"`   // git@github.com:owner/name.git
	HTMLURL  string `json:"html_url"`
}

func (r *repository) repo() bellhop.Repo {
	return bellhop.Repo{Name: r.FullName, HTTPURL: r.CloneURL, SSHURL: r.SSHURL, WebURL: text.Web(r.HTMLURL)}
}

// other is any event type without words of its own, and any payload of another shape than expected.
type other struct{ envelope }

func (*other) describe(*bellhop.Event) {}

func orThe(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
