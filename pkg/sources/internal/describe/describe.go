// Package describe finds the words for what happened, so that a push reads the same whichever forge it comes
// from.
//
// Its functions complete an event of which the facts are known (Actor, Repo, Ref, Before, Commit,
// PullRequest, Link): they set Kind, Reason, Severity, Title and Message.
package describe

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// Commit is one commit of a push. Only the first line of Message is shown.
type Commit struct {
	ID, Message, Author, URL string
}

// Commits are what came to a branch.
type Commits struct {
	// First are the first ones, oldest first; Total is how many there are in all.
	First   []Commit
	Total   int
	Created bool
	Forced  bool
	// More: there are more commits than First, and nobody says how many.
	More bool
}

// Push describes commits on a branch. Without a branch (no ref, or one outside refs/heads) it is an event
// of kind other: who acts on pushes acts on branches.
func Push(e *bellhop.Event, p Commits) {
	e.Kind, e.Severity, e.Reason = bellhop.KindGitPush, bellhop.Info, "Push"
	n := max(p.Total, len(p.First))
	verb := "pushed"
	switch {
	case p.Created:
		e.Reason, verb = "BranchCreated", "created"
	case p.Forced:
		e.Reason, verb = "ForcePush", "force-pushed"
	}
	branch := text.Line(e.Branch)
	switch {
	case branch == "":
		e.Kind = bellhop.KindOther
		e.Title = by(e) + " pushed" + to(e)
	case p.Created && n > 0:
		e.Title = by(e) + " created " + branch + " with " + commits(n, p.More) + in(e)
	case p.Created:
		e.Title = by(e) + " created " + branch + in(e)
	case n == 0 && p.Forced:
		e.Title = by(e) + " force-pushed " + branch + of(e)
	case n == 0:
		e.Title = by(e) + " pushed to " + branch + of(e)
	default:
		e.Title = by(e) + " " + verb + " " + commits(n, p.More) + " to " + branch + of(e)
	}

	var b strings.Builder
	b.Grow(128 * len(p.First)) // about a line each
	for _, c := range p.First {
		b.WriteString("- ")
		b.WriteString(text.Link(text.Code(bellhop.ShortCommit(c.ID)), c.URL))
		if m := text.Escape(c.Message); m != "" {
			b.WriteByte(' ')
			b.WriteString(m)
		}
		if a := text.Escape(c.Author); a != "" {
			b.WriteString(" (")
			b.WriteString(a)
			b.WriteByte(')')
		}
		b.WriteByte('\n')
	}
	switch more := n - len(p.First); {
	case len(p.First) == 0:
	case p.More:
		b.WriteString("- and more\n")
	case more > 0:
		fmt.Fprintf(&b, "- and %d more\n", more)
	}
	e.Message = strings.TrimSuffix(b.String(), "\n")
	if e.Message == "" {
		e.Message = sentence(e, verb, text.Code(branch))
	}
}

// Tag describes a tag that was created, or moved from Before to Commit. The annotation is what the tag's
// author wrote, usually nothing.
func Tag(e *bellhop.Event, moved bool, annotation string) {
	e.Kind, e.Severity, e.Reason = bellhop.KindGitTag, bellhop.Info, "TagCreated"
	done, verb := "tagged", "tagged"
	if moved {
		e.Reason, done, verb = "TagMoved", "moved", "moved the tag"
	}
	e.Title = cmp.Or(text.Line(e.Tag), "a tag") + " " + done + in(e) + byTail(e)
	e.Message = sentence(e, verb, text.Code(e.Tag))
	if note := text.Escape(annotation); note != "" {
		e.Message += ": " + note
	}
}

// Deletion describes a branch or tag that is gone. It clears Commit.
func Deletion(e *bellhop.Event) {
	e.Kind, e.Severity, e.Commit = bellhop.KindGitDelete, bellhop.Info, ""
	name, what := e.Branch, "branch"
	e.Reason = "BranchDeleted"
	if e.Tag != "" {
		name, what = e.Tag, "tag"
		e.Reason = "TagDeleted"
	}
	e.Title = what + " " + cmp.Or(text.Line(name), "without a name") + " deleted" + in(e) + byTail(e)
	e.Message = sentence(e, "deleted the "+what, text.Code(name))
}

// PullRequest describes what was done to a pull or merge request. The noun is the forge's ("pull request"),
// deed a past participle for people ("opened", "review requested"), mark what stands before the number ("#"
// or "!"), note Markdown of the sender's user, usually the description or nothing.
func PullRequest(e *bellhop.Event, noun, mark, deed, note string) {
	e.Kind, e.Severity = bellhop.KindPullRequest, bellhop.Info
	pr := e.PullRequest
	number := ""
	if pr.Number != 0 {
		number = fmt.Sprintf(" %s%d", mark, pr.Number)
	}
	e.Title = noun + number + " " + cmp.Or(deed, "changed")
	title := text.Line(pr.Title)
	if title != "" {
		e.Title += ": " + title
	}
	what := text.Link(cmp.Or(text.Escape(strings.TrimSpace(noun+number+" "+title)), noun), cmp.Or(pr.URL, e.Link))
	e.Message = actor(e) + ": " + what + " " + text.Escape(cmp.Or(deed, "changed"))
	if pr.Head != "" && pr.Base != "" {
		e.Message += ", " + text.Code(pr.Head) + " → " + text.Code(pr.Base)
	}
	e.Message += after(" in ", repoLink(e))
	Note(e, note)
}

// Other describes anything else. What is a phrase of plain text such as "issue #1 opened: Spelling error".
// It completes only what is not set yet of Kind (other), Severity (info), Title and Message.
func Other(e *bellhop.Event, what, note string) {
	if e.Kind == "" {
		e.Kind = bellhop.KindOther
	}
	if e.Severity == "" {
		e.Severity = bellhop.Info
	}
	what = cmp.Or(text.Line(what), "event")
	if e.Title == "" {
		e.Title = what
		if !strings.Contains(what, ": ") { // what names a thing by its title needs no place
			e.Title += in(e)
		}
	}
	if e.Message == "" {
		if e.Message = text.Escape(what); e.Link != e.Repo.WebURL {
			e.Message = text.Link(e.Message, e.Link)
		}
		if e.Actor != "" {
			e.Message = actor(e) + ": " + e.Message
		}
		if !strings.Contains(what, text.Line(e.Repo.Name)) {
			e.Message += after(" in ", repoLink(e))
		}
		Note(e, note)
	}
}

// Note puts what a person wrote under the message, as a quotation.
func Note(e *bellhop.Event, note string) {
	note = text.Quote(note)
	if note == "" {
		return
	}
	e.Message += "\n\n> " + strings.ReplaceAll(strings.ReplaceAll(note, "\n", "\n> "), "> \n", ">\n")
}

func commits(n int, more bool) string {
	if more {
		return fmt.Sprintf("more than %d commits", n)
	}
	if n == 1 {
		return "1 commit"
	}
	return strconv.Itoa(n) + " commits"
}

// sentence is "**actor** verb object in [repo](…)" as CommonMark.
func sentence(e *bellhop.Event, verb, object string) string {
	s := actor(e) + " " + verb
	if object != "" {
		s += " " + object
	}
	return s + after(" in ", repoLink(e))
}

func actor(e *bellhop.Event) string { return "**" + cmp.Or(text.Escape(e.Actor), "somebody") + "**" }

func by(e *bellhop.Event) string { return cmp.Or(text.Line(e.Actor), "somebody") }

func byTail(e *bellhop.Event) string { return after(" by ", text.Line(e.Actor)) }

func of(e *bellhop.Event) string { return after(" of ", text.Line(e.Repo.Name)) }

func to(e *bellhop.Event) string { return after(" to ", text.Line(e.Repo.Name)) }

func in(e *bellhop.Event) string { return after(" in ", text.Line(e.Repo.Name)) }

func repoLink(e *bellhop.Event) string { return text.Link(text.Escape(e.Repo.Name), e.Repo.WebURL) }

func after(preposition, s string) string {
	if s == "" {
		return ""
	}
	return preposition + s
}
