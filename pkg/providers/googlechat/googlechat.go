// Package googlechat posts cards to a Google Chat space through its webhook.
//
// # Setting it up
//
// In the space choose Apps & integrations, add a webhook and copy its URL. The URL holds a key and a token, and
// whoever has it can post: keep it in a Secret, under the key address.
//
//	providers:
//	- name: team
//	  type: googlechat
//	  threads: false            # default: true
//	  secretRef: {name: chat-webhook}
//
// Where the space has threads, events about the same thing, a pull request, a repository, an image or an object of
// the cluster, gather in one; with threads: false every event begins its own. A thread that the URL names
// (&threadKey=…) takes all of them.
//
// The settings channel and username are taken for Flux's sake and ignored, with a warning.
//
// # What is sent
//
// A card: the title and where it came from as its header, the message, the facts, and a button that opens the
// link. An error has a red mark before its title. The message's CommonMark is turned into the HTML that cards
// read: bold, italics, struck text and links; the rest becomes text. Nothing in it can mention anybody.
//
// # Limits
//
// A space takes one message a second from all its webhooks; that is the default rateLimit. A message may have
// 32,000 bytes: the title is cut at 200 characters, the message at 8,000 bytes, at most 30 facts are shown, of 100
// and 1,000.
//
// Google is given the event's id as requestId: a delivery that is tried again, since its answer was lost, makes no
// second message, and neither does one that is replayed. A message counts as sent when the answer names it. A 429
// pauses the provider; a space or a webhook that is gone is permanent.
package googlechat

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/markup"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/parts"
)

// Settings of a provider.
type Settings struct {
	Address  bellhop.Secret `yaml:"address" secret:"address" doc:"URL of the space's webhook"`
	Threads  bool           `yaml:"threads" doc:"gather events about the same thing in a thread; default true"`
	Channel  string         `yaml:"channel" doc:"ignored: the space is the webhook's"`
	Username string         `yaml:"username" doc:"ignored"`
}

// Kind posts to Google Chat.
// https://developers.google.com/workspace/chat/limits
var Kind = httpsend.Define("googlechat", "Google Chat, through a space's webhook", Settings{Threads: true}, build,
	bellhop.ProviderTraits{Rate: bellhop.Rate{Events: 1, Per: time.Second}, ForPeople: true})

func build(_ bellhop.Setup, s Settings) (bellhop.Requester, error) {
	u, problems := httpsend.AddressSuchAs("address", s.Address, "https://chat.googleapis.com/v1/spaces/…/messages?key=…&token=…")
	if u != nil && strings.EqualFold(u.Hostname(), "chat.googleapis.com") && (!u.Query().Has("key") || !u.Query().Has("token")) {
		problems = append(problems, bellhop.Wrong("address", "holds no key or no token: copy the webhook's whole URL, up to the end of its token"))
	}
	if s.Channel != "" {
		problems = append(problems, bellhop.Doubtful("channel", "is ignored: a webhook posts to the space that it was made in; leave it out"))
	}
	if s.Username != "" {
		problems = append(problems, bellhop.Doubtful("username", "is ignored: Google Chat shows the webhook's name; leave it out"))
	}
	if u != nil && u.Query().Has("threadKey") {
		s.Threads = false
	}
	return provider{u, s.Threads}, problems
}

type provider struct {
	url     *url.URL
	threads bool
}

// message is what a webhook takes.
// https://developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages
type message struct {
	FallbackText string     `json:"fallbackText"` // plain, for notifications
	Cards        []cardID   `json:"cardsV2"`
	Thread       *threadKey `json:"thread,omitempty"`
}

type threadKey struct {
	Key string `json:"threadKey"` // at most 4,000 characters
}

type cardID struct {
	ID   string `json:"cardId"`
	Card card   `json:"card"`
}

// card is a card of version 2.
// https://developers.google.com/workspace/chat/api/reference/rest/v1/cards
type card struct {
	Header   header    `json:"header"`
	Sections []section `json:"sections,omitempty"`
}

type header struct {
	Title    string `json:"title"`
	Subtitle string `json:"subtitle"`
}

type section struct {
	Widgets []widget `json:"widgets"`
}

// widget has one of its fields.
type widget struct {
	TextParagraph *textParagraph `json:"textParagraph,omitempty"`
	ButtonList    *buttonList    `json:"buttonList,omitempty"`
}

type textParagraph struct {
	Text string `json:"text"` // HTML of a few elements
}

type buttonList struct {
	Buttons []button `json:"buttons"`
}

type button struct {
	Text    string  `json:"text"`
	OnClick onClick `json:"onClick"`
}

type onClick struct {
	OpenLink openLink `json:"openLink"`
}

type openLink struct {
	URL string `json:"url"`
}

// Limits in bytes of JSON. Together they stay under 32,000 with a link and a thread's key of the most that there
// can be.
// https://developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages/create
const (
	maxTitle     = 200
	maxMessage   = 8000
	maxThreadKey = 500
)

var factLimits = parts.Limits{Count: 30, Name: 100, Value: 1000, Total: 8000}

func (p provider) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	facts, hidden := parts.Facts(e, html, factLimits)
	title := plain.Line(parts.Title(e), maxTitle)
	if e.Severity == bellhop.Error {
		title = "🔴 " + title
	}
	c := card{Header: header{title, parts.Origin(e, plain, "", hidden)}}
	paragraph := func(text string) {
		if text != "" {
			c.Sections = append(c.Sections, section{[]widget{{TextParagraph: &textParagraph{text}}}})
		}
	}
	paragraph(html.Message(e.Message, maxMessage))
	var lines []string
	for _, f := range facts {
		if f.Name != "" {
			f.Name = "<b>" + f.Name + "</b> "
		}
		lines = append(lines, strings.TrimSpace(f.Name+f.Value))
	}
	paragraph(strings.Join(lines, "\n"))
	if to := parts.Link(e); to != "" {
		c.Sections = append(c.Sections, section{[]widget{{ButtonList: &buttonList{[]button{{"Open", onClick{openLink{to}}}}}}}})
	}
	m := message{FallbackText: title, Cards: []cardID{{"event", c}}}

	u, query := *p.url, p.url.Query()
	if id := httpsend.OneLine(e.ID); id != "" {
		query.Set("requestId", id)
	}
	if subject := plain.Line(parts.Subject(e), maxThreadKey); p.threads && subject != "" {
		m.Thread = &threadKey{subject}
	}
	if (m.Thread != nil || query.Has("threadKey")) && !query.Has("messageReplyOption") {
		query.Set("messageReplyOption", "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD")
	}
	u.RawQuery = query.Encode()
	req, err := httpsend.PostJSON(ctx, &u, m)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	return req, nil
}

// plain is for what is no HTML.
var plain = markup.Plain(length)

// length is what Google counts: the bytes of the message.
var length = markup.JSON(httpsend.Bytes)

// html is what the text of a card reads.
// https://developers.google.com/workspace/chat/format-messages#card-formatting
var html = &markup.Dialect{
	Len:    length,
	Escape: markup.Entities,
	Bold:   markup.Marks{Open: "<b>", Close: "</b>"},
	Italic: markup.Marks{Open: "<i>", Close: "</i>"},
	Strike: markup.Marks{Open: "<s>", Close: "</s>"},
	Bullet: "• ",
	// Spaces at the beginning of a line would be lost.
	Indent: "\u00A0\u00A0\u00A0\u00A0",
	Quote:  "│ ",
	Rule:   "———",
	Link: func(url, label string) string {
		url = markup.Entities(markup.Char{Text: url})
		if label == "" {
			label = url
		}
		return `<a href="` + url + `">` + label + "</a>"
	},
}

// Judge knows Google's answers: the message, or an error with a status in words.
// https://cloud.google.com/apis/design/errors
func (p provider) Judge(resp *http.Response, body []byte) error {
	var answer struct {
		Error *struct {
			Status string `json:"status"`
		} `json:"error"`
	}
	_ = json.Unmarshal(body, &answer) // what is no JSON says nothing
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		if !httpsend.IsAnswer(body) || answer.Error != nil {
			return fmt.Errorf("%w, which is not an answer of Google Chat", httpsend.Answered(resp, body))
		}
		return nil
	}
	err := httpsend.Status(resp, body)
	if answer.Error != nil && answer.Error.Status == "RESOURCE_EXHAUSTED" {
		return bellhop.RetryAfter(httpsend.Pause(resp), err)
	}
	if what := advice[resp.StatusCode]; what != "" {
		return httpsend.Advised(resp, body, what)
	}
	return err
}

// advice is what to do about errors that do not heal.
var advice = map[int]string{
	http.StatusUnauthorized: "the key or the token in the URL is not right: copy the webhook's URL again",
	http.StatusForbidden:    "the webhook may not post: see whether the administrator allows webhooks, and copy its URL again",
	http.StatusNotFound:     "the space or the webhook is gone: make a new webhook and write its URL",
}
