package text

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                "",
		" \n\t\n":                         "",
		"plain":                           "plain",
		"first\nsecond":                   "first",
		"first\r\nsecond":                 "first",
		"\n\n  third line \n":             "third line",
		"two  spaces":                     "two spaces",
		" around ":                        "around",
		"tab\tand\x00bell\a":              "tab andbell",
		"right\u202eto\u200bleft":         "righttoleft",
		"naïve 👩\u200d💻":                  "naïve 👩\u200d💻",
		"bad \xff byte":                   "bad \uFFFD byte",
		strings.Repeat("x", maxLine):      strings.Repeat("x", maxLine),
		strings.Repeat("x", maxLine+1):    strings.Repeat("x", maxLine-1) + "…",
		strings.Repeat("é", maxLine):      strings.Repeat("é", maxLine),
		strings.Repeat("é", maxLine*10):   strings.Repeat("é", maxLine-1) + "…",
		strings.Repeat(" ", 500) + "late": "late",
	} {
		if got := Line(in); got != want {
			t.Errorf("Line(%q) is %q, want %q", in, got, want)
		}
	}
}

func TestEscape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain text, 1.5 (really)!": "plain text, 1.5 (really)!",
		"*a* _b_ `c` ~d~":           `\*a\* \_b\_ \` + "`c\\` " + `\~d\~`,
		"[x](https://evil.example)": `\[x\](https://evil.example)`,
		"![x](y)":                   `!\[x\](y)`,
		"<b>&amp; R&D & more":       `\<b\>\&amp; R\&D & more`,
		`a\b|c`:                     `a\\b\|c`,
		"# title":                   `\# title`,
		"- item":                    `\- item`,
		"+ item":                    `\+ item`,
		"1. item":                   `1\. item`,
		"23) item":                  `23\) item`,
		"v1. item":                  "v1. item",
		"a # b - c + d":             "a # b - c + d",
		"---\nsecond":               `\---`,
		"ends with &":               `ends with &`,
	} {
		if got := Escape(in); got != want {
			t.Errorf("Escape(%q) is %q, want %q", in, got, want)
		}
	}
}

func TestCode(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "abc": "`abc`", "a`b": "``a`b``", "`a`": "`` `a` ``", "a``b": "```a``b```", "two\nlines": "`two`",
	} {
		if got := Code(in); got != want {
			t.Errorf("Code(%q) is %q, want %q", in, got, want)
		}
	}
}

func TestLink(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"x", "https://a.example/b", "[x](https://a.example/b)"},
		{"x", "http://a.example/(b)", "[x](http://a.example/%28b%29)"},
		{"x", "javascript:alert(1)", "x"},
		{"x", "https://a.example/ b", "x"},
		{"x", "https://a.example/\nb", "x"},
		{"x", "", "x"},
		{"", "https://a.example", ""},
	} {
		if got := Link(c[0], c[1]); got != c[2] {
			t.Errorf("Link(%q, %q) is %q, want %q", c[0], c[1], got, c[2])
		}
	}
	if got := Web("", "ftp://a", "https://b", "https://c"); got != "https://b" {
		t.Errorf("Web is %q", got)
	}
}

func TestCamel(t *testing.T) {
	t.Parallel()
	for _, c := range [][]string{
		{"PullRequestOpened", "pull_request", "opened"}, {"RepoCommitStatusCreated", "repo:commit_status_created"},
		{"PushHook", "Push Hook", ""}, {"Event", ""}, {"Event", "--", "::"}, {"ÉtéX2", "été-x2"},
	} {
		if got := Camel(c[1:]...); got != c[0] {
			t.Errorf("Camel(%q) is %q, want %q", c[1:], got, c[0])
		}
	}
}

func TestQuote(t *testing.T) {
	t.Parallel()
	if got := Quote(" a\r\nb\xff \n"); got != "a\nb\uFFFD" {
		t.Errorf("Quote is %q", got)
	}
	if n := utf8.RuneCountInString(Quote(strings.Repeat("é", 5000))); n != maxQuote {
		t.Errorf("Quote keeps %d runes, want %d", n, maxQuote)
	}
}

func FuzzLine(f *testing.F) {
	f.Add("first\r\nsecond")
	f.Add("\u2028\u0085x\v\f\x00")
	f.Fuzz(func(t *testing.T, s string) {
		line := Line(s)
		if strings.ContainsAny(line, "\r\n\t\x00\u2028\u2029\u0085") || utf8.RuneCountInString(line) > maxLine || !utf8.ValidString(line) {
			t.Errorf("Line(%q) is %q", s, line)
		}
		if again := Line(line); again != line {
			t.Errorf("Line(%q) is %q the second time", line, again)
		}
		// What is escaped shows as the line when the backslashes are taken away again.
		escaped := Escape(s)
		var shown strings.Builder
		for i := 0; i < len(escaped); i++ {
			if escaped[i] == '\\' && i+1 < len(escaped) {
				i++
			}
			shown.WriteByte(escaped[i])
		}
		if shown.String() != line {
			t.Errorf("Escape(%q) shows %q, want %q", s, shown.String(), line)
		}
	})
}
