package slack

import (
	"bytes"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"github.com/bellhop-dev/bellhop/pkg/httpsend"
)

// unit is what Slack's limits are counted in here. The pages say characters; UTF-16 units are the most that
// can mean.
const unit = httpsend.UTF16

// visible is how many bytes of a source are looked at for each unit of its limit: what is further on can hardly
// be seen, and deep nesting takes a parser a time that grows with the square of its length.
const visible = 4

var commonMark = goldmark.New(goldmark.WithExtensions(extension.Strikethrough))

// mrkdwn writes CommonMark as Slack's mrkdwn, in at most limit units, the ellipsis of what was cut included.
// Marks that are open where it is cut are closed.
// https://docs.slack.dev/messaging/formatting-message-text
func mrkdwn(commonmark string, limit int) string {
	source := []byte(clean(httpsend.Cut(commonmark, visible*limit, httpsend.Bytes)))
	w := &writer{limit: limit, source: source, newline: true}
	w.block(commonMark.Parser().Parse(text.NewReader(source)))
	return w.String()
}

// plain writes text that is no markup, in at most limit units.
func plain(s string, limit int) string {
	w := &writer{limit: limit}
	w.text(clean(httpsend.Cut(s, visible*limit, httpsend.Bytes)))
	return w.String()
}

// clean makes a text valid UTF-8 without control characters but line breaks and tabs.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || !unicode.IsControl(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// escape does for &, < and > what Slack asks for; nothing else is special to it.
// https://docs.slack.dev/messaging/formatting-message-text#escaping
var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// writer collects pieces that must not be torn, as long as they fit.
type writer struct {
	out    []byte
	used   int // in units
	limit  int
	source []byte
	// closing are the marks that are open, to be closed when the text ends here, the innermost last.
	closing []string
	// cut is the text as it is if what follows does not fit.
	cut  *cut
	full bool
	// prefix begins every line: quotes and the indent of lists.
	prefix  string
	newline bool
}

// cut is where a text may end in an ellipsis.
type cut struct {
	length int
	tail   string // the ellipsis and what closes the marks
}

const ellipsis = "…"

// String is what was written, without white space around it.
func (w *writer) String() string { return strings.TrimSpace(string(w.out)) }

// tail is what closes the open marks.
func (w *writer) tail() string {
	var b strings.Builder
	for _, mark := range slices.Backward(w.closing) {
		b.WriteString(mark)
	}
	return b.String()
}

// piece writes s whole, or ends the text.
func (w *writer) piece(s string) { w.open(s, "") }

// open writes s, which needs end later on, whole, or ends the text. It reports whether s was written.
func (w *writer) open(s, end string) bool {
	if w.full || s == "" {
		return !w.full
	}
	if w.newline && s != "\n" {
		s = w.prefix + s
	}
	n, tail := unit.Len(s), w.tail()
	rest := unit.Len(end + tail)
	if w.cut == nil && w.used+n+rest+unit.Len(ellipsis) > w.limit {
		w.cut = &cut{len(w.out), ellipsis + tail}
	}
	if w.used+n+rest > w.limit {
		w.full = true
		w.out = append(bytes.TrimRight(w.out[:w.cut.length], " \n\t"), w.cut.tail...)
		return false
	}
	w.out = append(w.out, s...)
	w.used += n
	w.newline = strings.HasSuffix(s, "\n")
	return true
}

// text writes plain text, cut between characters as people see them.
func (w *writer) text(s string) {
	for i, line := range strings.Split(s, "\n") {
		if i > 0 {
			w.piece("\n")
		}
		for _, cluster := range clusters(line) {
			w.piece(escape.Replace(cluster))
		}
	}
}

// clusters splits a text before every rune that does not belong to the one before it.
func clusters(s string) []string {
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

// around writes inner between marks.
func (w *writer) around(open, end string, inner func()) {
	if !w.open(open, end) {
		return
	}
	w.closing = append(w.closing, end)
	inner()
	w.closing = w.closing[:len(w.closing)-1]
	if !w.full { // there is room: it was counted in from the beginning
		w.out = append(w.out, end...)
		w.used += unit.Len(end)
	}
}

// lineBreak ends the line, unless the text is at the beginning of one.
func (w *writer) lineBreak() {
	if len(w.out) > 0 && !w.newline {
		w.piece("\n")
	}
}

// paragraph leaves an empty line before what follows.
func (w *writer) paragraph(n ast.Node) {
	w.lineBreak()
	if n.PreviousSibling() != nil && n.HasBlankPreviousLines() {
		w.piece("\n")
	}
}

func (w *writer) children(n ast.Node, each func(ast.Node)) {
	for c := n.FirstChild(); c != nil && !w.full; c = c.NextSibling() {
		each(c)
	}
}

func (w *writer) lines(n ast.Node) {
	var b bytes.Buffer
	for i := range n.Lines().Len() {
		line := n.Lines().At(i)
		b.Write(line.Value(w.source))
	}
	w.text(strings.TrimRight(b.String(), "\n"))
}

// block writes a block and what is in it.
func (w *writer) block(n ast.Node) {
	switch n := n.(type) {
	case *ast.Document:
		w.children(n, w.block)
	case *ast.Heading:
		w.paragraph(n)
		w.around("*", "*", func() { w.children(n, w.unbold) })
	case *ast.FencedCodeBlock, *ast.CodeBlock:
		w.paragraph(n)
		w.around("```\n", "\n```", func() { w.lines(n) })
	case *ast.Blockquote:
		w.paragraph(n)
		w.nested("> ", func() { w.children(n, w.block) })
	case *ast.List:
		w.paragraph(n)
		number := n.Start
		w.children(n, func(item ast.Node) {
			w.lineBreak()
			mark := "• "
			if n.IsOrdered() {
				mark = strconv.Itoa(number) + ". "
				number++
			}
			w.piece(mark)
			w.item(item)
		})
	case *ast.ThematicBreak:
		w.paragraph(n)
		w.piece("———")
	case *ast.HTMLBlock:
		if n.HTMLBlockType == ast.HTMLBlockType2 { // a comment
			return
		}
		w.paragraph(n)
		w.lines(n)
	default: // paragraphs and text blocks
		w.paragraph(n)
		w.children(n, w.inline)
	}
}

// item writes a list's item: its first block on the line of the mark, the rest below, indented.
func (w *writer) item(n ast.Node) {
	w.nested("    ", func() {
		w.children(n, func(c ast.Node) {
			if c.PreviousSibling() == nil && (c.Kind() == ast.KindParagraph || c.Kind() == ast.KindTextBlock) {
				w.children(c, w.inline)
				return
			}
			w.block(c)
		})
	})
}

// maxNesting is how deep quotes and lists are shown; deeper ones look like this deep.
const maxNesting = 6

func (w *writer) nested(prefix string, inner func()) {
	was := w.prefix
	if len(was) < maxNesting*len(prefix) {
		w.prefix += prefix
	}
	inner()
	w.prefix = was
}

// unbold writes an inline inside bold text, where Slack wants no second pair of asterisks.
func (w *writer) unbold(n ast.Node) {
	if e, ok := n.(*ast.Emphasis); ok && e.Level == 2 {
		w.children(n, w.unbold)
		return
	}
	w.inline(n)
}

func (w *writer) inline(n ast.Node) {
	switch n := n.(type) {
	case *ast.Text:
		w.text(string(unescaped(n.Value(w.source))))
		if n.SoftLineBreak() || n.HardLineBreak() {
			w.piece("\n")
		}
	case *ast.String:
		w.text(string(n.Value))
	case *ast.CodeSpan:
		w.around("`", "`", func() {
			w.children(n, func(c ast.Node) {
				if t, ok := c.(*ast.Text); ok {
					w.text(strings.ReplaceAll(string(t.Value(w.source)), "\n", " "))
				}
			})
		})
	case *ast.Emphasis:
		if n.Level == 2 {
			w.around("*", "*", func() { w.children(n, w.unbold) })
		} else {
			w.around("_", "_", func() { w.children(n, w.inline) })
		}
	case *extast.Strikethrough:
		w.around("~", "~", func() { w.children(n, w.inline) })
	case *ast.Link:
		w.link(string(n.Destination), label(n, w.source))
	case *ast.Image:
		w.link(string(n.Destination), label(n, w.source))
	case *ast.AutoLink:
		w.link(string(n.URL(w.source)), string(n.Label(w.source)))
	case *ast.RawHTML:
		var b bytes.Buffer
		for i := range n.Segments.Len() {
			s := n.Segments.At(i)
			b.Write(s.Value(w.source))
		}
		if !bytes.HasPrefix(b.Bytes(), []byte("<!--")) {
			w.text(b.String())
		}
	default:
		w.children(n, w.inline)
	}
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

// link writes a link in one piece; what is no web address stays text.
func (w *writer) link(to, label string) { w.piece(link(to, label, maxLabel)) }

// maxLabel is how long the text of a link inside a message may be.
const maxLabel = 200

// link is <URL|label>, or the label alone if the URL is none that Slack links to.
func link(to, label string, limit int) string {
	label = plain(strings.ReplaceAll(label, "\n", " "), limit)
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "mailto" || len(to) > 2000 {
		return label
	}
	to = escape.Replace(strings.NewReplacer("|", "%7C", "<", "%3C", ">", "%3E", " ", "%20").Replace(u.String()))
	if label == "" || label == to {
		return "<" + to + ">"
	}
	return "<" + to + "|" + label + ">"
}
