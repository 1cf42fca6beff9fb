package markup_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/markup"
)

// markdown is a dialect much like Discord's.
var markdown = &markup.Dialect{
	Len:       httpsend.UTF16.Len,
	Escape:    markup.Backslashes("\\*_`[]<", "#>-+.)"),
	Code:      markup.Backticks,
	Bold:      markup.Marks{Open: "**", Close: "**"},
	Italic:    markup.Marks{Open: "*", Close: "*"},
	CodeSpan:  markup.Fence,
	CodeBlock: markup.Marks{Open: "```\n", Close: "\n```"},
	Heading:   func(level int) markup.Marks { return markup.Marks{Open: strings.Repeat("#", level) + " "} },
	Bullet:    "- ",
	Indent:    "  ",
	Quote:     "> ",
	Rule:      "---",
	Link: func(url, label string) string {
		if label == "" {
			return "<" + url + ">"
		}
		return "[" + label + "](" + url + ")"
	},
}

// html is a dialect much like that of Google's cards, in which a line takes two breaks.
var html = &markup.Dialect{
	Len:        markup.JSON(httpsend.Bytes),
	Escape:     markup.Entities,
	Bold:       markup.Marks{Open: "<b>", Close: "</b>"},
	Bullet:     "• ",
	Indent:     "    ",
	Quote:      "| ",
	Rule:       "---",
	LineBreak:  "\n\n",
	BlockBreak: "\n\n",
}

var plain = markup.Plain(httpsend.Runes.Len)

func TestMessage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, in, markdown, html, plain string }{
		{"nothing", " \n\n ", "", "", ""},
		{"marks", "**b** *i* ~~s~~", "**b** *i* s", "<b>b</b> i s", "b i s"},
		{"escapes", `a_b \*c\* <it> & "q"`, `a\_b \*c\* \<it> & "q"`, `a_b *c* &lt;it&gt; &amp; &#34;q&#34;`, `a_b *c* <it> & "q"`},
		{"entities", "&lt;b&gt; &amp;amp;", `\<b> &amp;`, "&lt;b&gt; &amp;amp;", "<b> &amp;"},
		{"what begins a line", "\\# a\n\n\\- b\n\n1\\. c\n\n\\> d\n\na - b. c", "\\# a\n\n\\- b\n\n1\\. c\n\n\\> d\n\na - b. c", "# a\n\n- b\n\n1. c\n\n&gt; d\n\na - b. c", "# a\n\n- b\n\n1. c\n\n> d\n\na - b. c"},
		{"what begins an item", "- \\- a\n- \\# b", "- \\- a\n- \\# b", "• - a\n• # b", "• - a\n• # b"},
		{"heading", "# a **b**\nc", "# a **b**\nc", "<b>a b</b>\n\nc", "a b\nc"},
		{"lines", "a\nb\n\nc", "a\nb\n\nc", "a\n\nb\n\nc", "a\nb\n\nc"},
		{"list", "a\n- b\n- c\n  d\n\ne", "a\n- b\n- c\n  d\n\ne", "a\n\n• b\n• c\n    d\n\ne", "a\n• b\n• c\n    d\n\ne"},
		{"list in a list", "1. a\n   - b\n2. c", "1. a\n  - b\n2. c", "1. a\n    • b\n2. c", "1. a\n    • b\n2. c"},
		{"quote", "> a\n> b\n\nc", "> a\n> b\n\nc", "| a\n| b\n\nc", "> a\n> b\n\nc"},
		{"code", "`a_b<c`", "`a_b<c`", "a_b&lt;c", "a_b<c"},
		{"code with a backtick", "`` a`b ``", "`` a`b ``", "a`b", "a`b"},
		{"code block", "```go\nif a < b {\n```", "```\nif a < b {\n```", "if a &lt; b {", "if a < b {"},
		{"fence in a code block", "~~~\n```\n~~~", "```\n`\u200B`\u200B`\n```", "```", "```"},
		{"link", "[a_b](https://x.example/a_b?c=(d))", `[a\_b](https://x.example/a_b?c=%28d%29)`, "a_b (https://x.example/a_b?c=%28d%29)", "a_b (https://x.example/a_b?c=%28d%29)"},
		{"link that is its own label", "[https://x.example](https://x.example)", "<https://x.example>", "https://x.example", "https://x.example"},
		{"address", "see https://x.example/a_b_c.", "see <https://x.example/a_b_c>.", "see https://x.example/a_b_c.", "see https://x.example/a_b_c."},
		{"no address", "git@github.com:o/r www.x.example ftp://x.example", "git@github.com:o/r www.x.example ftp://x.example", "git@github.com:o/r www.x.example ftp://x.example", "git@github.com:o/r www.x.example ftp://x.example"},
		{"link to nowhere", "[a](javascript:alert(1)) [b](/c) [d](https:)", "a b d", "a b d", "a b d"},
		{"image", "![a](https://x.example/i.png)", "[a](https://x.example/i.png)", "a (https://x.example/i.png)", "a (https://x.example/i.png)"},
		{"comment", "a <!-- no --> b", "a  b", "a  b", "a  b"},
		{"rule", "a\n\n---\n\nb", "a\n\n---\n\nb", "a\n\n---\n\nb", "a\n\n———\n\nb"},
		{"separators", "a\u2028b\x00c\x1b[1m", "a\nbc\\[1m", "a\n\nbc[1m", "a\nbc[1m"},
		{"invalid", "a\xffb", "a\uFFFDb", "a\uFFFDb", "a\uFFFDb"},
	} {
		for d, want := range map[*markup.Dialect]string{markdown: tc.markdown, html: tc.html, plain: tc.plain} {
			if got := d.Message(tc.in, 1000); got != want {
				t.Errorf("%s: %q became %q, want %q", tc.name, tc.in, got, want)
			}
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in    string
		limit int
		want  string
	}{
		{"12345678", 8, "12345678"},
		{"123456789", 8, "1234567…"},
		{"1234567*", 8, "1234567…"},
		{"1234567*", 9, `1234567\*`},
		{"**12345678**", 12, "**12345678**"},
		{"**123456789**", 12, "**1234567…**"},
		{"1234 [a](https://x.example)", 14, "1234…"},
		{"1234 [a](https://x.example)", 0, ""},
		{"1234 [a](https://x.example)", -3, ""},
	} {
		if got := markdown.Message(tc.in, tc.limit); got != tc.want {
			t.Errorf("%q at %d became %q, want %q", tc.in, tc.limit, got, tc.want)
		}
	}
	if got, want := html.Text(strings.Repeat(`"`, 9), 20), "&#34;&#34;&#34;…"; got != want {
		t.Errorf("quotes became %q, want %q", got, want)
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	if got, want := markdown.Line(" a\n\tb  *c* ", 100), `a b \*c\*`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://x.example/a?b=c#d":                   "https://x.example/a?b=c#d",
		" https://x.example ":                         "https://x.example",
		"mailto:a@x.example":                          "mailto:a@x.example",
		`https://x.example/"><script>`:                "https://x.example/%22%3E%3Cscript%3E",
		"https://x.example/?a=|)`>":                   "https://x.example/?a=%7C%29%60%3E",
		"https://x.example/" + strings.Repeat("é", 9): "https://x.example/" + strings.Repeat("%C3%A9", 9),
		"javascript:alert(1)":                         "",
		"data:text/html,x":                            "",
		"//x.example":                                 "",
		"x":                                           "",
		"https:":                                      "",
		"https://x.example/\n":                        "https://x.example/",
		"https://x.example/" + strings.Repeat("x", 2000): "",
		"https://x.example/" + strings.Repeat("é", 500):  "",
		"https://x.example/a\nb":                         "",
	} {
		if got := markup.URL(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int{"": 0, "ab": 2, "é": 2, "💥": 4, "a\"b": 4, "\\\n\t": 6, "\x01": 6, "\u2028": 6} {
		if got := markup.JSON(httpsend.Bytes)(in); got != want {
			t.Errorf("%q counts %d bytes, want %d", in, got, want)
		}
	}
	if got := markup.JSON(httpsend.UTF16)("é💥\u2028"); got != 1+2+6 {
		t.Errorf("counts %d UTF-16 units", got)
	}
}

func FuzzMessage(f *testing.F) {
	for _, s := range []string{"**a** [b](https://c.example)", "> - ```\n", "1. a\n   > b", "&lt; \\* <!-- -->", "# *a", "\u200d\ufe0f", strings.Repeat("> ", 50) + "[[[[", "https://a.example/`"} {
		f.Add(s, 20)
	}
	f.Add(`0"`, 2)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = min(limit, 3000)
		for _, d := range []*markup.Dialect{markdown, html, plain} {
			for _, got := range []string{d.Message(s, limit), d.Text(s, limit), d.Line(s, limit)} {
				if n := d.Len(got); n > max(limit, 0) {
					t.Errorf("%q became %q of %d, over %d", s, got, n, limit)
				}
				if !utf8.ValidString(got) {
					t.Errorf("%q became %q, which is not UTF-8", s, got)
				}
			}
		}
		if got := html.Message(s, limit); strings.Contains(strings.NewReplacer("<b>", "", "</b>", "").Replace(got), "<") {
			t.Errorf("%q became %q, which holds HTML", s, got)
		}
	})
}

// What is hard to parse must not keep a notifier busy.
func BenchmarkMessage(b *testing.B) {
	for name, s := range map[string]string{
		"text": "fix **all** of `it`\n", "brackets": "[", "quotes": "> ", "emphasis": "*a **b ", "backticks": "`a``", "list": "- ", "links": "[a](b) ", "addresses": "https://a ",
	} {
		in := strings.Repeat(s, 1<<20/len(s))
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				markdown.Message(in, 8000)
			}
		})
	}
}
