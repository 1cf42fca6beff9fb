package github

import (
	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/hub"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
)

// Parse makes one event of every request.
func (s source) Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	body, err := payload.JSON(r)
	if err != nil {
		return nil, err
	}
	return hub.Parse(body, r.Header.Get(headerEvent), r.Header.Get(headerDelivery), messages)
}

// messages are the event types with words of their own.
var messages = hub.Messages{
	"push":                           func() hub.Message { return new(push) },
	"create":                         func() hub.Message { return new(hub.Create) },
	"delete":                         func() hub.Message { return new(hub.Delete) },
	"ping":                           func() hub.Message { return new(ping) },
	"pull_request":                   func() hub.Message { return new(hub.PullRequestEvent) },
	"pull_request_target":            func() hub.Message { return new(hub.PullRequestEvent) },
	"pull_request_review":            func() hub.Message { return new(review) },
	"pull_request_review_comment":    func() hub.Message { return new(reviewComment) },
	"pull_request_review_thread":     func() hub.Message { return new(hub.PullRequestEvent) },
	"merge_group":                    func() hub.Message { return new(mergeGroup) },
	"release":                        func() hub.Message { return new(hub.Release) },
	"package":                        func() hub.Message { return new(packageEvent) },
	"registry_package":               func() hub.Message { return new(packageEvent) },
	"check_run":                      func() hub.Message { return new(checkRun) },
	"check_suite":                    func() hub.Message { return new(checkSuite) },
	"status":                         func() hub.Message { return new(hub.Status) },
	"workflow_run":                   func() hub.Message { return new(hub.WorkflowRun) },
	"workflow_job":                   func() hub.Message { return new(hub.WorkflowJob) },
	"deployment":                     func() hub.Message { return new(deployment) },
	"deployment_status":              func() hub.Message { return new(deployment) },
	"commit_comment":                 func() hub.Message { return new(hub.Comment) },
	"issue_comment":                  func() hub.Message { return new(hub.Comment) },
	"discussion_comment":             func() hub.Message { return new(hub.Comment) },
	"issues":                         func() hub.Message { return new(hub.Issue) },
	"discussion":                     func() hub.Message { return new(hub.Issue) },
	"code_scanning_alert":            func() hub.Message { return new(alert) },
	"secret_scanning_alert":          func() hub.Message { return new(alert) },
	"dependabot_alert":               func() hub.Message { return new(alert) },
	"repository_vulnerability_alert": func() hub.Message { return new(alert) },
	"security_advisory":              func() hub.Message { return new(advisory) },
	"repository_advisory":            func() hub.Message { return new(advisory) },
	"repository_dispatch":            func() hub.Message { return new(dispatch) },
	"member":                         func() hub.Message { return new(member) },
	"membership":                     func() hub.Message { return new(member) },
}
