package route

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// MessageSpec is the overrides of a route or a provider as configured: templates, empty for what is not
// overridden.
type MessageSpec struct {
	Title, Message, Link string
	// Fields' values are templates, their names are not. Nil leaves the event's own facts, an empty list
	// shows none.
	Fields []bellhop.Field
	// Metadata's values are templates, its keys are not. It is added to the event's own.
	Metadata map[string]string
	// CommitStatus asks for a status of the event's commit; nil asks for none.
	CommitStatus *CommitStatusSpec
}

// CommitStatusSpec is what a route wants said of the event's commit: templates, empty for what is left to the
// provider.
type CommitStatusSpec struct {
	// State must come out as one of bellhop.CommitStates.
	State, Context, Description string
}

// Message is the compiled overrides of a route or a provider. It is safe for concurrent use.
type Message struct {
	title, message, link *part
	fields               []field
	metadata             []field // by name
	status               *statusParts
	usesBody             bool
}

type field struct {
	name  string
	value *part
}

type statusParts struct{ state, context, description *part }

// CompileMessage compiles the overrides. It is nil if nothing is overridden. The error is bellhop.Problems
// with the paths title, message, link, fields[i].value, metadata.KEY and commitStatus.state and the like.
//
// Functions, their text last so that they can stand behind a pipe:
//
//	upper, lower, trim        as their names say
//	trimPrefix P, trimSuffix S
//	replace OLD NEW           every OLD
//	contains S, hasPrefix P, hasSuffix S
//	split SEP, join SEP       text to list and back
//	truncate N                at most N characters, the last of them … if anything was cut
//	firstLine                 up to the first line break
//	default D                 the value, or D if there is none
//	short                     the first seven digits of a commit
//	date LAYOUT               a time by Go's layout (https://pkg.go.dev/time#Layout), UTC
//	json                      the value as JSON
//
// and those of text/template but call; headers.Get "x-name" looks a header up whatever its case. What is not
// there prints as nothing; lists and maps print as JSON. Several templates (define, template, block) are not
// supported, nor is running for long: a range ends after 100,000 rounds.
func CompileMessage(spec MessageSpec) (*Message, error) {
	var (
		m  Message
		ps bellhop.Problems
	)
	compile := func(path, source string) *part {
		if source == "" {
			return nil
		}
		p, err := compilePart(path, source)
		if err != nil {
			for _, problem := range bellhop.AsProblems(err) {
				problem.Path = path
				ps = append(ps, problem)
			}
			return nil
		}
		m.usesBody = m.usesBody || p.usesBody
		return p
	}
	m.title = compile("title", spec.Title)
	m.message = compile("message", spec.Message)
	m.link = compile("link", spec.Link)
	if spec.Fields != nil {
		m.fields = make([]field, len(spec.Fields))
	}
	for i, f := range spec.Fields {
		if strings.TrimSpace(f.Name) == "" {
			ps = append(ps, bellhop.Wrong(fmt.Sprintf("fields[%d].name", i), "the name is empty: write what the value is"))
		}
		m.fields[i] = field{f.Name, compile(fmt.Sprintf("fields[%d].value", i), f.Value)}
	}
	for _, key := range slices.Sorted(maps.Keys(spec.Metadata)) {
		if strings.TrimSpace(key) == "" {
			ps = append(ps, bellhop.Wrong("metadata", "a key is empty: write what the value is"))
		}
		m.metadata = append(m.metadata, field{key, compile("metadata."+key, spec.Metadata[key])})
	}
	if c := spec.CommitStatus; c != nil {
		m.status = &statusParts{
			state:       compile("commitStatus.state", c.State),
			context:     compile("commitStatus.context", c.Context),
			description: compile("commitStatus.description", c.Description),
		}
		if _, err := commitState(c.State); err != nil && !strings.Contains(c.State, "{{") {
			ps = append(ps, bellhop.Wrong("commitStatus.state", "%v", err))
		}
	}
	if len(ps) > 0 {
		return nil, ps
	}
	if m.title == nil && m.message == nil && m.link == nil && m.fields == nil && m.metadata == nil && m.status == nil {
		return nil, nil
	}
	return &m, nil
}

// Apply returns the event in the message's words: a copy, e itself is not changed. A nil message changes
// nothing.
//
// A part that fails at run time keeps its default, and the message ends in a note that says so. A title, a
// message or a link that comes out blank keeps its default too; a field or an entry of the metadata that does
// is left out. A commit's state that is none fails; its parts that come out blank are left to the provider.
func (m *Message) Apply(e *bellhop.Event) *bellhop.Event {
	if m == nil {
		return e
	}
	data := view(e, m.usesBody)
	out := *e
	var failed []string
	render := func(p *part, keep string, clean func(string) (string, error)) string {
		if p == nil {
			return keep
		}
		text, err := p.render(data)
		if err == nil {
			text, err = clean(text)
		}
		if err != nil {
			failed = append(failed, p.name+": "+err.Error())
			return keep
		}
		if text == "" {
			return keep
		}
		return text
	}
	out.Title = render(m.title, e.Title, oneLine)
	out.Message = render(m.message, e.Message, manyLines)
	out.Link = render(m.link, e.Link, webLink)
	if m.fields != nil {
		out.Fields = make([]bellhop.Field, 0, len(m.fields))
		for _, f := range m.fields {
			if value := render(f.value, "", oneLine); value != "" {
				out.Fields = append(out.Fields, bellhop.Field{Name: f.name, Value: value})
			}
		}
	}
	if m.metadata != nil {
		out.Metadata = maps.Clone(e.Metadata)
		for _, f := range m.metadata {
			if value := render(f.value, "", manyLines); value != "" {
				if out.Metadata == nil {
					out.Metadata = map[string]string{}
				}
				out.Metadata[f.name] = value
			}
		}
	}
	if m.status != nil {
		out.CommitStatus = &bellhop.CommitStatus{
			State:       bellhop.CommitState(render(m.status.state, "", commitState)),
			Context:     render(m.status.context, "", oneLine),
			Description: render(m.status.description, "", oneLine),
		}
	}
	if len(failed) > 0 {
		note := "(route template failed: " + truncate(500, strings.Join(failed, "; ")) + ")"
		out.Message = strings.TrimLeft(out.Message+"\n\n"+note, "\n")
	}
	return &out
}

// oneLine is text without control characters, on one line.
func oneLine(s string) (string, error) { return strings.Join(strings.Fields(printable(s)), " "), nil }

// commitState is one of bellhop.CommitStates, in any case; empty for nothing.
func commitState(s string) (string, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	if s == "" || slices.Contains(bellhop.CommitStates, bellhop.CommitState(s)) {
		return s, nil
	}
	return "", fmt.Errorf("%q is no state of a commit: write one of %s", truncate(40, s), commitStates)
}

// commitStates are bellhop.CommitStates for a message.
var commitStates = func() string {
	var all []string
	for _, s := range bellhop.CommitStates {
		all = append(all, string(s))
	}
	return strings.Join(all, ", ")
}()

// manyLines is text without control characters but line breaks and tabs.
func manyLines(s string) (string, error) {
	return strings.TrimSpace(printable(strings.ReplaceAll(s, "\r\n", "\n"))), nil
}

// webLink is an absolute URL for a browser: a payload must not bring in javascript: and its like.
func webLink(s string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return "", nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", errors.New("it is no http or https URL")
	}
	return u.String(), nil
}

// printable is valid UTF-8 whose control characters are gone, line breaks and tabs kept.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r // an invalid byte comes as U+FFFD and stays that
	}, s)
}
