package discord

import (
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/markup"
)

// unit is what Discord's limits are counted in here. The pages say characters; UTF-16 units are the most that
// can mean.
const unit = httpsend.UTF16

var plain = markup.Plain(unit.Len)

// markdown is Discord's. The angle bracket would begin a mention, a time or an emoji, the bar a spoiler.
// https://support.discord.com/hc/en-us/articles/210298617-Markdown-Text-101-Chat-Formatting-Bold-Italic-Underline
var markdown = &markup.Dialect{
	Len:       unit.Len,
	Escape:    markup.Backslashes("\\*_~`|[]<>", "#-+.)"),
	Code:      markup.Backticks,
	Bold:      markup.Marks{Open: "**", Close: "**"},
	Italic:    markup.Marks{Open: "*", Close: "*"},
	Strike:    markup.Marks{Open: "~~", Close: "~~"},
	CodeSpan:  markup.Fence,
	CodeBlock: markup.Marks{Open: "```\n", Close: "\n```"},
	// Discord knows three levels.
	Heading: func(level int) markup.Marks { return markup.Marks{Open: strings.Repeat("#", min(level, 3)) + " "} },
	Bullet:  "- ",
	Indent:  "  ",
	Quote:   "> ",
	Rule:    "———",
	Link: func(url, label string) string {
		if label == "" {
			return "<" + url + ">"
		}
		return "[" + label + "](" + url + ")"
	},
}
