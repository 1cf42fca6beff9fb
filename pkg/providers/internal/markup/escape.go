package markup

import (
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/httpsend"
)

// Backslashes is an Escape for kinds of Markdown: the characters of always get a backslash, those of head where
// they could begin a heading, a list or a quotation.
func Backslashes(always, head string) func(Char) string {
	return func(c Char) string {
		if strings.IndexByte(always, c.Text[0]) >= 0 || c.Head && strings.IndexByte(head, c.Text[0]) >= 0 {
			return `\` + c.Text
		}
		return c.Text
	}
}

// Entities is an Escape for chats that read HTML.
func Entities(c Char) string { return entities.Replace(c.Text) }

var entities = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;")

// Fence is a CodeSpan for Markdown that takes more than one backtick around code that holds some.
func Fence(code string) Marks {
	if !strings.Contains(code, "`") {
		return Marks{"`", "`"}
	}
	return Marks{"`` ", " ``"}
}

// Backticks is a Code that lets no two backticks stand beside each other, which could end the code: an invisible
// space keeps them apart.
func Backticks(c Char) string {
	if c.Prev == '`' && strings.HasPrefix(c.Text, "`") {
		return "\u200B" + c.Text
	}
	return c.Text
}

// Plain is for what reads no markup at all.
func Plain(length func(string) int) *Dialect {
	return &Dialect{
		Len:    length,
		Escape: func(c Char) string { return c.Text },
		Bullet: "• ",
		Indent: "    ",
		Quote:  "> ",
		Rule:   "———",
	}
}

// JSON is the length of a text inside a JSON string as httpsend.PostJSON writes it, in the unit, for chats that
// count the whole request.
func JSON(unit httpsend.Unit) func(string) int {
	return func(s string) int {
		n := unit.Len(s)
		for _, r := range s {
			switch {
			case r == '"', r == '\\', r == '\n', r == '\t':
				n++
			case r < ' ', r == '\u2028', r == '\u2029':
				n += len(`\u2028`) - unit.Len(string(r))
			}
		}
		return n
	}
}
