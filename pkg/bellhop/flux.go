package bellhop

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// FluxEvent is an event as Flux's notification-controller posts it.
// https://fluxcd.io/flux/components/notification/events/#event-structure
type FluxEvent struct {
	InvolvedObject ObjectReference `json:"involvedObject"`
	Severity       Severity        `json:"severity"`
	// Timestamp is in UTC and whole seconds, as Kubernetes writes times.
	Timestamp           time.Time         `json:"timestamp"`
	Message             string            `json:"message"`
	Reason              string            `json:"reason"`
	Metadata            map[string]string `json:"metadata,omitempty"`
	ReportingController string            `json:"reportingController"`
	ReportingInstance   string            `json:"reportingInstance,omitzero"`
}

// fluxPrefix marks metadata that a user put on an object for its events.
const fluxPrefix = "event.toolkit.fluxcd.io/"

// FluxObject is the event in Flux's format, for providers that speak it.
//
// An event of Flux stays as it came, but for the prefixes of its metadata, which are stripped as Flux's
// notification-controller does: a key of the object's own API group wins over one without prefix, and that
// over an annotation's (event.toolkit.fluxcd.io/).
//
// For other sources the fields are made up, and honestly so: no object of the cluster is involved, so the
// object is Bellhop's Endpoint, the controller is "bellhop", the message is title and message, and the
// metadata holds what is known: repository, revision (branch@sha1:commit, as Flux spells it), branch, tag,
// commit, image, digest, pullRequest, actor, link.
func (e *Event) FluxObject() FluxEvent {
	f := FluxEvent{
		InvolvedObject:      e.InvolvedObject,
		Severity:            e.Severity,
		Timestamp:           e.Time.UTC().Truncate(time.Second),
		Message:             e.Message,
		Reason:              e.Reason,
		ReportingController: e.ReportingController,
		ReportingInstance:   e.ReportingInstance,
		Metadata:            fluxMetadata(e.Metadata, e.InvolvedObject.APIVersion),
	}
	if f.Severity == "" {
		f.Severity = Info
	}
	if e.Kind == KindFlux {
		var sent struct {
			Timestamp time.Time `json:"timestamp"`
		}
		if json.Unmarshal(e.Payload(), &sent) == nil && !sent.Timestamp.IsZero() {
			f.Timestamp = sent.Timestamp.UTC().Truncate(time.Second)
		}
		return f
	}
	if f.InvolvedObject == (ObjectReference{}) {
		f.InvolvedObject = ObjectReference{APIVersion: "bellhop.dev/v1", Kind: "Endpoint", Name: e.Endpoint}
	}
	if f.ReportingController == "" {
		f.ReportingController = "bellhop"
	}
	if f.ReportingInstance == "" {
		f.ReportingInstance = "bellhop/" + e.Endpoint
	}
	if f.Reason == "" {
		f.Reason = camel(string(e.Kind))
	}
	switch {
	case e.Message == "":
		f.Message = e.Title
	case e.Title != "" && e.Title != e.Message:
		f.Message = e.Title + "\n" + e.Message
	}
	add := func(key, value string) {
		if _, given := f.Metadata[key]; value == "" || given {
			return
		}
		if f.Metadata == nil {
			f.Metadata = map[string]string{}
		}
		f.Metadata[key] = value
	}
	add("repository", e.Repo.Name)
	add("revision", e.fluxRevision())
	add("branch", e.Branch)
	add("tag", e.Tag)
	add("commit", e.Commit)
	image := e.Image
	image.Digest = ""
	add("image", image.String())
	add("digest", e.Image.Digest)
	if e.PullRequest.Number != 0 {
		add("pullRequest", strconv.FormatInt(e.PullRequest.Number, 10))
	}
	add("actor", e.Actor)
	add("link", e.Link)
	return f
}

// fluxRevision is branch@sha1:commit or tag@sha1:commit; empty if the commit is not known in full.
// https://fluxcd.io/flux/components/source/gitrepositories/#artifact
func (e *Event) fluxRevision() string {
	name := e.Branch
	if name == "" {
		name = e.Tag
	}
	switch {
	case len(e.Commit) == 40:
		return strings.TrimPrefix(name+"@sha1:"+e.Commit, "@")
	case len(e.Commit) == 64:
		return strings.TrimPrefix(name+"@sha256:"+e.Commit, "@")
	}
	return ""
}

func fluxMetadata(in map[string]string, apiVersion string) map[string]string {
	if len(in) == 0 {
		return nil
	}
	group, _, _ := strings.Cut(apiVersion, "/")
	out := make(map[string]string, len(in))
	for _, prefix := range []string{fluxPrefix, "", group + "/"} {
		for k, v := range in {
			key, ok := strings.CutPrefix(k, prefix)
			if ok && key != "" && (prefix != "" || !strings.HasPrefix(k, fluxPrefix) && !strings.HasPrefix(k, group+"/")) {
				out[key] = v
			}
		}
	}
	return out
}

// camel is pull_request as PullRequest and git.push as GitPush.
func camel(s string) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(s, func(r rune) bool { return r == '.' || r == '_' }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}
