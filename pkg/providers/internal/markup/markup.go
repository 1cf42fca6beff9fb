// Package markup writes the CommonMark of messages the way chats read text: Slack's mrkdwn, the Markdown of
// Discord, Webex and Teams, Google Chat's HTML, plain text.
//
// One walk over the parsed message serves them all; a Dialect says how a chat spells bold, a link, a list.
// Whatever the dialect, a text is cut to the chat's limit in the chat's unit while it is written: no mark,
// entity, escape or link is torn, marks that are open where the text ends are closed, and what a stranger
// wrote comes out as text, not as markup of that chat.
package markup

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"github.com/bellhop-dev/bellhop/pkg/httpsend"
)

// Dialect is how a chat spells what CommonMark can say. Marks that are zero are left out: the text stays.
type Dialect struct {
	// Len is the length of a text as the chat counts it. It must add up: the length of two texts is that of
	// one after the other.
	Len func(string) int
	// Escape writes a character so that the chat shows it as it is. Code is Escape inside code; the same if nil.
	Escape, Code func(c Char) string

	Bold, Italic, Strike Marks
	// CodeSpan is around code within a line, which may hold the marks themselves. Nil: not marked.
	CodeSpan func(code string) Marks
	// CodeBlock is around lines of code.
	CodeBlock Marks
	// Heading is around a heading of a level from 1 to 6; Bold if nil.
	Heading func(level int) Marks

	// Bullet begins an item of a list without numbers, Indent the lines below an item's first.
	Bullet, Indent string
	// Quote begins every line of a quotation.
	Quote string
	// Rule stands for a thematic break.
	Rule string

	// LineBreak ends a line within a paragraph, BlockBreak one before the next block. Both are a line break
	// inside lists, quotations and code, and if they are empty.
	LineBreak, BlockBreak string

	// Link is a link. The URL is one that URL returned; the label is written in the dialect, and may be empty.
	// Nil: the label, with the URL in brackets.
	Link func(url, label string) string
}

// Marks begin and end what is marked.
type Marks struct{ Open, Close string }

// Char is a character as people see it: a rune with all that is joined to it.
type Char struct {
	Text string
	// Prev is the rune before it, a line break at the beginning.
	Prev rune
	// Head: nothing but digits and spaces is before it in its line, so that it could begin a heading, a list
	// or a quotation.
	Head bool
}

// Of a source so many bytes are looked at for each unit of its limit, and of a message not more than the most:
// what is further on can hardly be seen, and deep nesting takes a parser a time that grows with the square of its
// length.
const (
	visible    = 4
	maxMessage = 12 << 10
)

// maxLabel is how long the text of a link inside a message may be.
const maxLabel = 200

// Of what looks like a link without markup, web addresses are one: escapes inside would break them.
var commonMark = goldmark.New(goldmark.WithExtensions(extension.Strikethrough, extension.NewLinkify(
	extension.WithLinkifyAllowedProtocols([]string{"http:", "https:"}),
	extension.WithLinkifyWWWRegexp(never),
	extension.WithLinkifyEmailRegexp(never),
)))

var never = regexp.MustCompile(`^[^\s\S]`)

// Message writes CommonMark in the dialect, in at most limit units, the ellipsis of what was cut included.
func (d *Dialect) Message(commonmark string, limit int) string {
	if limit <= 0 {
		return ""
	}
	source := []byte(shallow(clean(beginning(commonmark, min(visible*limit, maxMessage)))))
	w := d.writer(limit)
	w.source = source
	w.block(commonMark.Parser().Parse(text.NewReader(source)))
	return w.String()
}

// Text writes text that is no markup, in at most limit units.
func (d *Dialect) Text(s string, limit int) string {
	if limit <= 0 {
		return ""
	}
	w := d.writer(limit)
	w.text(clean(beginning(s, visible*limit)))
	return w.String()
}

// Line is Text on one line, its white space as single spaces.
func (d *Dialect) Line(s string, limit int) string {
	return d.Text(httpsend.OneLine(beginning(s, visible*max(limit, 0))), limit)
}

// LinkTo is a link with a label of at most limit units; the label alone if there is no URL to link to.
func (d *Dialect) LinkTo(to, label string, limit int) string {
	bare := label == "" || label == to
	label = d.Line(label, limit)
	to = URL(to)
	if bare && to != "" {
		label = ""
	}
	switch {
	case to == "":
		return label
	case d.Link != nil:
		return d.Link(to, label)
	case label == "":
		return to
	}
	return label + " (" + to + ")"
}

// maxURL is how many bytes a URL may have that is linked to.
const maxURL = 2000

// URL is a link's target if a chat can link to it, else empty: a web or mail address in which nothing is left
// that any dialect could take for the link's end.
func URL(to string) string {
	if len(to) > maxURL {
		return ""
	}
	u, err := url.Parse(strings.TrimSpace(to))
	if err != nil {
		return ""
	}
	switch u.Scheme {
	case "http", "https":
		if u.Host == "" {
			return ""
		}
	case "mailto":
	default:
		return ""
	}
	if to = closers.Replace(u.String()); len(to) > maxURL {
		return ""
	}
	return to
}

var closers = strings.NewReplacer("|", "%7C", "<", "%3C", ">", "%3E", "(", "%28", ")", "%29", " ", "%20",
	`"`, "%22", "`", "%60", `\`, "%5C")

// clean makes a text valid UTF-8 without control characters but line breaks and tabs. JSON spells the line and
// paragraph separators with six characters, which no count expects: they become line breaks.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\u2028', r == '\u2029':
			return '\n'
		case r == '\n', r == '\t', !unicode.IsControl(r):
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// beginning cuts a text to n bytes without looking at what is far behind them.
func beginning(s string, n int) string {
	return httpsend.Cut(s[:min(len(s), n+64)], n, httpsend.Bytes)
}

// maxMarkers is how many bytes of a line's beginning may be marks of quotations and lists, far more than are shown.
const maxMarkers = 100

// shallow takes from lines that begin with more marks of quotations and lists those above maxMarkers.
func shallow(s string) string {
	if len(s) <= maxMarkers {
		return s
	}
	var b strings.Builder
	for line := range strings.Lines(s) {
		if n := len(line) - len(strings.TrimLeft(line, " \t>*+-.)0123456789")); n > maxMarkers {
			line = line[:maxMarkers] + line[n:]
		}
		b.WriteString(line)
	}
	return b.String()
}

// characters splits a text before every rune that does not belong to the one before it.
func characters(s string) []string {
	var out []string
	start, joined := 0, false
	for i, r := range s {
		if i > start && !joined && !httpsend.Joins(r) || i-start > 64 {
			out = append(out, s[start:i])
			start = i
		}
		joined = r == '\u200D'
	}
	if start < len(s) {
		out = append(out, s[start:])
	}
	return out
}

// unescaped resolves the backslashes and entities of CommonMark.
func unescaped(b []byte) []byte {
	return util.UnescapePunctuations(util.ResolveNumericReferences(util.ResolveEntityNames(b)))
}

// label is the text of a link, without its markup.
func label(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(c ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := c.(*ast.Text); ok && entering {
			b.Write(unescaped(t.Value(source)))
			if t.SoftLineBreak() {
				b.WriteByte(' ')
			}
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}
