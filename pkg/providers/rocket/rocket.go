// Package rocket posts messages to Rocket.Chat through an incoming webhook.
//
// # Setting it up
//
// In Rocket.Chat, under Manage, Workspace, Integrations, make an incoming integration: enable it, choose a channel
// and a user to post as, and copy its webhook URL. Whoever has the URL can post: keep it in a Secret, under the
// key address.
//
//	providers:
//	- name: team
//	  type: rocket
//	  channel: "#general"       # optional, also @user; default: the integration's
//	  username: flux            # optional, the name that is shown; default: the integration's
//	  secretRef: {name: rocket-webhook}
//
// Another channel than the integration's works if its user may post there.
//
// # What is sent
//
// The title, linked, as the message's text; under it an attachment with the message, the facts and where it came
// from, with a bar that is green or, for errors, red. The message's CommonMark is turned into Rocket.Chat's. An
// invisible space keeps text from mentioning anybody and from becoming a link; Rocket.Chat has no way to write an
// asterisk or an underscore that is none of its marks, so text with them may turn bold.
//
// # Limits
//
// Rocket.Chat's administrators set the limits: the title is cut at 200 characters and the message at 4,800, below
// the 5,000 that a new server has. At most 20 facts are shown, of 60 and 500 characters. The default rateLimit is
// 1/s.
//
// A message counts as sent when the answer is {"success": true}. A channel that does not exist, or an integration
// that was removed, is permanent.
package rocket

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
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/parts"
)

// Settings of a provider.
type Settings struct {
	Address  bellhop.Secret `yaml:"address" secret:"address" doc:"URL of an incoming webhook"`
	Channel  string         `yaml:"channel" doc:"#channel or @user; default: the integration's"`
	Username string         `yaml:"username" doc:"name to post under; default: the integration's"`
}

// Kind posts to Rocket.Chat.
var Kind = httpsend.Define("rocket", "Rocket.Chat, through an incoming webhook", Settings{}, build,
	bellhop.ProviderTraits{Rate: bellhop.Rate{Events: 1, Per: time.Second}, ForPeople: true})

func build(_ bellhop.Setup, s Settings) (bellhop.Requester, error) {
	u, problems := httpsend.AddressSuchAs("address", s.Address, "https://chat.example.com/hooks/ID/TOKEN")
	return provider{u, s.Channel, s.Username}, problems
}

type provider struct {
	url               *url.URL
	channel, username string
}

// message is what an incoming webhook takes.
// https://docs.rocket.chat/docs/integrations
type message struct {
	Channel     string       `json:"channel,omitzero"`
	Username    string       `json:"username,omitzero"`
	Text        string       `json:"text"`
	Attachments []attachment `json:"attachments"`
	// Links are not previewed: the message says what they lead to.
	ParseURLs bool `json:"parseUrls"`
}

// https://developer.rocket.chat/apidocs/post-message
type attachment struct {
	Color  string    `json:"color"` // #RRGGBB
	Text   string    `json:"text"`
	Fields []field   `json:"fields,omitempty"`
	Time   time.Time `json:"ts,omitzero"`
}

type field struct {
	Short bool   `json:"short"` // beside another one
	Title string `json:"title"`
	Value string `json:"value"`
}

// Limits in characters.
const (
	maxTitle   = 200
	maxMessage = 4800
)

var factLimits = parts.Limits{Count: 20, Name: 60, Value: 500, Total: 20 * 560}

// maxShort is how long a fact may be that stands beside another one.
const maxShort = 45

func (p provider) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	m := message{Channel: p.channel, Username: p.username, Text: markdown.LinkTo(e.Link, parts.Title(e), maxTitle)}
	a := attachment{Color: fmt.Sprintf("#%06x", parts.Color(e)), Time: e.Time.UTC().Truncate(time.Millisecond)}
	facts, hidden := parts.Facts(e, markdown, factLimits)
	for _, f := range facts {
		a.Fields = append(a.Fields, field{unit.Len(f.Value) <= maxShort, f.Name, f.Value})
	}
	small := "_" + parts.Origin(e, markdown, "", hidden) + "_"
	a.Text = strings.TrimSpace(markdown.Message(e.Message, maxMessage) + "\n" + small)
	m.Attachments = []attachment{a}
	return httpsend.PostJSON(ctx, p.url, m)
}

// Judge knows Rocket.Chat's answers: {"success": true}, or false with an error, whatever the status.
func (p provider) Judge(resp *http.Response, body []byte) error {
	var answer struct {
		Success *bool  `json:"success"`
		Error   string `json:"error"`
	}
	_ = json.Unmarshal(body, &answer) // what is no JSON says nothing
	accepted := resp.StatusCode >= 200 && resp.StatusCode <= 299
	switch {
	case accepted && httpsend.IsAnswer(body) && answer.Error == "" && (answer.Success == nil || *answer.Success):
		return nil
	case accepted && !httpsend.IsAnswer(body):
		return fmt.Errorf("%w, which is not an answer of Rocket.Chat", httpsend.Answered(resp, body))
	case accepted && answer.Error == "":
		return fmt.Errorf("%w, which is no success", httpsend.Answered(resp, body))
	}
	err := httpsend.Answered(resp, body)
	if strings.Contains(answer.Error, "error-too-many-requests") {
		return bellhop.RetryAfter(httpsend.Pause(resp), err)
	}
	for _, a := range advice {
		if strings.Contains(answer.Error, a.word) {
			return httpsend.Advised(resp, body, a.what)
		}
	}
	if accepted {
		return bellhop.Permanent(err)
	}
	return httpsend.Status(resp, body)
}

// advice is what to do about errors that do not heal, by a word of Rocket.Chat's.
var advice = []struct{ word, what string }{
	{"invalid-channel", "write a channel that exists, such as #general, and that the integration's user is in"},
	{"error-room-archived", "unarchive the channel or choose another"},
	{"room_is_archived", "unarchive the channel or choose another"},
	{"error-not-allowed", "the integration's user may not post there: give it the permission, or choose another channel"},
	{"Invalid integration id or token", "the integration was removed or is disabled: look at it and copy its URL again"},
	{"integration-disabled", "enable the integration"},
	{"error-message-size-exceeded", "the server takes shorter messages than usual: raise Message_MaxAllowedSize"},
}
