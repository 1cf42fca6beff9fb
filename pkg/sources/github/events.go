package github

import (
	"fmt"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/git"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// create and remove come beside the push of a new or deleted ref; the ref is short.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#create
type create struct {
	envelope
	Ref     string `json:"ref"`
	RefType string `json:"ref_type"` // branch, tag
}

func (p *create) describe(e *bellhop.Event) {
	e.Ref = p.Ref
	switch p.RefType {
	case "tag":
		e.Tag = p.Ref
		describe.Tag(e, false, "")
	case "branch":
		e.Branch = p.Ref
		describe.Push(e, describe.Commits{Created: true})
	}
}

type remove struct{ create }

func (p *remove) describe(e *bellhop.Event) {
	e.Ref = p.Ref
	switch p.RefType {
	case "tag":
		e.Tag = p.Ref
		describe.Deletion(e)
	case "branch":
		e.Branch = p.Ref
		describe.Deletion(e)
	}
}

// ping: https://docs.github.com/en/webhooks/webhook-events-and-payloads#ping
type ping struct {
	envelope
	Zen string `json:"zen"`
}

func (p *ping) describe(e *bellhop.Event) {
	e.Kind, e.Reason = bellhop.KindPing, "Ping"
	describe.Other(e, "ping", p.Zen)
}

type pullRequest struct {
	Number  int64  `json:"number"`
	Title   string `json:"title"`
	Body    string `json:"body"`
	HTMLURL string `json:"html_url"`
	Merged  bool   `json:"merged"`
	Head    struct {
		Ref string `json:"ref"`
		SHA string `json:"sha"`
	} `json:"head"`
	Base struct {
		Ref string `json:"ref"`
	} `json:"base"`
}

func (p *pullRequest) fill(e *bellhop.Event) {
	e.Branch, e.Commit = p.Head.Ref, p.Head.SHA
	e.PullRequest = bellhop.PullRequest{Number: p.Number, Title: p.Title, URL: text.Web(p.HTMLURL), Head: p.Head.Ref, Base: p.Base.Ref}
	e.Link = p.HTMLURL
}

// pullRequestEvent: https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request
type pullRequestEvent struct {
	envelope
	PullRequest pullRequest `json:"pull_request"`
}

func (p *pullRequestEvent) describe(e *bellhop.Event) {
	p.PullRequest.fill(e)
	deed, note := text.Words(p.Action), ""
	switch p.Action {
	case "closed":
		if p.PullRequest.Merged {
			e.Reason, deed = "PullRequestMerged", "merged"
		}
	case "synchronize":
		deed = "updated"
	case "opened":
		note = p.PullRequest.Body
	}
	describe.PullRequest(e, "pull request", "#", deed, note)
}

// review: https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request_review
type review struct {
	envelope
	PullRequest pullRequest `json:"pull_request"`
	Review      struct {
		State   string `json:"state"` // approved, changes_requested, commented, dismissed
		Body    string `json:"body"`
		HTMLURL string `json:"html_url"`
	} `json:"review"`
}

func (p *review) describe(e *bellhop.Event) {
	p.PullRequest.fill(e)
	e.Link = orThe(p.Review.HTMLURL, e.Link)
	deed := "review " + text.Words(p.Action)
	if p.Action == "submitted" {
		e.Reason = text.Camel("pull_request_review", p.Review.State)
		switch strings.ToLower(p.Review.State) {
		case "approved":
			deed = "approved"
		case "changes_requested":
			deed = "changes requested"
		default:
			deed = "reviewed"
		}
	}
	describe.PullRequest(e, "pull request", "#", deed, p.Review.Body)
}

// reviewComment: https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request_review_comment
type reviewComment struct {
	envelope
	PullRequest pullRequest `json:"pull_request"`
	Comment     remark      `json:"comment"`
}

func (p *reviewComment) describe(e *bellhop.Event) {
	p.PullRequest.fill(e)
	e.Kind, e.Link = bellhop.KindComment, orThe(p.Comment.HTMLURL, e.Link)
	describe.Other(e, numbered("review comment on pull request", p.PullRequest.Number, p.Action, p.PullRequest.Title), p.Comment.Body)
}

// mergeGroup: https://docs.github.com/en/webhooks/webhook-events-and-payloads#merge_group
type mergeGroup struct {
	envelope
	MergeGroup struct {
		HeadRef string `json:"head_ref"`
		HeadSHA string `json:"head_sha"`
		BaseRef string `json:"base_ref"`
	} `json:"merge_group"`
}

func (p *mergeGroup) describe(e *bellhop.Event) {
	git.SetRef(e, p.MergeGroup.HeadRef)
	e.Kind, e.Commit = bellhop.KindCI, p.MergeGroup.HeadSHA
	base := strings.TrimPrefix(p.MergeGroup.BaseRef, "refs/heads/")
	describe.Other(e, "merge group for "+orThe(base, "a branch")+" "+text.Words(p.Action), "")
}

// release: https://docs.github.com/en/webhooks/webhook-events-and-payloads#release
type release struct {
	envelope
	Release struct {
		TagName    string `json:"tag_name"`
		Name       string `json:"name"`
		Body       string `json:"body"`
		HTMLURL    string `json:"html_url"`
		Prerelease bool   `json:"prerelease"`
	} `json:"release"`
}

func (p *release) describe(e *bellhop.Event) {
	r := p.Release
	e.Kind, e.Tag, e.Ref, e.Link = bellhop.KindRelease, r.TagName, r.TagName, r.HTMLURL
	what := "release"
	if r.Prerelease {
		what = "pre-release"
	}
	note := ""
	switch p.Action {
	case "published", "released", "prereleased":
		note = r.Body
	}
	title := strings.TrimSpace(what + " " + r.TagName + " " + text.Words(p.Action))
	if r.Name != "" && r.Name != r.TagName {
		title += ": " + r.Name
	}
	describe.Other(e, title, note)
}

// packageEvent: https://docs.github.com/en/webhooks/webhook-events-and-payloads#package and #registry_package,
// which differ in the name of one field. Container images are at ghcr.io.
type packageEvent struct {
	envelope
	Package         registryPackage `json:"package"`
	RegistryPackage registryPackage `json:"registry_package"`
}

type registryPackage struct {
	Name        string `json:"name"`
	Namespace   string `json:"namespace"`
	PackageType string `json:"package_type"` // CONTAINER, docker, npm, …; the case differs
	HTMLURL     string `json:"html_url"`
	Owner       user   `json:"owner"`
	Version     struct {
		Version   string `json:"version"`
		HTMLURL   string `json:"html_url"`
		URL       string `json:"package_url"` // ghcr.io/owner/name:tag
		Container struct {
			Tag struct {
				Name   string `json:"name"` // empty for a push without a tag
				Digest string `json:"digest"`
			} `json:"tag"`
			Manifest struct {
				Digest string `json:"digest"`
			} `json:"manifest"`
		} `json:"container_metadata"`
	} `json:"package_version"`
}

func (p *packageEvent) describe(e *bellhop.Event) {
	r := &p.Package
	if r.Name == "" {
		r = &p.RegistryPackage
	}
	v := &r.Version
	e.Kind, e.Link = bellhop.KindPackage, orThe(v.HTMLURL, r.HTMLURL)
	what := r.Name + " " + v.Version
	if strings.EqualFold(r.PackageType, "container") || strings.EqualFold(r.PackageType, "docker") {
		e.Kind = bellhop.KindImagePush
		e.Image = bellhop.Image{Name: imageName(r), Tag: v.Container.Tag.Name, Digest: orThe(v.Container.Tag.Digest, v.Container.Manifest.Digest)}
		if e.Image.Digest == "" && strings.HasPrefix(v.Version, "sha256:") {
			e.Image.Digest = v.Version
		}
		what = bellhop.Image{Name: e.Image.Name, Tag: e.Image.Tag}.String()
	}
	e.Actor = orThe(e.Actor, r.Owner.Login)
	describe.Other(e, strings.TrimSpace(what)+" "+orThe(text.Words(p.Action), "changed"), "")
}

// imageName is the name with the registry's host, from the package's URL or else put together.
func imageName(r *registryPackage) string {
	if name, _, _ := strings.Cut(r.Version.URL, "@"); strings.Contains(name, "/") {
		if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
			name = name[:i]
		}
		return name
	}
	owner := orThe(r.Namespace, r.Owner.Login)
	if owner == "" {
		return r.Name
	}
	return "ghcr.io/" + strings.ToLower(owner+"/"+r.Name)
}

// outcome describes a check: its name, what became of it and where. GitHub's conclusion is empty until the
// check is completed.
func outcome(e *bellhop.Event, what, name, state, conclusion string) {
	e.Kind = bellhop.KindCI
	result := orThe(conclusion, orThe(state, e.Action))
	e.Reason = text.Camel(what, result)
	switch result {
	case "failure", "error", "timed_out", "startup_failure", "action_required":
		e.Severity = bellhop.Error
	}
	phrase := strings.TrimSpace(text.Words(what)+" "+text.Line(name)) + ": " + orThe(text.Words(result), "changed")
	where := text.Line(e.Repo.Name)
	if e.Branch != "" {
		where = strings.TrimSuffix(text.Line(e.Branch)+" of "+where, " of ")
	}
	if where != "" {
		phrase += " on " + where
	}
	describe.Other(e, phrase, "")
}

type suite struct {
	HeadBranch string `json:"head_branch"`
	HeadSHA    string `json:"head_sha"`
	Status     string `json:"status"`
	Conclusion string `json:"conclusion"`
	App        struct {
		Name string `json:"name"`
	} `json:"app"`
}

// checkRun: https://docs.github.com/en/webhooks/webhook-events-and-payloads#check_run
type checkRun struct {
	envelope
	CheckRun struct {
		Name       string `json:"name"`
		HTMLURL    string `json:"html_url"`
		HeadSHA    string `json:"head_sha"`
		Status     string `json:"status"`
		Conclusion string `json:"conclusion"`
		CheckSuite suite  `json:"check_suite"`
	} `json:"check_run"`
}

func (p *checkRun) describe(e *bellhop.Event) {
	c := &p.CheckRun
	e.Branch, e.Commit, e.Link = c.CheckSuite.HeadBranch, c.HeadSHA, c.HTMLURL
	outcome(e, "check_run", c.Name, c.Status, c.Conclusion)
}

// checkSuite: https://docs.github.com/en/webhooks/webhook-events-and-payloads#check_suite
type checkSuite struct {
	envelope
	CheckSuite suite `json:"check_suite"`
}

func (p *checkSuite) describe(e *bellhop.Event) {
	c := &p.CheckSuite
	e.Branch, e.Commit = c.HeadBranch, c.HeadSHA
	if e.Repo.WebURL != "" && c.HeadSHA != "" {
		e.Link = e.Repo.WebURL + "/commit/" + c.HeadSHA + "/checks"
	}
	outcome(e, "check_suite", c.App.Name, c.Status, c.Conclusion)
}

// status: https://docs.github.com/en/webhooks/webhook-events-and-payloads#status
type status struct {
	envelope
	SHA         string `json:"sha"`
	State       string `json:"state"` // pending, success, failure, error
	Context     string `json:"context"`
	Description string `json:"description"`
	TargetURL   string `json:"target_url"`
	Branches    []struct {
		Name string `json:"name"`
	} `json:"branches"` // those that contain the commit
}

func (p *status) describe(e *bellhop.Event) {
	e.Commit, e.Link = p.SHA, p.TargetURL
	if len(p.Branches) == 1 {
		e.Branch = p.Branches[0].Name
	}
	if e.Link == "" && e.Repo.WebURL != "" && p.SHA != "" {
		e.Link = e.Repo.WebURL + "/commit/" + p.SHA
	}
	outcome(e, "status", p.Context, p.State, "")
	describe.Note(e, text.Escape(p.Description))
}

// workflowRun: https://docs.github.com/en/webhooks/webhook-events-and-payloads#workflow_run
type workflowRun struct {
	envelope
	WorkflowRun struct {
		suite
		Name    string `json:"name"`
		HTMLURL string `json:"html_url"`
	} `json:"workflow_run"`
	Workflow struct {
		Name string `json:"name"`
	} `json:"workflow"`
}

func (p *workflowRun) describe(e *bellhop.Event) {
	w := &p.WorkflowRun
	e.Branch, e.Commit, e.Link = w.HeadBranch, w.HeadSHA, w.HTMLURL
	outcome(e, "workflow_run", orThe(w.Name, p.Workflow.Name), w.Status, w.Conclusion)
}

// workflowJob: https://docs.github.com/en/webhooks/webhook-events-and-payloads#workflow_job
type workflowJob struct {
	envelope
	WorkflowJob struct {
		suite
		Name         string `json:"name"`
		WorkflowName string `json:"workflow_name"`
		HTMLURL      string `json:"html_url"`
	} `json:"workflow_job"`
}

func (p *workflowJob) describe(e *bellhop.Event) {
	w := &p.WorkflowJob
	e.Branch, e.Commit, e.Link = w.HeadBranch, w.HeadSHA, w.HTMLURL
	name := w.Name
	if w.WorkflowName != "" {
		name = w.WorkflowName + " / " + w.Name
	}
	outcome(e, "workflow_job", name, w.Status, w.Conclusion)
}

// deployment: https://docs.github.com/en/webhooks/webhook-events-and-payloads#deployment and #deployment_status
type deployment struct {
	envelope
	Deployment struct {
		SHA         string `json:"sha"`
		Ref         string `json:"ref"` // a branch, a tag or a commit; not told which
		Environment string `json:"environment"`
	} `json:"deployment"`
	Status struct {
		State          string `json:"state"`
		LogURL         string `json:"log_url"`
		TargetURL      string `json:"target_url"`
		EnvironmentURL string `json:"environment_url"`
	} `json:"deployment_status"`
}

func (p *deployment) describe(e *bellhop.Event) {
	d := &p.Deployment
	e.Ref, e.Commit = d.Ref, d.SHA
	e.Link = orThe(orThe(p.Status.LogURL, p.Status.TargetURL), p.Status.EnvironmentURL)
	outcome(e, "deployment", "to "+orThe(d.Environment, "an environment"), p.Status.State, "")
}

type remark struct {
	Body     string `json:"body"`
	HTMLURL  string `json:"html_url"`
	CommitID string `json:"commit_id"`
}

type topic struct {
	Number      int64           `json:"number"`
	Title       string          `json:"title"`
	Body        string          `json:"body"`
	HTMLURL     string          `json:"html_url"`
	PullRequest payload.Present `json:"pull_request"` // the issue is a pull request
}

// comment: https://docs.github.com/en/webhooks/webhook-events-and-payloads#issue_comment, #commit_comment and
// #discussion_comment
type comment struct {
	envelope
	Comment    remark `json:"comment"`
	Issue      topic  `json:"issue"`
	Discussion topic  `json:"discussion"`
}

func (p *comment) describe(e *bellhop.Event) {
	e.Kind, e.Link, e.Commit = bellhop.KindComment, p.Comment.HTMLURL, p.Comment.CommitID
	on, about := "comment", &p.Issue
	switch {
	case p.Comment.CommitID != "":
		on = "comment on commit " + bellhop.ShortCommit(p.Comment.CommitID)
	case p.Discussion.Number != 0:
		on, about = "comment on discussion", &p.Discussion
	case bool(p.Issue.PullRequest):
		on = "comment on pull request"
		e.PullRequest = bellhop.PullRequest{Number: p.Issue.Number, Title: p.Issue.Title, URL: text.Web(p.Issue.HTMLURL)}
	case p.Issue.Number != 0:
		on = "comment on issue"
	}
	describe.Other(e, numbered(on, about.Number, p.Action, about.Title), p.Comment.Body)
}

// issue: https://docs.github.com/en/webhooks/webhook-events-and-payloads#issues and #discussion
type issue struct {
	envelope
	Issue      topic `json:"issue"`
	Discussion topic `json:"discussion"`
}

func (p *issue) describe(e *bellhop.Event) {
	noun, about := "issue", &p.Issue
	if p.Discussion.Number != 0 {
		noun, about = "discussion", &p.Discussion
	}
	e.Link = about.HTMLURL
	note := ""
	if p.Action == "opened" || p.Action == "created" {
		note = about.Body
	}
	describe.Other(e, numbered(noun, about.Number, p.Action, about.Title), note)
}

// numbered is "noun #1 action: title" as far as known.
func numbered(noun string, number int64, action, title string) string {
	s := noun
	if number != 0 {
		s += fmt.Sprintf(" #%d", number)
	}
	if action != "" {
		s += " " + text.Words(action)
	}
	if t := text.Line(title); t != "" {
		s += ": " + t
	}
	return s
}

// alert: https://docs.github.com/en/webhooks/webhook-events-and-payloads#code_scanning_alert and its sisters
type alert struct {
	envelope
	Ref       string `json:"ref"`
	CommitOID string `json:"commit_oid"`
	Alert     struct {
		Number  int64  `json:"number"`
		HTMLURL string `json:"html_url"`
		Rule    struct {
			Description string `json:"description"`
		} `json:"rule"`
		SecretType      string `json:"secret_type"`
		AffectedPackage string `json:"affected_package_name"`
		Advisory        struct {
			Summary string `json:"summary"`
		} `json:"security_advisory"`
	} `json:"alert"`
}

func (p *alert) describe(e *bellhop.Event) {
	a := &p.Alert
	git.SetRef(e, p.Ref)
	e.Kind, e.Commit, e.Link = bellhop.KindAlert, git.Hash(p.CommitOID), a.HTMLURL
	e.Severity = alertSeverity(p.Action)
	about := orThe(orThe(a.Rule.Description, a.Advisory.Summary), orThe(text.Words(a.SecretType), a.AffectedPackage))
	describe.Other(e, numbered(text.Words(e.Type), a.Number, p.Action, about), "")
}

// alertSeverity is info for what ends or plays down an alert.
func alertSeverity(action string) bellhop.Severity {
	switch action {
	case "fixed", "resolved", "dismissed", "auto_dismissed", "closed_by_user", "dismiss", "resolve", "withdrawn", "validated", "assigned", "unassigned":
		return bellhop.Info
	}
	return bellhop.Error
}

// advisory: https://docs.github.com/en/webhooks/webhook-events-and-payloads#security_advisory
type advisory struct {
	envelope
	Security   advisoryText `json:"security_advisory"`
	Repository advisoryText `json:"repository_advisory"`
}

type advisoryText struct {
	GHSA    string `json:"ghsa_id"`
	Summary string `json:"summary"`
	HTMLURL string `json:"html_url"`
}

func (p *advisory) describe(e *bellhop.Event) {
	a := &p.Security
	if a.GHSA == "" {
		a = &p.Repository
	}
	e.Kind, e.Severity, e.Link = bellhop.KindAlert, alertSeverity(p.Action), a.HTMLURL
	if e.Link == "" && a.GHSA != "" {
		e.Link = "https://github.com/advisories/" + a.GHSA
	}
	describe.Other(e, numbered("security advisory "+a.GHSA, 0, p.Action, a.Summary), "")
}

// dispatch: https://docs.github.com/en/webhooks/webhook-events-and-payloads#repository_dispatch
type dispatch struct {
	envelope
	Branch string `json:"branch"`
}

func (p *dispatch) describe(e *bellhop.Event) {
	e.Branch = p.Branch
	describe.Other(e, "repository dispatch "+p.Action, "")
}

// member: https://docs.github.com/en/webhooks/webhook-events-and-payloads#member and #membership
type member struct {
	envelope
	Member user `json:"member"`
	Team   struct {
		Name string `json:"name"`
	} `json:"team"`
}

func (p *member) describe(e *bellhop.Event) {
	phrase := "member " + p.Member.Login + " " + p.Action
	if p.Team.Name != "" {
		phrase += ", team " + p.Team.Name
	}
	describe.Other(e, phrase, "")
}
