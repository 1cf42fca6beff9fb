package azuredevops

import (
	"cmp"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/git"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// buildResult: https://learn.microsoft.com/azure/devops/service-hooks/events#build.complete
type buildResult struct {
	BuildNumber      string `json:"buildNumber"`
	Status           string `json:"status"` // the result, in version 1.0 of the resource
	Result           string `json:"result"` // succeeded, partiallySucceeded, failed, canceled
	SourceBranch     string `json:"sourceBranch"`
	SourceVersion    string `json:"sourceVersion"`
	SourceGetVersion string `json:"sourceGetVersion"` // LG:refs/heads/main:600c52d2…, in version 1.0
	TriggerInfo      struct {
		PullRequestBranch payload.Text `json:"pr.sourceBranch"`
		PullRequestCommit payload.Text `json:"pr.sourceSha"`
	} `json:"triggerInfo"`
	Definition   named    `json:"definition"`
	Project      named    `json:"project"`
	RequestedFor identity `json:"requestedFor"`
	Requests     []struct {
		RequestedFor identity `json:"requestedFor"`
	} `json:"requests"` // in version 1.0
	Links links `json:"_links"`
}

type named struct {
	Name string `json:"name"`
}

func (p *buildResult) events(e bellhop.Event, _ *message) []bellhop.Event {
	ref, commit := p.SourceBranch, p.SourceVersion
	if version, ok := strings.CutPrefix(p.SourceGetVersion, "LG:"); ok {
		if i := strings.LastIndexByte(version, ':'); i > 0 {
			ref, commit = version[:i], version[i+1:]
		}
	}
	if p.TriggerInfo.PullRequestBranch != "" { // else a merge commit that nobody knows
		ref, commit = string(p.TriggerInfo.PullRequestBranch), cmp.Or(string(p.TriggerInfo.PullRequestCommit), commit)
	}
	git.SetRef(&e, ref)
	e.Commit, e.Actor = commit, p.RequestedFor.DisplayName
	if e.Actor == "" && len(p.Requests) > 0 {
		e.Actor = p.Requests[0].RequestedFor.DisplayName
	}
	e.Link = text.Web(p.Links.Web.Href, e.Link)
	outcome(&e, "build", of("build "+p.BuildNumber, p.Definition.Name), cmp.Or(p.Result, p.Status), p.Project.Name)
	return []bellhop.Event{e}
}

// pipelineRun is a run, or a stage or job of it.
// https://learn.microsoft.com/azure/devops/service-hooks/events#run.statechanged
type pipelineRun struct {
	Run struct {
		phase
		Pipeline  named `json:"pipeline"`
		Resources struct {
			Repositories struct {
				Self struct {
					RefName string `json:"refName"`
					Version string `json:"version"`
				} `json:"self"`
			} `json:"repositories"`
		} `json:"resources"`
	} `json:"run"`
	Stage        *phase `json:"stage"`
	Job          *phase `json:"job"`
	Repositories []struct {
		Type string `json:"type"`
		URL  string `json:"url"`
	} `json:"repositories"`
}

// phase is what a run, a stage and a job have.
type phase struct {
	Name        string `json:"name"`
	DisplayName string `json:"displayName"`
	State       string `json:"state"`  // inProgress, running, waiting, completed, …
	Result      string `json:"result"` // of a completed one
	Links       links  `json:"_links"`
}

func (p *pipelineRun) events(e bellhop.Event, m *message) []bellhop.Event {
	self := &p.Run.Resources.Repositories.Self
	git.SetRef(&e, self.RefName)
	e.Commit = self.Version
	if len(p.Repositories) > 0 && p.Repositories[0].Type == "Git" {
		e.Repo.HTTPURL = p.Repositories[0].URL
	}
	what := of(strings.TrimSpace("run "+p.Run.Name), p.Run.Pipeline.Name)
	noun, about := "run", &p.Run.phase
	if p.Stage != nil {
		noun, about, what = "stage", p.Stage, what+", stage "+cmp.Or(p.Stage.DisplayName, p.Stage.Name)
	}
	if p.Job != nil && strings.Contains(m.EventType, "job") {
		noun, about, what = "job", p.Job, what+", job "+cmp.Or(p.Job.DisplayName, p.Job.Name)
	}
	e.Link = text.Web(about.Links.Web.Href, p.Run.Links.Web.Href, e.Link)
	outcome(&e, noun, what, cmp.Or(about.Result, about.State), "")
	return []bellhop.Event{e}
}

// deployment is of a release of a classic pipeline to one of its stages.
// https://learn.microsoft.com/azure/devops/service-hooks/events#ms.vss-release.deployment-completed-event
type deployment struct {
	Environment struct {
		Name    string `json:"name"`
		Status  string `json:"status"` // inProgress, succeeded, partiallySucceeded, rejected, canceled
		Release struct {
			Name  string `json:"name"`
			Links links  `json:"_links"`
		} `json:"release"`
		Definition named `json:"releaseDefinition"`
	} `json:"environment"`
	Release struct {
		Name       string `json:"name"`
		Definition named  `json:"releaseDefinition"`
		Links      links  `json:"_links"`
	} `json:"release"`
	Project named `json:"project"`
}

func (p *deployment) events(e bellhop.Event, _ *message) []bellhop.Event {
	env := &p.Environment
	e.Link = text.Web(p.Release.Links.Web.Href, env.Release.Links.Web.Href)
	what := of(strings.TrimSpace("deployment of release "+cmp.Or(p.Release.Name, env.Release.Name)), cmp.Or(p.Release.Definition.Name, env.Definition.Name))
	if env.Name != "" {
		what += " to " + env.Name
	}
	outcome(&e, "deployment", what, env.Status, p.Project.Name)
	return []bellhop.Event{e}
}

// outcome says what became of something in a pipeline.
func outcome(e *bellhop.Event, noun, what, state, project string) {
	e.Kind, e.Reason = bellhop.KindCI, text.Camel(noun, state)
	switch state {
	case "failed", "partiallySucceeded", "rejected":
		e.Severity = bellhop.Error
	}
	what += ": " + cmp.Or(spaced(state), "changed")
	if project != "" {
		what += " in " + project
	}
	describe.Other(e, what, "")
}

func of(what, whole string) string {
	if whole == "" {
		return what
	}
	return what + " of " + whole
}
