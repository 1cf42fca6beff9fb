package slack

import (
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/markup"
)

// unit is what Slack's limits are counted in here. The pages say characters; UTF-16 units are the most that
// can mean.
const unit = httpsend.UTF16

// mrkdwn is Slack's own markup.
// https://docs.slack.dev/messaging/formatting-message-text
var mrkdwn = &markup.Dialect{
	Len:       unit.Len,
	Escape:    func(c markup.Char) string { return escape.Replace(c.Text) },
	Bold:      markup.Marks{Open: "*", Close: "*"},
	Italic:    markup.Marks{Open: "_", Close: "_"},
	Strike:    markup.Marks{Open: "~", Close: "~"},
	CodeSpan:  func(string) markup.Marks { return markup.Marks{Open: "`", Close: "`"} },
	CodeBlock: markup.Marks{Open: "```\n", Close: "\n```"},
	Bullet:    "• ",
	Indent:    "    ",
	Quote:     "> ",
	Rule:      "———",
	Link: func(url, label string) string {
		if label == "" {
			return "<" + escape.Replace(url) + ">"
		}
		return "<" + escape.Replace(url) + "|" + label + ">"
	},
}

// escape does for &, < and > what Slack asks for; nothing else is special to it.
// https://docs.slack.dev/messaging/formatting-message-text#escaping
var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
