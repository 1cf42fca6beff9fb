// Package sentry sends events to Sentry, or to a server that speaks its protocol.
//
// # Setting it up
//
// In the project's settings, under Client Keys, copy the DSN. It holds a key: keep it in a Secret, under the key
// address.
//
//	providers:
//	- name: errors
//	  type: sentry
//	  channel: production       # optional: Sentry's environment
//	  secretRef: {name: sentry-dsn}
//
// The setting username is taken for Flux's sake and ignored, with a warning.
//
// # What is sent
//
// An error becomes an event of level error, everything else one of level info. (Flux sends what is no error as
// transactions, which are sampled, count against another quota and do not show the message. Who routes such events
// to Sentry wants to see them there; alert rules tell the levels apart.) To have errors alone, route them alone:
// when: event.severity == "error".
//
// An event's message is the title and the text. Its tags are the facts, and kind, source, endpoint and reason;
// the facts are there in full under the context "facts", the link and the ids under "bellhop". Events of the same
// kind about the same thing (a pull request, a repository, an image, an object of the cluster) for the same reason
// are one issue.
//
// Sentry's event id is made from Bellhop's, and Sentry throws away what it has already: a delivery that is tried
// again, since its answer was lost, makes no second event, and neither does one that is replayed.
//
// # Limits
//
// The title is cut at 250 characters and message and title together at 8,192, tags at 32 and 200, facts at 1,000; at
// most 50 facts are sent. That is far from the megabyte that Sentry takes.
//
// An event counts as sent when the answer names it. A 429 pauses the provider for as long as its header
// X-Sentry-Rate-Limits says of errors, else Retry-After; without either, for a minute. What Sentry does not accept
// (400, 413), or a DSN that is not right, is permanent.
package sentry

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/markup"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/parts"
)

// Settings of a provider.
type Settings struct {
	Address  bellhop.Secret `yaml:"address" secret:"address" doc:"DSN of the project"`
	Channel  string         `yaml:"channel" doc:"Sentry's environment"`
	Username string         `yaml:"username" doc:"ignored"`
}

// Kind sends to Sentry.
var Kind = httpsend.Define("sentry", "Sentry, as events of level error or info", Settings{}, build)

// maxEnvironment is how long the name of an environment may be. It holds no slash and no white space.
// https://docs.sentry.io/platform-redirect/?next=/configuration/environments/
const maxEnvironment = 64

func build(_ bellhop.Setup, s Settings) (bellhop.Requester, error) {
	dsn, problems := httpsend.AddressSuchAs("address", s.Address, "https://KEY@o1.ingest.sentry.io/42, the project's DSN")
	p := provider{environment: s.Channel}
	if dsn != nil {
		path := strings.TrimRight(dsn.Path, "/")
		slash := strings.LastIndexByte(path, '/')
		switch {
		case dsn.User.Username() == "":
			problems = append(problems, bellhop.Wrong("address", "is no DSN, since it holds no key: copy the DSN from the project's settings, under Client Keys"))
		case slash < 0 || slash == len(path)-1:
			problems = append(problems, bellhop.Wrong("address", "is no DSN, since it names no project: copy the DSN from the project's settings, under Client Keys"))
		default:
			p.url = &url.URL{Scheme: dsn.Scheme, Host: dsn.Host, Path: path[:slash] + "/api/" + path[slash+1:] + "/envelope/"}
			p.key = bellhop.NewSecret([]byte(dsn.User.Username()))
		}
	}
	if len(s.Channel) > maxEnvironment || strings.ContainsAny(s.Channel, "/ \t\n") {
		problems = append(problems, bellhop.Wrong("channel", "is no name of an environment: write at most %d characters without slashes and spaces", maxEnvironment))
	}
	if s.Username != "" {
		problems = append(problems, bellhop.Doubtful("username", "is ignored: leave it out"))
	}
	return p, problems
}

type provider struct {
	url         *url.URL
	key         bellhop.Secret
	environment string
}

// event is what Sentry takes.
// https://develop.sentry.dev/sdk/foundations/transport/event-payloads/
type event struct {
	ID          string            `json:"event_id"` // 32 digits
	Timestamp   time.Time         `json:"timestamp"`
	Platform    string            `json:"platform"`
	Level       string            `json:"level"`
	Logger      string            `json:"logger"`
	ServerName  string            `json:"server_name,omitzero"`
	Transaction string            `json:"transaction,omitzero"` // shown as what is to blame
	Environment string            `json:"environment,omitzero"`
	LogEntry    logEntry          `json:"logentry"`
	Tags        map[string]string `json:"tags"`
	Contexts    contexts          `json:"contexts"`
	Fingerprint []string          `json:"fingerprint"`
}

type logEntry struct {
	Formatted string `json:"formatted"`
}

// contexts are shown with the event, and are not searched.
type contexts struct {
	Bellhop origin            `json:"bellhop"`
	Facts   map[string]string `json:"facts,omitempty"`
}

type origin struct {
	ID         string `json:"id,omitzero"`
	Endpoint   string `json:"endpoint,omitzero"`
	Source     string `json:"source,omitzero"`
	Type       string `json:"type,omitzero"`
	Action     string `json:"action,omitzero"`
	DeliveryID string `json:"deliveryId,omitzero"`
	Link       string `json:"link,omitzero"`
	Instance   string `json:"reportingInstance,omitzero"`
}

// Limits in characters: what is longer Sentry cuts.
// https://develop.sentry.dev/sdk/foundations/data-model/data-handling/#variable-size
const (
	maxTitle    = 250
	maxMessage  = 8192
	maxLine     = 200 // of a tag's value, a transaction, a name
	maxTagName  = 32
	maxContext  = 1000 // of a value
	maxEvidence = 50
)

var factLimits = parts.Limits{Count: maxEvidence, Name: maxLine, Value: maxContext, Total: maxEvidence * (maxLine + maxContext)}

// plain is what Sentry shows: text.
var plain = markup.Plain(httpsend.Runes.Len)

func (p provider) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	id := eventID(e)
	text := plain.Line(parts.Title(e), maxTitle)
	if message := plain.Message(e.Message, maxMessage-maxTitle-len("\n\n")); message != "" {
		text += "\n\n" + message
	}
	subject := plain.Line(parts.Subject(e), maxLine)
	ev := event{
		ID:          id,
		Timestamp:   e.Time.UTC(),
		Platform:    "other",
		Level:       "info",
		Logger:      "bellhop",
		ServerName:  plain.Line(e.ReportingController, maxLine),
		Transaction: subject,
		Environment: p.environment,
		LogEntry:    logEntry{text},
		Tags:        map[string]string{},
		Contexts: contexts{Bellhop: origin{
			ID: plain.Line(e.ID, maxLine), Endpoint: plain.Line(e.Endpoint, maxLine), Source: plain.Line(e.Source, maxLine),
			Type: plain.Line(e.Type, maxLine), Action: plain.Line(e.Action, maxLine), DeliveryID: plain.Line(e.DeliveryID, maxLine),
			Link: parts.Link(e), Instance: plain.Line(e.ReportingInstance, maxLine),
		}},
		Fingerprint: []string{"bellhop", string(e.Kind), cmp.Or(subject, plain.Line(e.Endpoint, maxLine)), cmp.Or(plain.Line(e.Reason, maxLine), plain.Line(parts.Title(e), maxLine))},
	}
	if e.Severity == bellhop.Error {
		ev.Level = "error"
	}
	facts, _ := parts.Facts(e, plain, factLimits)
	for _, f := range facts {
		name := cmp.Or(f.Name, "fact")
		if ev.Contexts.Facts == nil {
			ev.Contexts.Facts = map[string]string{}
		}
		ev.Contexts.Facts[name] = f.Value
		ev.tag(name, f.Value)
	}
	// Last, since a fact of the same name would hide them.
	ev.tag("kind", string(e.Kind))
	ev.tag("source", e.Source)
	ev.tag("endpoint", e.Endpoint)
	ev.tag("reason", e.Reason)
	if o := e.InvolvedObject; o.Name != "" {
		ev.tag("object.kind", o.Kind)
		ev.tag("object.namespace", o.Namespace)
		ev.tag("object.name", o.Name)
	}

	body, err := envelope(ev)
	if err != nil {
		return nil, err
	}
	req, err := httpsend.Post(ctx, p.url, "application/x-sentry-envelope", body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Sentry-Auth", "Sentry sentry_version=7, sentry_client=bellhop/1, sentry_key="+p.key.RevealString())
	return req, nil
}

// eventID is 32 hexadecimal digits, the same for the same event.
func eventID(e *bellhop.Event) string {
	sum := sha256.Sum256([]byte("bellhop/" + e.ID))
	return hex.EncodeToString(sum[:16])
}

// tag sets a tag if it says something, the name in the characters that Sentry takes.
// https://docs.sentry.io/platforms/go/enriching-events/tags/
func (ev *event) tag(name, value string) {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.:-", r) {
			return r
		}
		return '_'
	}, name)
	if value = plain.Line(value, maxLine); value != "" && name != "" {
		ev.Tags[name[:min(len(name), maxTagName)]] = value
	}
}

// envelope is an event as it is sent: a line about the envelope, one about the event, the event.
// https://develop.sentry.dev/sdk/foundations/transport/envelopes/
func envelope(ev event) ([]byte, error) {
	var payload, out bytes.Buffer
	enc := json.NewEncoder(&payload)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(ev); err != nil {
		return nil, fmt.Errorf("encoding the event: %w", err)
	}
	fmt.Fprintf(&out, "{\"event_id\":%q}\n", ev.ID)
	// The line break after the event does not count.
	fmt.Fprintf(&out, "{\"type\":\"event\",\"content_type\":\"application/json\",\"length\":%d}\n", payload.Len()-1)
	out.Write(payload.Bytes())
	return out.Bytes(), nil
}

// Judge knows Sentry's answers: the event's id, or an error with a detail.
func (p provider) Judge(resp *http.Response, body []byte) error {
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		var answer struct {
			ID     string `json:"id"`
			Detail string `json:"detail"`
		}
		_ = json.Unmarshal(body, &answer) // what is no JSON says nothing
		id := strings.ToLower(strings.ReplaceAll(answer.ID, "-", ""))
		if !httpsend.IsAnswer(body) || answer.Detail != "" || id != "" && id != sentID(resp.Request) {
			return fmt.Errorf("%w, which does not name the event that was sent", httpsend.Answered(resp, body))
		}
		return nil
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		if s, ok := limited(resp.Header); ok {
			resp.Header.Set("Retry-After", strconv.FormatFloat(s, 'f', -1, 64))
		} else if resp.Header.Get("Retry-After") == "" {
			resp.Header.Set("Retry-After", "60")
		}
	}
	err := httpsend.Status(resp, body)
	if what := advice[resp.StatusCode]; what != "" {
		return httpsend.Advised(resp, body, what)
	}
	return err
}

// sentID is the event's id in the first line of what was sent.
func sentID(req *http.Request) string {
	if req == nil || req.GetBody == nil {
		return ""
	}
	body, err := req.GetBody()
	if err != nil {
		return ""
	}
	defer body.Close()
	var head struct {
		ID string `json:"event_id"`
	}
	if json.NewDecoder(body).Decode(&head) != nil {
		return ""
	}
	return head.ID
}

// limited is the longest of the limits on events, in seconds, that an answer's X-Sentry-Rate-Limits tells:
// "60:error;security:organization, 2700::key". A limit without categories is one on everything.
// https://develop.sentry.dev/sdk/foundations/transport/rate-limiting/
func limited(h http.Header) (seconds float64, ok bool) {
	for limit := range strings.SplitSeq(strings.Join(h.Values("X-Sentry-Rate-Limits"), ","), ",") {
		after, rest, _ := strings.Cut(strings.TrimSpace(limit), ":")
		categories, _, _ := strings.Cut(rest, ":")
		s, err := strconv.ParseFloat(after, 64)
		if err != nil {
			continue
		}
		for category := range strings.SplitSeq(categories, ";") {
			switch category {
			case "", "error", "default", "all":
				seconds, ok = max(seconds, s), true
			}
		}
	}
	return seconds, ok
}

// advice is what to do about errors that do not heal.
var advice = map[int]string{
	http.StatusUnauthorized:          "the DSN's key is not right or was disabled: copy the DSN again, from the project's settings, under Client Keys",
	http.StatusForbidden:             "the DSN's key or project is not right or was disabled: copy the DSN again, from the project's settings, under Client Keys",
	http.StatusNotFound:              "the DSN's host or project does not exist: copy the DSN again, from the project's settings, under Client Keys",
	http.StatusRequestEntityTooLarge: "a proxy before Sentry takes less than Sentry does",
}
