package markup

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"
	extast "github.com/yuin/goldmark/extension/ast"
)

// writer collects pieces that must not be torn, as long as they fit.
type writer struct {
	*Dialect
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
	// code: inside code, prev and head are what Char says of the next character.
	code bool
	prev rune
	head bool
}

// cut is where a text may end in an ellipsis.
type cut struct {
	length int
	tail   string // the ellipsis and what closes the marks
}

const ellipsis = "…"

func (d *Dialect) writer(limit int) *writer {
	return &writer{Dialect: d, limit: limit, newline: true, prev: '\n', head: true}
}

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
	if w.newline && strings.TrimLeft(s, " ") != "\n" {
		s = w.prefix + s
	}
	n, tail := w.Len(s), w.tail()
	rest := w.Len(end + tail)
	if w.cut == nil && w.used+n+rest+w.Len(ellipsis) > w.limit {
		w.cut = &cut{len(w.out), ellipsis + tail}
		if w.used+w.Len(w.cut.tail) > w.limit { // no room for even that
			w.cut.tail = tail
		}
	}
	if w.used+n+rest > w.limit {
		w.full = true
		w.out = append(bytes.TrimRight(w.out[:w.cut.length], " \n\t"), w.cut.tail...)
		return false
	}
	w.out = append(w.out, s...)
	w.used += n
	w.newline = strings.HasSuffix(s, "\n")
	w.head = w.newline || w.head && strings.Trim(s, " \t0123456789") == ""
	return true
}

// text writes plain text, cut between characters as people see them.
func (w *writer) text(s string) {
	escape := w.Escape
	if w.code && w.Code != nil {
		escape = w.Code
	}
	for i, line := range strings.Split(s, "\n") {
		if i > 0 {
			w.lineBreak()
		}
		for _, c := range characters(line) {
			w.piece(escape(Char{c, w.prev, w.head}))
			w.prev, _ = utf8.DecodeLastRuneInString(c)
		}
	}
}

// around writes inner between marks.
func (w *writer) around(m Marks, inner func()) {
	if m == (Marks{}) {
		inner()
		return
	}
	if !w.open(m.Open, m.Close) {
		return
	}
	w.prev = '\n'
	w.closing = append(w.closing, m.Close)
	inner()
	w.closing = w.closing[:len(w.closing)-1]
	if !w.full { // there is room: it was counted in from the beginning
		w.out = append(w.out, m.Close...)
		w.used += w.Len(m.Close)
		w.newline, w.head, w.prev = false, false, '\n'
	}
}

// coded writes inner as code between marks.
func (w *writer) coded(m Marks, inner func()) {
	// What is not marked as code is read as text.
	w.code = m != (Marks{})
	w.around(m, inner)
	w.code = false
}

// lineBreak ends a line within a paragraph, and writes an empty one at the beginning of a line.
func (w *writer) lineBreak() { w.breakLine(w.LineBreak) }

func (w *writer) breakLine(outside string) {
	if outside == "" || w.prefix != "" || w.code {
		outside = "\n"
	}
	w.piece(outside)
	w.prev = '\n'
}

// blockBreak ends the line, unless the text is at the beginning of one.
func (w *writer) blockBreak() {
	if len(w.out) > 0 && !w.newline {
		w.breakLine(w.BlockBreak)
	}
}

// itemBreak ends the line before an item.
func (w *writer) itemBreak() {
	if len(w.out) > 0 && !w.newline {
		w.breakLine("\n")
	}
}

// paragraph leaves an empty line before what follows.
func (w *writer) paragraph(n ast.Node) {
	w.blockBreak()
	if n.PreviousSibling() != nil && n.HasBlankPreviousLines() && !bytes.HasSuffix(w.out, []byte("\n\n")) {
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
		if w.Heading != nil {
			w.around(w.Heading(n.Level), func() { w.children(n, w.inline) })
		} else {
			w.around(w.Bold, func() { w.children(n, w.unbold) })
		}
	case *ast.FencedCodeBlock, *ast.CodeBlock:
		w.paragraph(n)
		w.coded(w.CodeBlock, func() { w.lines(n) })
	case *ast.Blockquote:
		w.paragraph(n)
		w.nested(w.Quote, func() { w.children(n, w.block) })
	case *ast.List:
		w.paragraph(n)
		number := n.Start
		w.children(n, func(item ast.Node) {
			w.itemBreak()
			mark := w.Bullet
			if n.IsOrdered() {
				mark = strconv.Itoa(number) + ". "
				number++
			}
			w.piece(mark)
			w.prev, w.head = '\n', true
			w.item(item)
		})
	case *ast.ThematicBreak:
		w.paragraph(n)
		w.piece(w.Rule)
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
	w.nested(w.Indent, func() {
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

// unbold writes an inline inside bold text, where chats want no second pair of marks.
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
			w.lineBreak()
		}
	case *ast.String:
		w.text(string(n.Value))
	case *ast.CodeSpan:
		w.codeSpan(n)
	case *ast.Emphasis:
		if n.Level == 2 {
			w.around(w.Bold, func() { w.children(n, w.unbold) })
		} else {
			w.around(w.Italic, func() { w.children(n, w.inline) })
		}
	case *extast.Strikethrough:
		w.around(w.Strike, func() { w.children(n, w.inline) })
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

func (w *writer) codeSpan(n *ast.CodeSpan) {
	var b strings.Builder
	w.children(n, func(c ast.Node) {
		if t, ok := c.(*ast.Text); ok {
			b.Write(t.Value(w.source))
		}
	})
	code := strings.ReplaceAll(b.String(), "\n", " ")
	var m Marks
	if w.CodeSpan != nil {
		m = w.CodeSpan(code)
	}
	w.coded(m, func() { w.text(code) })
}

// link writes a link in one piece; what cannot be linked to stays text.
func (w *writer) link(to, label string) {
	w.piece(w.LinkTo(to, label, maxLabel))
	w.prev = '\n'
}
