package github

import (
	"cmp"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/git"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/hub"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// ping: https://docs.github.com/en/webhooks/webhook-events-and-payloads#ping
type ping struct {
	hub.Envelope
	Zen string `json:"zen"`
}

func (p *ping) Describe(e *bellhop.Event) {
	e.Kind, e.Reason = bellhop.KindPing, "Ping"
	describe.Other(e, "ping", p.Zen)
}

// review: https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request_review
type review struct {
	hub.Envelope
	PullRequest hub.PullRequest `json:"pull_request"`
	Review      struct {
		State   string `json:"state"` // approved, changes_requested, commented, dismissed
		Body    string `json:"body"`
		HTMLURL string `json:"html_url"`
	} `json:"review"`
}

func (p *review) Describe(e *bellhop.Event) {
	p.PullRequest.Fill(e)
	e.Link = cmp.Or(p.Review.HTMLURL, e.Link)
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
	hub.Envelope
	PullRequest hub.PullRequest `json:"pull_request"`
	Comment     hub.Remark      `json:"comment"`
}

func (p *reviewComment) Describe(e *bellhop.Event) {
	p.PullRequest.Fill(e)
	e.Kind, e.Link = bellhop.KindComment, cmp.Or(p.Comment.HTMLURL, e.Link)
	describe.Other(e, hub.Numbered("review comment on pull request", p.PullRequest.Number, p.Action, p.PullRequest.Title), p.Comment.Body)
}

// mergeGroup: https://docs.github.com/en/webhooks/webhook-events-and-payloads#merge_group
type mergeGroup struct {
	hub.Envelope
	MergeGroup struct {
		HeadRef string `json:"head_ref"`
		HeadSHA string `json:"head_sha"`
		BaseRef string `json:"base_ref"`
	} `json:"merge_group"`
}

func (p *mergeGroup) Describe(e *bellhop.Event) {
	git.SetRef(e, p.MergeGroup.HeadRef)
	e.Kind, e.Commit = bellhop.KindCI, p.MergeGroup.HeadSHA
	base := strings.TrimPrefix(p.MergeGroup.BaseRef, "refs/heads/")
	describe.Other(e, "merge group for "+cmp.Or(base, "a branch")+" "+text.Words(p.Action), "")
}

// packageEvent: https://docs.github.com/en/webhooks/webhook-events-and-payloads#package and #registry_package,
// which differ in the name of one field. Container images are at ghcr.io.
type packageEvent struct {
	hub.Envelope
	Package         registryPackage `json:"package"`
	RegistryPackage registryPackage `json:"registry_package"`
}

type registryPackage struct {
	Name        string   `json:"name"`
	Namespace   string   `json:"namespace"`
	PackageType string   `json:"package_type"` // CONTAINER, docker, npm, …; the case differs
	HTMLURL     string   `json:"html_url"`
	Owner       hub.User `json:"owner"`
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

func (p *packageEvent) Describe(e *bellhop.Event) {
	r := &p.Package
	if r.Name == "" {
		r = &p.RegistryPackage
	}
	v := &r.Version
	e.Kind, e.Link = bellhop.KindPackage, cmp.Or(v.HTMLURL, r.HTMLURL)
	what := r.Name + " " + v.Version
	if strings.EqualFold(r.PackageType, "container") || strings.EqualFold(r.PackageType, "docker") {
		e.Kind = bellhop.KindImagePush
		e.Image = bellhop.Image{Name: imageName(r), Tag: v.Container.Tag.Name, Digest: cmp.Or(v.Container.Tag.Digest, v.Container.Manifest.Digest)}
		if e.Image.Digest == "" && strings.HasPrefix(v.Version, "sha256:") {
			e.Image.Digest = v.Version
		}
		what = bellhop.Image{Name: e.Image.Name, Tag: e.Image.Tag}.String()
	}
	e.Actor = cmp.Or(e.Actor, r.Owner.Login)
	describe.Other(e, strings.TrimSpace(what)+" "+cmp.Or(text.Words(p.Action), "changed"), "")
}

// imageName is the name with the registry's host, from the package's URL or else put together.
func imageName(r *registryPackage) string {
	if name, _, _ := strings.Cut(r.Version.URL, "@"); strings.Contains(name, "/") {
		if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
			name = name[:i]
		}
		return name
	}
	owner := cmp.Or(r.Namespace, r.Owner.Login)
	if owner == "" {
		return r.Name
	}
	return "ghcr.io/" + strings.ToLower(owner+"/"+r.Name)
}

// checkRun: https://docs.github.com/en/webhooks/webhook-events-and-payloads#check_run
type checkRun struct {
	hub.Envelope
	CheckRun struct {
		Name       string    `json:"name"`
		HTMLURL    string    `json:"html_url"`
		HeadSHA    string    `json:"head_sha"`
		Status     string    `json:"status"`
		Conclusion string    `json:"conclusion"`
		CheckSuite hub.Suite `json:"check_suite"`
	} `json:"check_run"`
}

func (p *checkRun) Describe(e *bellhop.Event) {
	c := &p.CheckRun
	e.Branch, e.Commit, e.Link = c.CheckSuite.HeadBranch, c.HeadSHA, c.HTMLURL
	hub.Outcome(e, "check_run", c.Name, c.Status, c.Conclusion)
}

// checkSuite: https://docs.github.com/en/webhooks/webhook-events-and-payloads#check_suite
type checkSuite struct {
	hub.Envelope
	CheckSuite hub.Suite `json:"check_suite"`
}

func (p *checkSuite) Describe(e *bellhop.Event) {
	c := &p.CheckSuite
	e.Branch, e.Commit = c.HeadBranch, c.HeadSHA
	if e.Repo.WebURL != "" && c.HeadSHA != "" {
		e.Link = e.Repo.WebURL + "/commit/" + c.HeadSHA + "/checks"
	}
	hub.Outcome(e, "check_suite", c.App.Name, c.Status, c.Conclusion)
}

// deployment: https://docs.github.com/en/webhooks/webhook-events-and-payloads#deployment and #deployment_status
type deployment struct {
	hub.Envelope
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

func (p *deployment) Describe(e *bellhop.Event) {
	d := &p.Deployment
	e.Ref, e.Commit = d.Ref, d.SHA
	e.Link = cmp.Or(cmp.Or(p.Status.LogURL, p.Status.TargetURL), p.Status.EnvironmentURL)
	hub.Outcome(e, "deployment", "to "+cmp.Or(d.Environment, "an environment"), p.Status.State, "")
}

// alert: https://docs.github.com/en/webhooks/webhook-events-and-payloads#code_scanning_alert and its sisters
type alert struct {
	hub.Envelope
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

func (p *alert) Describe(e *bellhop.Event) {
	a := &p.Alert
	git.SetRef(e, p.Ref)
	e.Kind, e.Commit, e.Link = bellhop.KindAlert, git.Hash(p.CommitOID), a.HTMLURL
	e.Severity = alertSeverity(p.Action)
	about := cmp.Or(cmp.Or(a.Rule.Description, a.Advisory.Summary), cmp.Or(text.Words(a.SecretType), a.AffectedPackage))
	describe.Other(e, hub.Numbered(text.Words(e.Type), a.Number, p.Action, about), "")
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
	hub.Envelope
	Security   advisoryText `json:"security_advisory"`
	Repository advisoryText `json:"repository_advisory"`
}

type advisoryText struct {
	GHSA    string `json:"ghsa_id"`
	Summary string `json:"summary"`
	HTMLURL string `json:"html_url"`
}

func (p *advisory) Describe(e *bellhop.Event) {
	a := &p.Security
	if a.GHSA == "" {
		a = &p.Repository
	}
	e.Kind, e.Severity, e.Link = bellhop.KindAlert, alertSeverity(p.Action), a.HTMLURL
	if e.Link == "" && a.GHSA != "" {
		e.Link = "https://github.com/advisories/" + a.GHSA
	}
	describe.Other(e, hub.Numbered("security advisory "+a.GHSA, 0, p.Action, a.Summary), "")
}

// dispatch: https://docs.github.com/en/webhooks/webhook-events-and-payloads#repository_dispatch
type dispatch struct {
	hub.Envelope
	Branch string `json:"branch"`
}

func (p *dispatch) Describe(e *bellhop.Event) {
	e.Branch = p.Branch
	describe.Other(e, "repository dispatch "+p.Action, "")
}

// member: https://docs.github.com/en/webhooks/webhook-events-and-payloads#member and #membership
type member struct {
	hub.Envelope
	Member hub.User `json:"member"`
	Team   struct {
		Name string `json:"name"`
	} `json:"team"`
}

func (p *member) Describe(e *bellhop.Event) {
	phrase := "member " + p.Member.Login + " " + p.Action
	if p.Team.Name != "" {
		phrase += ", team " + p.Team.Name
	}
	describe.Other(e, phrase, "")
}
