// Package webex posts messages to a Webex space as a bot.
//
// # Setting it up
//
// At https://developer.webex.com make a bot, copy its access token into a Secret, under the key token, and add the
// bot to the space. The channel is the space's id, which the space's menu copies (Copy space link) and the API
// lists (GET /v1/rooms), or somebody's e-mail address, for a direct message:
//
//	providers:
//	- name: team
//	  type: webex
//	  channel: Y2lzY29zcGFyazovL3VzL1JPT00v…
//	  secretRef: {name: webex-bot}
//
// The address is https://webexapis.com/v1/messages unless one is written. The setting username is taken for Flux's
// sake and ignored, with a warning.
//
// # What is sent
//
// One message in Webex's Markdown: the title, linked, with a green or, for errors, a red mark, the message, the
// facts, and where it came from. Nothing in it can mention anybody.
//
// # Limits
//
// A message may have 7,439 bytes: the title is cut at 300 bytes, the message at 3,400, at most 20 facts are shown, of
// 60 and 500 bytes, and not more than 1,500 in all. Webex says in a 429 how long to pause.
//
// A message counts as sent when the answer holds its id. A token that is not right, a space that does not exist or
// that the bot is not in, are permanent.
package webex

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/markup"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/parts"
)

// Settings of a provider.
type Settings struct {
	Address  bellhop.Secret `yaml:"address" secret:"address" doc:"URL of the API's messages; default https://webexapis.com/v1/messages"`
	Token    bellhop.Secret `secret:"token" doc:"access token of the bot"`
	Channel  string         `yaml:"channel" doc:"id of the space, or an e-mail address"`
	Username string         `yaml:"username" doc:"ignored"`
}

// Kind posts to Webex.
var Kind = httpsend.Define("webex", "Webex, as a bot",
	Settings{Address: bellhop.NewSecret([]byte("https://webexapis.com/v1/messages"))}, build,
	bellhop.ProviderTraits{ForPeople: true})

func build(_ bellhop.Setup, s Settings) (bellhop.Requester, error) {
	u, problems := httpsend.AddressSuchAs("address", s.Address, "https://webexapis.com/v1/messages, or none")
	if s.Token.Empty() {
		problems = append(problems, bellhop.Wrong("token", "is missing: write the bot's access token under the key token of the Secret named by secretRef"))
	}
	if s.Channel == "" {
		problems = append(problems, bellhop.Wrong("channel", "is missing: write the id of the space, such as Y2lzY29zcGFyazovL3VzL1JPT00v…"))
	}
	if s.Username != "" {
		problems = append(problems, bellhop.Doubtful("username", "is ignored: Webex shows the bot's name; leave it out"))
	}
	return provider{u, s.Token, s.Channel}, problems
}

type provider struct {
	url     *url.URL
	token   bellhop.Secret
	channel string
}

// message is what the API takes; one of RoomID and ToPersonEmail is set.
// https://developer.webex.com/messaging/docs/api/v1/messages/create-a-message
type message struct {
	RoomID        string `json:"roomId,omitzero"`
	ToPersonEmail string `json:"toPersonEmail,omitzero"`
	Markdown      string `json:"markdown"`
}

// Limits in bytes of Markdown. With a link of maxLink, the names of where it came from and the marks between, they
// stay under the 7,439 that a message may have.
const (
	maxTitle   = 300
	maxLink    = 1000
	maxMessage = 3400
)

var factLimits = parts.Limits{Count: 20, Name: 60, Value: 500, Total: 1500}

func (p provider) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	mark := "✅ "
	if e.Severity == bellhop.Error {
		mark = "❌ "
	}
	link := parts.Link(e)
	if len(link) > maxLink {
		link = ""
	}
	var b strings.Builder
	b.WriteString(mark + "**" + markdown.LinkTo(link, parts.Title(e), maxTitle) + "**")
	if text := markdown.Message(e.Message, maxMessage); text != "" {
		b.WriteString("\n\n" + text)
	}
	facts, hidden := parts.Facts(e, markdown, factLimits)
	for i, f := range facts {
		// A quotation: a list would run together with one that ends the message.
		if i == 0 {
			b.WriteString("\n\n> ")
		} else {
			b.WriteString("  \n> ")
		}
		if f.Name != "" {
			b.WriteString("**" + f.Name + "** ")
		}
		b.WriteString(strings.ReplaceAll(f.Value, "\n", "\n> "))
	}
	b.WriteString("\n\n_" + parts.Origin(e, markdown, "", hidden) + "_")

	m := message{Markdown: b.String()}
	if strings.Contains(p.channel, "@") {
		m.ToPersonEmail = p.channel
	} else {
		m.RoomID = p.channel
	}
	req, err := httpsend.PostJSON(ctx, p.url, m)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.token.RevealString())
	return req, nil
}

// markdown is Webex's. It reads HTML, too, and mentions are written as its elements.
// https://developer.webex.com/messaging/docs/basics#formatting-messages
var markdown = &markup.Dialect{
	Len:       httpsend.Bytes.Len,
	Escape:    escape,
	Code:      markup.Backticks,
	Bold:      markup.Marks{Open: "**", Close: "**"},
	Italic:    markup.Marks{Open: "*", Close: "*"},
	CodeSpan:  markup.Fence,
	CodeBlock: markup.Marks{Open: "```\n", Close: "\n```"},
	// Webex knows three levels.
	Heading:   func(level int) markup.Marks { return markup.Marks{Open: strings.Repeat("#", min(level, 3)) + " "} },
	Bullet:    "- ",
	Indent:    "    ",
	Quote:     "> ",
	Rule:      "———",
	LineBreak: "  \n",
	Link: func(url, label string) string {
		if label == "" {
			label = strings.NewReplacer("*", `\*`, "_", `\_`).Replace(url)
		}
		return "[" + label + "](" + url + ")"
	},
}

var backslash = markup.Backslashes("\\*_`[]", "#-+.)")

func escape(c markup.Char) string {
	switch c.Text {
	case "<", ">", "&":
		return markup.Entities(c)
	}
	return backslash(c)
}

// Judge knows Webex's answers: the message with its id, or an error with a message.
// https://developer.webex.com/messaging/docs/basics#api-errors
func (p provider) Judge(resp *http.Response, body []byte) error {
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		var answer struct {
			ID      string `json:"id"`
			Message string `json:"message"`
		}
		_ = json.Unmarshal(body, &answer) // what is no JSON says nothing
		if !httpsend.IsAnswer(body) || answer.ID == "" && answer.Message != "" {
			return fmt.Errorf("%w, which is not an answer of Webex", httpsend.Answered(resp, body))
		}
		return nil
	}
	if resp.StatusCode == http.StatusLocked && resp.Header.Get("Retry-After") != "" {
		return bellhop.RetryAfter(httpsend.Pause(resp), httpsend.Answered(resp, body))
	}
	err := httpsend.Status(resp, body)
	if what := advice[resp.StatusCode]; what != "" {
		return httpsend.Advised(resp, body, what)
	}
	return err
}

// advice is what to do about errors that do not heal.
var advice = map[int]string{
	http.StatusUnauthorized: "write the bot's access token under the key token",
	http.StatusForbidden:    "add the bot to the space, and see whether its rules let bots post",
	http.StatusNotFound:     "write the id of a space that exists, and add the bot to it",
}
