package rocket

import (
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/markup"
)

// unit is what Rocket.Chat counts: the length of a string in JavaScript.
const unit = httpsend.UTF16

// apart is an invisible space that keeps two characters from meaning something together.
const apart = "\u200B"

// markdown is Rocket.Chat's own.
// https://github.com/RocketChat/Rocket.Chat/blob/develop/packages/message-parser/src/grammar.pegjs
var markdown = &markup.Dialect{
	Len:       unit.Len,
	Escape:    escape,
	Code:      markup.Backticks,
	Bold:      markup.Marks{Open: "*", Close: "*"},
	Italic:    markup.Marks{Open: "_", Close: "_"},
	Strike:    markup.Marks{Open: "~", Close: "~"},
	CodeSpan:  codeSpan,
	CodeBlock: markup.Marks{Open: "```\n", Close: "\n```"},
	Bullet:    "- ",
	Indent:    "    ",
	Quote:     "> ",
	Rule:      "———",
	Link: func(url, label string) string {
		if label == "" {
			return url
		}
		return "[" + label + "](" + url + ")"
	},
}

// escape breaks what has no escape: mentions (@all), links ([…](…), <…|…>), times (<t:…>), spoilers (||), and what
// begins a line.
func escape(c markup.Char) string {
	switch c.Text {
	case "@":
		// Inside a word it mentions nobody, and addresses such as git@github.com can be copied.
		if c.Prev < 0x80 && (c.Prev|0x20 >= 'a' && c.Prev|0x20 <= 'z' || c.Prev >= '0' && c.Prev <= '9') {
			return "@"
		}
		return "@" + apart
	case "<":
		return "<" + apart
	case "(":
		if c.Prev == ']' {
			return apart + "("
		}
	case "|":
		if c.Prev == '|' {
			return apart + "|"
		}
	case "#", ">", "-", ".":
		if c.Head {
			return apart + c.Text
		}
	}
	return c.Text
}

// codeSpan leaves code alone that holds a backtick, which Rocket.Chat cannot mark.
func codeSpan(code string) markup.Marks {
	if strings.Contains(code, "`") {
		return markup.Marks{}
	}
	return markup.Marks{Open: "`", Close: "`"}
}
