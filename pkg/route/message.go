package route

import (
	"errors"
	"fmt"
	"net/url"
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
}

// Message is the compiled overrides of a route or a provider. It is safe for concurrent use.
type Message struct {
	title, message, link *part
	fields               []field
	usesBody             bool
}

type field struct {
	name  string
	value *part
}

// CompileMessage compiles the overrides. It is nil if nothing is overridden. The error is bellhop.Problems
// with the paths title, message, link and fields[i].value.
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
	if len(ps) > 0 {
		return nil, ps
	}
	if m.title == nil && m.message == nil && m.link == nil && m.fields == nil {
		return nil, nil
	}
	return &m, nil
}

// Apply returns the event in the message's words: a copy, e itself is not changed. A nil message changes
// nothing.
//
// A part that fails at run time keeps its default, and the message ends in a note that says so. A title, a
// message or a link that comes out blank keeps its default too; a field that does is left out.
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
	if len(failed) > 0 {
		note := "(route template failed: " + truncate(500, strings.Join(failed, "; ")) + ")"
		out.Message = strings.TrimLeft(out.Message+"\n\n"+note, "\n")
	}
	return &out
}

// oneLine is text without control characters, on one line.
func oneLine(s string) (string, error) { return strings.Join(strings.Fields(printable(s)), " "), nil }

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
