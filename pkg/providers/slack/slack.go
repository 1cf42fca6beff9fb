// Package slack posts messages to Slack, through an incoming webhook or as an app.
//
// # Setting it up with an incoming webhook
//
// At https://api.slack.com/apps create an app, switch on Incoming Webhooks, add one to a channel and copy its
// URL. Whoever has the URL can post: keep it in a Secret, under the key address.
//
//	providers:
//	- name: team
//	  type: slack
//	  secretRef: {name: slack-webhook}
//
// The channel is that of the webhook, name and picture are the app's; channel and username are honoured by
// legacy webhooks and by other chats that take Slack's format only.
//
// # Setting it up as an app
//
// Give the app the scope chat:write (chat:write.customize for username and icon), install it, copy the Bot
// User OAuth Token (xoxb-…) into the Secret under the key token, and /invite the app to the channel.
//
//	providers:
//	- name: team
//	  type: slack
//	  channel: general
//	  secretRef: {name: slack-app}
//
// The address is then https://slack.com/api/chat.postMessage unless one is written. An address in the Secret
// overrides the one in the file.
//
// # What is sent
//
// The title, linked, as the message's text, which is what notifications show; under it an attachment with the
// message, the facts and where it came from, green or, for errors, red. The message's CommonMark is turned
// into Slack's mrkdwn. Nothing in it can mention a person or a channel.
//
// # Limits
//
// Slack takes about one message a second for each webhook or channel; that is the default rateLimit. The title
// is cut at 150 characters, the message at 3,000, ten facts are shown, of 60 and 300 characters. Slack counts
// the blocks of a message together and refuses those over some 13,000.
//
// Slack's answers "ratelimited" pause the provider, its internal errors are retried, all others (invalid_auth,
// not_in_channel, channel_is_archived, no_service …) are permanent.
package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/parts"
)

// Settings of a provider.
type Settings struct {
	Address  bellhop.Secret `yaml:"address" secret:"address" doc:"URL of an incoming webhook, or of chat.postMessage"`
	Token    bellhop.Secret `secret:"token" doc:"bot token, for chat.postMessage"`
	Channel  string         `yaml:"channel" doc:"channel name or id; required with a token"`
	Username string         `yaml:"username" doc:"name to post under"`
	Icon     string         `yaml:"icon" doc:"picture to post under: :emoji: or a URL"`
}

// Kind posts to Slack.
// https://docs.slack.dev/apis/web-api/rate-limits#posting-messages
var Kind = httpsend.Define("slack", "Slack, through an incoming webhook or as an app", Settings{}, build,
	bellhop.ProviderTraits{Rate: bellhop.Rate{Events: 1, Per: time.Second}, ForPeople: true})

const postMessage = "https://slack.com/api/chat.postMessage"

func build(_ bellhop.Setup, s Settings) (bellhop.Requester, error) {
	if s.Address.Empty() && !s.Token.Empty() {
		s.Address = bellhop.NewSecret([]byte(postMessage))
	}
	if s.Address.Empty() {
		return nil, bellhop.Wrong("address", "is missing: write a webhook's URL under the key address, or an app's token under the key token, of the Secret named by secretRef")
	}
	u, problems := httpsend.Address("address", s.Address)
	if u == nil {
		return nil, problems
	}
	p := provider{url: u, token: s.Token, channel: s.Channel, username: s.Username, icon: s.Icon}
	p.api = strings.EqualFold(strings.TrimRight(u.Path, "/"), "/api/chat.postMessage")
	slacks := u.Hostname() == "slack.com" || strings.HasSuffix(u.Hostname(), ".slack.com")
	switch {
	case p.api && s.Token.Empty():
		problems = append(problems, bellhop.Problem{Path: "address", Message: "chat.postMessage wants a token: write the app's bot token (xoxb-…) under the key token of the Secret named by secretRef"})
	case p.api && s.Channel == "":
		problems = append(problems, bellhop.Wrong("channel", "is missing: write the channel's name or id, such as general or C024BE91L"))
	case slacks && !p.api && (strings.HasPrefix(u.Path, "/triggers/") || strings.HasPrefix(u.Path, "/workflows/")):
		problems = append(problems, bellhop.Wrong("address", "starts a workflow, which takes no messages: write the URL of an incoming webhook (https://hooks.slack.com/services/…)"))
	case slacks && !p.api && (s.Channel != "" || s.Username != "" || s.Icon != ""):
		problems = append(problems, bellhop.Doubtful("address", "is an incoming webhook: those of apps ignore channel, username and icon; to choose them write a bot token under the key token of the Secret, and no address"))
	}
	return p, problems
}

type provider struct {
	url                     *url.URL
	api                     bool // chat.postMessage
	token                   bellhop.Secret
	channel, username, icon string
}

// message is what an incoming webhook and chat.postMessage take.
// https://docs.slack.dev/reference/methods/chat.postMessage
// https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
type message struct {
	Channel   string `json:"channel,omitzero"`
	Username  string `json:"username,omitzero"`
	IconEmoji string `json:"icon_emoji,omitzero"`
	IconURL   string `json:"icon_url,omitzero"`
	// Text is shown above the attachment and in notifications.
	Text        string       `json:"text"`
	Attachments []attachment `json:"attachments"`
	// Links are not previewed: the message says what they lead to.
	UnfurlLinks bool `json:"unfurl_links"`
	UnfurlMedia bool `json:"unfurl_media"`
}

// attachment has a coloured bar on its left, which blocks alone have not.
// https://docs.slack.dev/legacy/legacy-messaging/legacy-secondary-message-attachments
type attachment struct {
	Color    string  `json:"color"`
	Fallback string  `json:"fallback"` // where blocks cannot be shown
	Blocks   []block `json:"blocks"`
}

// block is a section (text, or fields in two columns) or a context (elements, small and grey).
// https://docs.slack.dev/reference/block-kit/blocks/section-block
// https://docs.slack.dev/reference/block-kit/blocks/context-block
type block struct {
	Type     string       `json:"type"`
	Text     *textObject  `json:"text,omitempty"`
	Fields   []textObject `json:"fields,omitempty"`
	Elements []textObject `json:"elements,omitempty"`
}

// textObject is some text; its type is mrkdwn here.
// https://docs.slack.dev/reference/block-kit/composition-objects/text-object
type textObject struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// Slack's limits: 3,000 characters in a section's text, 2,000 in each of its at most 10 fields. Titles have
// that of header blocks. All blocks of a message count together, so the facts get less than they could.
const (
	maxTitle   = 150
	maxMessage = 3000
)

var factLimits = parts.Limits{Count: 10, Name: 60, Value: 300, Total: 10 * 360}

func (p provider) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	m := message{Channel: p.channel, Username: p.username}
	if strings.HasPrefix(p.icon, "http:") || strings.HasPrefix(p.icon, "https:") {
		m.IconURL = p.icon
	} else {
		m.IconEmoji = p.icon
	}
	title := parts.Title(e)
	m.Text = mrkdwn.LinkTo(e.Link, title, maxTitle)
	if !strings.Contains(title, "*") { // an asterisk inside would end the bold
		m.Text = "*" + m.Text + "*"
	}
	a := attachment{Color: fmt.Sprintf("#%06x", parts.Color(e)), Fallback: mrkdwn.Line(title, maxTitle)}
	if body := mrkdwn.Message(e.Message, maxMessage); body != "" {
		a.Blocks = append(a.Blocks, block{Type: "section", Text: &textObject{"mrkdwn", body}})
	}
	facts, hidden := parts.Facts(e, mrkdwn, factLimits)
	var fields []textObject
	for _, f := range facts {
		fields = append(fields, textObject{"mrkdwn", strings.TrimSpace("*" + f.Name + "*\n" + f.Value)})
	}
	if fields != nil {
		a.Blocks = append(a.Blocks, block{Type: "section", Fields: fields})
	}
	a.Blocks = append(a.Blocks, block{Type: "context", Elements: []textObject{{"mrkdwn", parts.Origin(e, mrkdwn, when(e.Time), hidden)}}})
	m.Attachments = []attachment{a}

	req, err := httpsend.PostJSON(ctx, p.url, m)
	if err != nil {
		return nil, err
	}
	// Slack complains about JSON that does not name its charset.
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	if !p.token.Empty() {
		req.Header.Set("Authorization", "Bearer "+p.token.RevealString())
	}
	return req, nil
}

// when is a time in the reader's time zone.
// https://docs.slack.dev/messaging/formatting-message-text#date-formatting
func when(t time.Time) string {
	return "<!date^" + strconv.FormatInt(t.Unix(), 10) + "^{date_short_pretty} {time}|" + t.UTC().Format("2006-01-02 15:04 UTC") + ">"
}

// Judge knows Slack's answers. A webhook answers "ok", or a status with a word; methods answer 200 with
// {"ok": false, "error": "…"} as well. The form tells them apart, not the address: there are proxies.
// https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors
func (p provider) Judge(resp *http.Response, body []byte) error {
	var answer struct {
		OK    *bool  `json:"ok"`
		Error string `json:"error"`
	}
	isAnswer := json.Unmarshal(body, &answer) == nil && answer.OK != nil
	switch {
	case isAnswer && !*answer.OK && resp.StatusCode <= 299:
		return p.refusal(resp, answer.Error)
	case resp.StatusCode >= 200 && resp.StatusCode <= 299:
		if p.api && !isAnswer {
			return fmt.Errorf("%w, which is not an answer of Slack", httpsend.Answered(resp, body))
		}
		return nil
	}
	code := strings.TrimSpace(string(body))
	if isAnswer {
		code = answer.Error
	}
	err := httpsend.Status(resp, body)
	if advice := advice[code]; advice != "" {
		// Slack has answered 500 for some of these.
		return bellhop.Permanent(fmt.Errorf("answered %d %s: %s", resp.StatusCode, code, advice))
	}
	return err
}

// refusal classes the error of a method.
func (p provider) refusal(resp *http.Response, code string) error {
	err := fmt.Errorf("answered %d, but %s", resp.StatusCode, code)
	if code == "" {
		err = errors.New("answered 200, but not ok")
	}
	if advice := advice[code]; advice != "" {
		err = fmt.Errorf("%w: %s", err, advice)
	}
	switch code {
	case "ratelimited", "rate_limited", "message_limit_exceeded":
		return bellhop.RetryAfter(httpsend.Pause(resp), err)
	case "internal_error", "fatal_error", "service_unavailable", "request_timeout", "rollup_error", "team_added_to_org", "":
		return err
	}
	return bellhop.Permanent(err)
}

// advice is what to do about errors that do not heal.
// https://docs.slack.dev/reference/methods/chat.postMessage#errors
var advice = map[string]string{
	"account_inactive":                  "the app was removed: install it again and write its new token",
	"action_prohibited":                 "an administrator forbids posting there",
	"channel_is_archived":               "unarchive the channel or choose another",
	"channel_not_found":                 "write the channel's id, and /invite the app if the channel is private",
	"invalid_auth":                      "write the app's bot token (xoxb-…) under the key token",
	"invalid_payload":                   "Slack did not understand the message",
	"invalid_token":                     "make a new webhook and write its URL",
	"is_archived":                       "unarchive the channel or choose another",
	"missing_scope":                     "give the app the scope chat:write, and chat:write.customize for username and icon",
	"no_active_hooks":                   "the webhook is switched off: make a new one and write its URL",
	"no_service":                        "the webhook was removed: make a new one and write its URL",
	"no_team":                           "the workspace is gone: write the URL of a webhook in another",
	"no_text":                           "Slack saw no text in the message",
	"not_authed":                        "write the app's bot token (xoxb-…) under the key token",
	"not_in_channel":                    "/invite the app to the channel",
	"posting_to_general_channel_denied": "an administrator forbids posting to this channel",
	"team_disabled":                     "the workspace is disabled",
	"token_expired":                     "write a new token",
	"token_revoked":                     "write a new token",
	"user_not_found":                    "write a channel or a person that exists",
}
