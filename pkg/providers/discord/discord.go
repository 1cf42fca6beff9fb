// Package discord posts messages to a Discord channel through its webhook.
//
// # Setting it up
//
// In the channel's settings, under Integrations, create a webhook and copy its URL. Whoever has the URL can
// post: keep it in a Secret, under the key address.
//
//	providers:
//	- name: team
//	  type: discord
//	  username: Flux              # optional, instead of the webhook's name
//	  secretRef: {name: discord-webhook}
//
// An address that ends in /slack, as Flux's examples have it, is used without that ending. Messages go into a
// thread, or a forum's post, if the URL says so: …?thread_id=1234. The channel is that of the webhook; the
// setting channel is taken for Flux's sake and ignored, with a warning.
//
// # What is sent
//
// An embed: the title, linked, the message, the facts, where and when it was, with a bar that is green or, for
// errors, red. The message's CommonMark is turned into Discord's Markdown. Nothing in it can mention a person,
// a role or everyone.
//
// # Limits
//
// A webhook takes about 30 messages a minute, which is the default rateLimit, and five in two seconds. The title
// is cut at 256 characters, the message at 4,096, at most 25 facts are shown, of 256 and 1,024 characters. All
// of that together is kept under Discord's 6,000, the message giving way.
//
// Discord is asked to wait until the message is in the channel (wait=true), and what it says then counts. A 429
// pauses the provider for as long as Discord says, in its header or in the answer. A webhook that was deleted
// (404) or a message that Discord does not accept (400) is permanent.
package discord

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/parts"
)

// Settings of a provider.
type Settings struct {
	Address  bellhop.Secret `yaml:"address" secret:"address" doc:"URL of the channel's webhook"`
	Username string         `yaml:"username" doc:"name to post under; default: the webhook's"`
	Channel  string         `yaml:"channel" doc:"ignored: the channel is the webhook's"`
}

// Kind posts to Discord.
// https://docs.discord.com/developers/topics/rate-limits
var Kind = httpsend.Define("discord", "Discord, through a channel's webhook", Settings{}, build,
	bellhop.ProviderTraits{Rate: bellhop.Rate{Events: 30, Per: time.Minute}, ForPeople: true})

// maxUsername is how long a name to post under may be.
// https://docs.discord.com/developers/resources/user#usernames-and-nicknames
const maxUsername = 80

// webhookPath is what the path of a webhook's URL looks like: an id and a token.
var webhookPath = regexp.MustCompile(`^/api(/v[0-9]+)?/webhooks/[0-9]+/[^/]+$`)

func build(_ bellhop.Setup, s Settings) (bellhop.Requester, error) {
	u, problems := httpsend.Address("address", s.Address)
	if u != nil {
		u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/slack")
		u.RawPath = ""
		if host := u.Hostname(); (host == "discord.com" || host == "discordapp.com" || strings.HasSuffix(host, ".discord.com")) && !webhookPath.MatchString(u.Path) {
			problems = append(problems, bellhop.Wrong("address", "is no webhook's URL: write one such as https://discord.com/api/webhooks/ID/TOKEN, from the channel's settings, under Integrations"))
		}
		q := u.Query()
		q.Set("wait", "true")
		u.RawQuery = q.Encode()
	}
	lower := strings.ToLower(s.Username)
	switch {
	case unit.Len(s.Username) > maxUsername:
		problems = append(problems, bellhop.Wrong("username", "is longer than the %d characters that Discord takes", maxUsername))
	case strings.Contains(lower, "discord"), strings.Contains(lower, "clyde"):
		problems = append(problems, bellhop.Wrong("username", "holds a word that Discord keeps for itself (discord or clyde): write another name"))
	}
	if s.Channel != "" {
		problems = append(problems, bellhop.Doubtful("channel", "is ignored: a webhook posts to the channel that it was made in; leave it out"))
	}
	return provider{u, s.Username}, problems
}

type provider struct {
	url      *url.URL
	username string
}

// message is what a webhook takes.
// https://docs.discord.com/developers/resources/webhook#execute-webhook
type message struct {
	Username        string   `json:"username,omitzero"`
	Embeds          []embed  `json:"embeds"`
	AllowedMentions mentions `json:"allowed_mentions"`
}

// mentions are what a message may mention; of an empty list, nothing.
// https://docs.discord.com/developers/resources/message#allowed-mentions-object
type mentions struct {
	Parse []string `json:"parse"`
}

// https://docs.discord.com/developers/resources/message#embed-object
type embed struct {
	Title       string     `json:"title"`
	URL         string     `json:"url,omitzero"`
	Description string     `json:"description,omitzero"`
	Color       int        `json:"color"` // 0xRRGGBB
	Fields      []field    `json:"fields,omitempty"`
	Footer      footer     `json:"footer"`
	Timestamp   *time.Time `json:"timestamp,omitzero"`
}

type field struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Inline bool   `json:"inline"`
}

type footer struct {
	Text string `json:"text"` // not Markdown
}

// Discord's limits in characters. Those of all embeds count together against maxTotal, which leaves the message
// at least some 2,400.
// https://docs.discord.com/developers/resources/message#embed-object-embed-limits
const (
	maxTitle   = 256
	maxMessage = 4096
	maxTotal   = 6000
)

var factLimits = parts.Limits{Count: 25, Name: 256, Value: 1024, Total: 3000}

// maxInline is how long a fact may be that shares its row with others.
const maxInline = 45

func (p provider) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	em := embed{Title: markdown.Line(parts.Title(e), maxTitle), URL: parts.Link(e), Color: parts.Color(e)}
	facts, hidden := parts.Facts(e, markdown, factLimits)
	em.Footer.Text = parts.Origin(e, plain, "", hidden)
	used := unit.Len(em.Title) + unit.Len(em.Footer.Text)
	for _, f := range facts {
		// An empty name or value is not taken; an invisible space is.
		name, value := orSpace(f.Name), orSpace(f.Value)
		em.Fields = append(em.Fields, field{name, value, unit.Len(value) <= maxInline})
		used += unit.Len(name) + unit.Len(value)
	}
	em.Description = markdown.Message(e.Message, min(maxMessage, maxTotal-used))
	if !e.Time.IsZero() {
		t := e.Time.UTC().Truncate(time.Millisecond)
		em.Timestamp = &t
	}
	return httpsend.PostJSON(ctx, p.url, message{p.username, []embed{em}, mentions{[]string{}}})
}

func orSpace(s string) string {
	if s == "" {
		return "\u200B"
	}
	return s
}

// Judge knows Discord's answers. Having been asked to wait, it answers 200 with the message; 204, which says no
// more than that it was taken, comes from proxies that drop the query.
// https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
func (p provider) Judge(resp *http.Response, body []byte) error {
	var answer struct {
		ID         string   `json:"id"`
		Code       int      `json:"code"`
		RetryAfter *float64 `json:"retry_after"` // seconds
	}
	_ = json.Unmarshal(body, &answer) // what is no JSON says nothing
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode <= 299:
		if !httpsend.IsAnswer(body) || answer.ID == "" && answer.Code != 0 {
			return fmt.Errorf("%w, which is not an answer of Discord", httpsend.Answered(resp, body))
		}
		return nil
	case resp.StatusCode == http.StatusTooManyRequests && answer.RetryAfter != nil:
		// The header says the same, or has it rounded down.
		resp.Header.Set("Retry-After", strconv.FormatFloat(max(*answer.RetryAfter, seconds(resp)), 'f', -1, 64))
	}
	err := httpsend.Status(resp, body)
	what := advice[answer.Code]
	if what == "" && (resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusUnauthorized) {
		what = advice[unknownWebhook]
	}
	if what != "" && bellhop.IsPermanent(err) {
		return httpsend.Advised(resp, body, what)
	}
	return err
}

// seconds is the answer's Retry-After if it is a number.
func seconds(resp *http.Response) float64 {
	s, err := strconv.ParseFloat(resp.Header.Get("Retry-After"), 64)
	if err != nil {
		return 0
	}
	return s
}

const unknownWebhook = 10015

// advice is what to do about errors that do not heal, by Discord's code.
var advice = map[int]string{
	10003:          "the thread is gone: write a URL with another thread_id, or without one",
	unknownWebhook: "the webhook was deleted: make a new one and write its URL",
	50013:          "the webhook may not post there: look at the channel's permissions",
	50027:          "the webhook's token was changed: copy its URL again",
	50083:          "the thread is archived: open it, or write a URL with another thread_id",
	160005:         "the thread is locked: unlock it, or write a URL with another thread_id",
	220001:         "the webhook's channel is a forum: add ?thread_id=, the id of one of its posts, to the URL",
}
