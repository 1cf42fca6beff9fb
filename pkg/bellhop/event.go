package bellhop

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/url"
	"strings"
	"time"
)

// EventKind is what happened, in words shared by all sources.
type EventKind string

// The kinds. A source that knows no better says KindOther.
const (
	KindGitPush     EventKind = "git.push"     // commits on a branch, a new branch included
	KindGitTag      EventKind = "git.tag"      // a tag was created or moved
	KindGitDelete   EventKind = "git.delete"   // a branch or a tag is gone
	KindPullRequest EventKind = "pull_request" // pull or merge request, reviews included
	KindRelease     EventKind = "release"
	KindImagePush   EventKind = "image.push"
	KindImageDelete EventKind = "image.delete"
	KindPackage     EventKind = "package" // a package that is no container image
	KindCI          EventKind = "ci"      // checks, pipelines, jobs, statuses, deployments
	KindComment     EventKind = "comment"
	KindAlert       EventKind = "alert"
	KindFlux        EventKind = "flux"
	KindPing        EventKind = "ping" // the sender tests the hook; answered, never relayed
	KindOther       EventKind = "other"
)

// EventKinds lists all kinds, for validation and documentation.
var EventKinds = []EventKind{
	KindGitPush, KindGitTag, KindGitDelete, KindPullRequest, KindRelease, KindImagePush, KindImageDelete,
	KindPackage, KindCI, KindComment, KindAlert, KindFlux, KindPing, KindOther,
}

// Severity is info or error.
type Severity string

// The severities. The zero value counts as info.
const (
	Info  Severity = "info"
	Error Severity = "error"
)

// Event is a verified fact: a holder of an endpoint's key said so. The JSON names are the contract (§4):
// the same object is `event` in CEL and in templates and the admin API's JSON.
//
// Sources fill everything from Type on; the receiver fills ID, Time, Endpoint, Source, Headers and Raw.
// Fields that do not apply are zero and left out of the JSON.
type Event struct {
	// ID is Bellhop's own: a ULID, sortable by time.
	ID string `json:"id"`
	// Time is when the request was received.
	Time time.Time `json:"time"`
	// Endpoint is the configured name of the endpoint.
	Endpoint string `json:"endpoint"`
	// Source is the name of the source's kind, such as "github".
	Source string `json:"source"`

	// Type, Action and DeliveryID are the sender's own words: "push", "opened", X-GitHub-Delivery.
	Type       string `json:"type,omitzero"`
	Action     string `json:"action,omitzero"`
	DeliveryID string `json:"deliveryId,omitzero"`

	Kind     EventKind `json:"kind"`
	Severity Severity  `json:"severity,omitzero"`
	// Reason is a CamelCase word for machines, such as "Push" or "HealthCheckFailed".
	Reason string `json:"reason,omitzero"`
	// Title is one line of plain text for a person; Message is CommonMark; Link is where to look.
	Title   string `json:"title,omitzero"`
	Message string `json:"message,omitzero"`
	Link    string `json:"link,omitzero"`
	// Fields override the facts that providers show under the message; see Facts.
	Fields []Field `json:"fields,omitzero"`

	// CommitStatus is set while the event is delivered, by a route that asks for one. It is not stored.
	CommitStatus *CommitStatus `json:"commitStatus,omitzero"`

	// Actor is who caused it: login or user name, else the display name.
	Actor string `json:"actor,omitzero"`
	Repo  Repo   `json:"repo,omitzero"`
	// Ref is as the sender spells it: full (refs/heads/main) or short.
	Ref string `json:"ref,omitzero"`
	// Branch and Tag are short names. For pull requests, checks and pipelines Branch is the source branch.
	Branch string `json:"branch,omitzero"`
	Tag    string `json:"tag,omitzero"`
	// Before and Commit are hashes as long as the sender gives them. Commit is empty when the ref was deleted.
	Before string `json:"before,omitzero"`
	Commit string `json:"commit,omitzero"`

	Image       Image       `json:"image,omitzero"`
	PullRequest PullRequest `json:"pullRequest,omitzero"`

	// InvolvedObject, Metadata and the reporting pair are Flux's event fields; providers that speak Flux's
	// format use FluxObject, which synthesises them for other sources.
	InvolvedObject      ObjectReference   `json:"involvedObject,omitzero"`
	Metadata            map[string]string `json:"metadata,omitzero"`
	ReportingController string            `json:"reportingController,omitzero"`
	ReportingInstance   string            `json:"reportingInstance,omitzero"`

	// Headers are the sender's, canonical names, credentials and signatures left out.
	Headers map[string]string `json:"headers,omitzero"`
	// Raw is the request's body, untouched. While an event is accepted it is borrowed from the request:
	// who keeps it must copy it.
	Raw []byte `json:"-"`
}

// Repo is a git repository. HTTPURL and SSHURL are clone URLs, WebURL is for a person.
type Repo struct {
	Name    string `json:"name,omitzero"` // owner/name
	HTTPURL string `json:"httpURL,omitzero"`
	SSHURL  string `json:"sshURL,omitzero"`
	WebURL  string `json:"webURL,omitzero"`
}

// Image is a container image. Name includes the registry's host where the sender tells it.
type Image struct {
	Name   string `json:"name,omitzero"`
	Tag    string `json:"tag,omitzero"`
	Digest string `json:"digest,omitzero"` // sha256:…
}

// PullRequest is a pull or merge request. Head and Base are branch names.
type PullRequest struct {
	Number int64  `json:"number,omitzero"`
	Title  string `json:"title,omitzero"`
	URL    string `json:"url,omitzero"`
	Head   string `json:"head,omitzero"`
	Base   string `json:"base,omitzero"`
}

// ObjectReference names a Kubernetes object as Flux's events do.
type ObjectReference struct {
	APIVersion      string `json:"apiVersion,omitzero"`
	Kind            string `json:"kind,omitzero"`
	Namespace       string `json:"namespace,omitzero"`
	Name            string `json:"name,omitzero"`
	UID             string `json:"uid,omitzero"`
	ResourceVersion string `json:"resourceVersion,omitzero"`
}

// Field is one line of facts under a message.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// CommitState is what a commit status says, in words that each git provider translates.
type CommitState string

// The states of a commit.
const (
	CommitPending CommitState = "pending" // queued or running
	CommitSuccess CommitState = "success"
	CommitFailure CommitState = "failure" // what was tried did not hold: a test, a health check
	CommitError   CommitState = "error"   // it could not be tried
)

// CommitStates lists all states, for validation and documentation.
var CommitStates = []CommitState{CommitPending, CommitSuccess, CommitFailure, CommitError}

// CommitStatus is what a route wants said of the event's commit. What is empty is left to the provider.
type CommitStatus struct {
	State CommitState `json:"state,omitzero"`
	// Context tells the status from others of the same commit, such as "ci/build".
	Context string `json:"context,omitzero"`
	// Description is one line of plain text.
	Description string `json:"description,omitzero"`
}

// Payload is the decoded payload's text: Raw, or for a form-encoded delivery the form's field "payload".
// It is usually JSON; nil when there is none.
func (e *Event) Payload() []byte {
	if mt, _, err := mime.ParseMediaType(e.Headers["Content-Type"]); err == nil && mt == "application/x-www-form-urlencoded" {
		return FormPayload(e.Raw)
	}
	return e.Raw
}

// FormPayload is the field "payload" of a form-encoded body, nil if there is none.
func FormPayload(body []byte) []byte {
	form, err := url.ParseQuery(string(body))
	if err != nil || !form.Has("payload") {
		return nil
	}
	return []byte(form.Get("payload"))
}

// JSON is the whole event with its `body`: the payload's JSON, or a string if it is not JSON.
func (e *Event) JSON() ([]byte, error) {
	head, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	payload := e.Payload()
	if len(payload) == 0 {
		return head, nil
	}
	payload = bytes.ToValidUTF8(payload, []byte("\uFFFD"))
	if !json.Valid(payload) {
		if payload, err = json.Marshal(string(payload)); err != nil {
			return nil, err
		}
	}
	out := make([]byte, 0, len(head)+len(payload)+len(`,"body":`))
	out = append(out, head[:len(head)-1]...)
	out = append(out, `,"body":`...)
	out = append(out, payload...)
	return append(out, '}'), nil
}

// Facts are what a provider shows under the message, in a fixed order: Fields if a route or provider set
// them, else what the event knows of itself (repository, branch, tag, commit, image, pull request, actor),
// then the metadata by name, without the prefixes of Flux's keys.
func (e *Event) Facts() []Field {
	if e.Fields != nil {
		return e.Fields
	}
	var fs []Field
	add := func(name, value string) {
		if value != "" {
			fs = append(fs, Field{name, value})
		}
	}
	add("repository", e.Repo.Name)
	add("branch", e.Branch)
	add("tag", e.Tag)
	add("commit", e.Commit)
	add("image", e.Image.String())
	if e.PullRequest.Number != 0 {
		add("pull request", strings.TrimSpace("#"+itoa(e.PullRequest.Number)+" "+e.PullRequest.Title))
	}
	add("actor", e.Actor)
	metadata := fluxMetadata(e.Metadata, e.InvolvedObject.APIVersion)
	for _, k := range sortedKeys(metadata) {
		add(k, metadata[k])
	}
	return fs
}

// String is name:tag@digest as far as known.
func (i Image) String() string {
	s := i.Name
	if s == "" {
		return ""
	}
	if i.Tag != "" {
		s += ":" + i.Tag
	}
	if i.Digest != "" {
		s += "@" + i.Digest
	}
	return s
}

// ShortCommit is the first seven digits of a commit, for people.
func ShortCommit(commit string) string {
	if len(commit) > 7 {
		return commit[:7]
	}
	return commit
}
