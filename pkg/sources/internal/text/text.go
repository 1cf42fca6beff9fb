// Package text puts words of strangers into titles and messages.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxLine is how many runes of a stranger's line a title holds.
	maxLine = 160
	// maxQuote is how many runes of a stranger's text a message holds.
	maxQuote = 1000
)

// Line is the first line of s that is not blank, as plain text: white space folded, control and invisible
// formatting characters left out, cut to 160 runes.
func Line(s string) string {
	if first, _, _ := strings.Cut(s, "\n"); first != "" && isLine(first) {
		return first // nearly always, and for nothing
	}
	for line := range strings.Lines(s) {
		if line = fold(line); line != "" {
			return cut(line, maxLine)
		}
	}
	return ""
}

// isLine reports whether fold and cut have nothing to do.
func isLine(s string) bool {
	if len(s) > maxLine || s != "" && (s[0] == ' ' || s[len(s)-1] == ' ') {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f || s[i] == ' ' && s[i+1] == ' ' {
			return false
		}
	}
	return true
}

func fold(line string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r) && r != '\u200d': // the joiner makes emoji
			return -1
		}
		return r
	}, line)), " ")
}

// Body is what was written to be a message, as it is, with line breaks made alike.
func Body(s string) string {
	return strings.TrimSpace(strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n"))
}

// Quote is what a person wrote in the sender's own Markdown, such as a comment or release notes: Body, cut to
// 1,000 runes.
func Quote(s string) string { return cut(Body(s), maxQuote) }

// cut ends s with an ellipsis if it has more than n runes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	end := 0
	for i := range s {
		if n--; n == 0 {
			end = i
		}
		if n < 0 {
			return strings.TrimRight(s[:end], " \n") + "…"
		}
	}
	return s
}

// Escape is the line of s as CommonMark that shows it literally, wherever in a line it stands.
// https://spec.commonmark.org/0.31.2/#backslash-escapes
func Escape(s string) string {
	s = Line(s)
	special := func(i int) bool {
		switch s[i] {
		case '\\', '`', '*', '_', '[', ']', '<', '>', '~', '|':
			return true
		case '&': // an entity, perhaps
			return i+1 < len(s) && s[i+1] != ' '
		case '#', '+', '-', '=':
			return i == 0 // headings, lists, thematic breaks
		case '.', ')':
			return i > 0 && i < 10 && strings.Trim(s[:i], "0123456789") == "" // ordered lists
		}
		return false
	}
	var b []byte
	plain := 0 // where what is not copied yet begins
	for i := range len(s) {
		if special(i) {
			b = append(append(b, s[plain:i]...), '\\')
			plain = i
		}
	}
	if plain == 0 && b == nil {
		return s
	}
	return string(append(b, s[plain:]...))
}

// Code is the line of s as a CommonMark code span.
func Code(s string) string {
	s = Line(s)
	if s == "" {
		return ""
	}
	if strings.IndexByte(s, '`') < 0 {
		return "`" + s + "`"
	}
	fence := "``"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	if s[0] == '`' || s[len(s)-1] == '`' {
		s = " " + s + " "
	}
	return fence + s + fence
}

// Link is CommonMark, already escaped, that leads to a web address; without one it is the CommonMark alone.
func Link(markdown, url string) string {
	if markdown == "" || Web(url) == "" {
		return markdown
	}
	return "[" + markdown + "](" + target.Replace(url) + ")"
}

// Web is the first of urls that a person may be sent to, empty if there is none: an http or https address
// without white space and control characters.
func Web(urls ...string) string {
	for _, url := range urls {
		if (strings.HasPrefix(url, "https://") || strings.HasPrefix(url, "http://")) && isURL(url) {
			return url
		}
	}
	return ""
}

func isURL(s string) bool {
	ascii := true
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ', c == 0x7f, c == '<', c == '>', c == '"':
			return false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return ascii || !strings.ContainsRune(s, utf8.RuneError) // which invalid UTF-8 counts as
}

// target makes a web address the destination of a link.
var target = strings.NewReplacer("(", "%28", ")", "%29", "\\", "%5C")

// Camel joins the words of its arguments into one CamelCase word: Camel("pull_request", "opened") is
// PullRequestOpened. What is neither letter nor digit separates words; without any it is Event.
func Camel(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		for _, word := range strings.FieldsFunc(p, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			r, n := utf8.DecodeRuneInString(word)
			b.WriteRune(unicode.ToUpper(r))
			b.WriteString(word[n:])
		}
	}
	if b.Len() == 0 {
		return "Event"
	}
	return b.String()
}

// Words is a sender's identifier as words: pull_request_review is "pull request review".
func Words(s string) string {
	return fold(strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == ':' || r == '.' {
			return ' '
		}
		return r
	}, s))
}
