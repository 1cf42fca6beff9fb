// Package fluxevent reads the events that Flux's controllers post, from wherever they come.
package fluxevent

import (
	"strings"
	"unicode"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/git"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// Message is an event as it is posted.
//
// https://fluxcd.io/flux/components/notification/events/#event-structure
type Message struct {
	InvolvedObject bellhop.ObjectReference `json:"involvedObject"`
	Severity       string                  `json:"severity"` // info, error; trace is not posted
	Message        string                  `json:"message"`  // plain text of one or more lines
	Reason         string                  `json:"reason"`   // HealthCheckFailed
	// Metadata is by group and key: what a user wrote on the object begins with event.toolkit.fluxcd.io/, what the
	// controller knows with the object's own group, and in old events with nothing.
	Metadata            map[string]string `json:"metadata"`
	ReportingController string            `json:"reportingController"`
	ReportingInstance   string            `json:"reportingInstance"`
}

// IsEvent reports whether the message is about an object, as every event of Flux is.
func (m *Message) IsEvent() bool { return m.InvolvedObject.Kind != "" && m.InvolvedObject.Name != "" }

// Event is the message as an event of kind flux. What Flux says stays as it came, so that it can be passed on, but
// for the token that tells repetitions apart and nobody else wants.
func (m *Message) Event() bellhop.Event {
	e := bellhop.Event{
		Kind:                bellhop.KindFlux,
		Type:                m.Reason,
		Reason:              m.Reason,
		Message:             text.Body(m.Message),
		InvolvedObject:      m.InvolvedObject,
		Metadata:            m.metadata(),
		ReportingController: m.ReportingController,
		ReportingInstance:   m.ReportingInstance,
	}
	if strings.EqualFold(m.Severity, string(bellhop.Error)) {
		e.Severity = bellhop.Error
	}
	if e.Reason == "" || strings.ContainsFunc(e.Reason, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		e.Reason = text.Camel(m.Reason)
	}
	e.Link = text.Web(m.value("link"))
	m.setRevision(&e)
	e.Title = m.title()
	describe.Other(&e, e.Title, "")
	return e
}

// title is what became of which object, such as "Kustomization apps/podinfo: health check failed".
func (m *Message) title() string {
	o := m.InvolvedObject
	title := o.Kind + " " + o.Name
	if o.Namespace != "" {
		title = o.Kind + " " + o.Namespace + "/" + o.Name
	}
	what := words(m.Reason)
	if what == "" || strings.EqualFold(what, m.Severity) { // old controllers gave no better reason
		what = text.Line(m.Message)
	}
	if what == "" {
		return text.Line(title)
	}
	return text.Line(title + ": " + what)
}

// tokenKey is of metadata that makes events differ for the notification-controller's limit on repetitions.
const tokenKey = "token"

func (m *Message) metadata() map[string]string {
	token := m.group() + "/" + tokenKey
	if _, ok := m.Metadata[token]; !ok {
		return m.Metadata
	}
	kept := make(map[string]string, len(m.Metadata))
	for k, v := range m.Metadata {
		if k != token {
			kept[k] = v
		}
	}
	return kept
}

// group is of the API of the object.
func (m *Message) group() string {
	group, _, _ := strings.Cut(m.InvolvedObject.APIVersion, "/")
	return group
}

// value is what the metadata has under a key, the controller's word first.
func (m *Message) value(key string) string {
	for _, prefix := range []string{m.group() + "/", "", "event.toolkit.fluxcd.io/"} {
		if v := m.Metadata[prefix+key]; v != "" {
			return v
		}
	}
	return ""
}

// setRevision sets commit, branch and tag as far as a revision tells them. The origin's revision is of the git
// repository from which somebody built what the object applies.
func (m *Message) setRevision(e *bellhop.Event) {
	for _, key := range []string{"commit", "originRevision", "revision"} {
		if setRevision(e, m.value(key)) {
			return
		}
	}
	// Old source-controllers say it in the message only.
	if revision, ok := strings.CutPrefix(e.Message, "Fetched revision: "); ok {
		setRevision(e, text.Line(revision))
	}
}

// setRevision reads a revision of git: name@sha1:hash, sha1:hash, and of Flux before version 2.0 name/hash. It
// returns false for any other, such as the digest of an image.
//
// https://fluxcd.io/flux/components/source/gitrepositories/#artifact
func setRevision(e *bellhop.Event, revision string) bool {
	name, hash, ok := strings.Cut(revision, "sha1:")
	if ok {
		name = strings.TrimSuffix(name, "@")
	} else {
		i := strings.LastIndexByte(revision, '/')
		name, hash = revision[:max(i, 0)], revision[i+1:]
	}
	if len(hash) != 40 || strings.Trim(hash, "0123456789abcdef") != "" {
		return false
	}
	e.Commit = hash
	switch {
	case name == "" || name == "HEAD":
	case strings.HasPrefix(name, "refs/"):
		git.SetRef(e, name)
	case isVersion(name):
		e.Tag = name
	default:
		e.Branch = name
	}
	return true
}

// isVersion reports whether a name is one that people give to tags rather than to branches, such as v1.8.0: Flux
// tells a short name, and not of what.
func isVersion(name string) bool {
	name = strings.TrimPrefix(name, "v")
	major, rest, ok := strings.Cut(name, ".")
	return ok && major != "" && strings.Trim(major, "0123456789") == "" && rest != "" && '0' <= rest[0] && rest[0] <= '9'
}

// words are the words of a CamelCase reason: HealthCheckFailed is "health check failed", OCIPullFailed "OCI pull
// failed".
func words(reason string) string {
	var b strings.Builder
	runes := []rune(reason)
	upper := func(i int) bool { return i >= 0 && i < len(runes) && unicode.IsUpper(runes[i]) }
	for i, r := range runes {
		begins := upper(i) && i > 0 && (!upper(i-1) || i+1 < len(runes) && !upper(i+1))
		if begins {
			b.WriteByte(' ')
		}
		acronym := upper(i) && (upper(i+1) || upper(i-1) && !begins)
		if !acronym {
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return text.Words(b.String())
}
