// Package msteams posts cards to a Microsoft Teams channel or chat, through a workflow or a connector.
//
// # Setting it up with a workflow
//
// At the channel choose Workflows, then "Send webhook alerts to a channel" (the template that begins when a Teams
// webhook request is received), let anyone trigger it, and copy its URL. The URL holds a signature, and whoever
// has it can post: keep it in a Secret, under the key address.
//
//	providers:
//	- name: team
//	  type: msteams
//	  secretRef: {name: teams-workflow}
//
// # Setting it up with a connector
//
// Addresses at *.webhook.office.com are Office 365 connectors, the older way, which Microsoft is retiring: they
// work while they last, with a warning. Behind an address of your own, such as a relay's, say which of the two it
// is: format: workflow, the default there, or format: connector.
//
// The settings channel and username are taken for Flux's sake and ignored, with a warning.
//
// # What is sent
//
// To a workflow an Adaptive Card 1.4, to a connector a MessageCard: the title, red for errors, the message, the
// facts, where and when it was, and a button that opens the link. Of the message's CommonMark, Teams' cards show
// bold, italics, links and lists; the rest becomes text. Nothing in it can mention anybody.
//
// # Limits
//
// Teams takes 28 KB, which it counts in UTF-16: a card is kept under 28,000 of those bytes. The title is cut at
// 200 characters, the message at 6,000, at most 20 facts are shown, of 60 and 500 characters. A connector takes
// four messages a second, 60 in half a minute and 100 in an hour; the default rateLimit is 1/s.
//
// A workflow has the card when it answers 202; that a later step of it fails is not told. A connector has it when
// it answers 200 and "1": it says 200 with the text of an error as well, which counts as that error.
package msteams

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
	Address  bellhop.Secret `yaml:"address" secret:"address" doc:"URL of a workflow or of a connector"`
	Format   format         `yaml:"format" doc:"workflow or connector; default: by the address"`
	Channel  string         `yaml:"channel" doc:"ignored: the channel is chosen in the workflow"`
	Username string         `yaml:"username" doc:"ignored"`
}

// format is which of Teams' two ways an address belongs to.
type format string

const (
	workflow  format = "workflow"
	connector format = "connector"
)

// UnmarshalText reads workflow or connector.
func (f *format) UnmarshalText(text []byte) error {
	switch got := format(text); got {
	case workflow, connector:
		*f = got
		return nil
	}
	return fmt.Errorf("%q: write workflow or connector", text)
}

// Kind posts to Microsoft Teams.
// https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using#rate-limiting-for-connectors
var Kind = httpsend.Define("msteams", "Microsoft Teams, through a workflow or a connector", Settings{}, build,
	bellhop.ProviderTraits{Rate: bellhop.Rate{Events: 1, Per: time.Second}, ForPeople: true})

func build(_ bellhop.Setup, s Settings) (bellhop.Requester, error) {
	u, problems := httpsend.AddressSuchAs("address", s.Address, "https://ID.environment.api.powerplatform.com/…, which the workflow shows")
	if u != nil {
		host := strings.ToLower(u.Hostname())
		office := strings.HasSuffix(host, ".webhook.office.com")
		switch {
		case s.Format != "":
		case office:
			s.Format = connector
		default:
			s.Format = workflow
		}
		switch {
		case office:
			problems = append(problems, bellhop.Doubtful("address", "is an Office 365 connector, which Microsoft is retiring: make a workflow at the channel and write its URL"))
		case strings.HasSuffix(host, ".logic.azure.com"):
			problems = append(problems, bellhop.Doubtful("address", "is of the form that workflows had until November 2025: open the workflow and copy its URL again"))
		}
	}
	if s.Channel != "" {
		problems = append(problems, bellhop.Doubtful("channel", "is ignored: the workflow or connector posts to the channel that it was made for; leave it out"))
	}
	if s.Username != "" {
		problems = append(problems, bellhop.Doubtful("username", "is ignored: Teams shows the workflow's or the connector's name; leave it out"))
	}
	return provider{u, s.Format}, problems
}

type provider struct {
	url    *url.URL
	format format
}

// Limits in UTF-16 units of JSON. Together with the card's frame and a link of markup's 2,000 they stay under the
// 14,000 that make 28,000 bytes.
const (
	maxTitle   = 200
	maxMessage = 6000
)

var factLimits = parts.Limits{Count: 20, Name: 60, Value: 500, Total: 3000}

func (p provider) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	var card any
	if p.format == connector {
		card = messageCard(e)
	} else {
		card = adaptiveCard(e)
	}
	req, err := httpsend.PostJSON(ctx, p.url, card)
	if err != nil {
		return nil, err
	}
	// Without the charset, Teams has been seen to count twice.
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	return req, nil
}

// told finds the status of an error that a connector puts into the text of a 200: "Webhook message delivery failed
// with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId …".
var told = regexp.MustCompile(`(?i)HTTP error ([1-5][0-9][0-9])`)

// Judge knows the answers of workflows and connectors.
// https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
func (p provider) Judge(resp *http.Response, body []byte) error {
	text := strings.TrimSpace(string(body))
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return p.refused(resp, body)
	case told.MatchString(text):
		status, _ := strconv.Atoi(told.FindStringSubmatch(text)[1])
		return means(status, resp, body)
	case p.format == workflow, text == "1":
		return nil
	}
	return fmt.Errorf("%w, which is not the answer of a connector that has the message", httpsend.Answered(resp, body))
}

// means is an answer that is classed as another status would be.
func means(status int, resp *http.Response, body []byte) error {
	as := *resp
	as.StatusCode = status
	class, err := httpsend.Status(&as, body), httpsend.Answered(resp, body)
	if d, paused := bellhop.RetryDelay(class); paused {
		return bellhop.RetryAfter(d, err)
	}
	if bellhop.IsPermanent(class) {
		return bellhop.Permanent(err)
	}
	return err
}

// refused adds to an error what to do about it.
func (p provider) refused(resp *http.Response, body []byte) error {
	err := httpsend.Status(resp, body)
	if !bellhop.IsPermanent(err) {
		return err
	}
	var answer struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	_ = json.Unmarshal(body, &answer) // connectors answer with text
	what := advice[answer.Error.Code]
	if what == "" && p.format == workflow {
		what = byStatus[resp.StatusCode]
	}
	if what == "" && p.format == connector && (resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone) {
		what = "the connector is gone: make a workflow at the channel and write its URL"
	}
	if what == "" {
		return err
	}
	return httpsend.Advised(resp, body, what)
}

// advice is what to do about errors of a workflow, by its code.
// https://learn.microsoft.com/troubleshoot/power-platform/power-automate/flow-run-issues/triggers-troubleshoot
var advice = map[string]string{
	"WorkflowTriggerIsNotEnabled":         "the workflow is switched off: switch it on",
	"WorkflowNotFound":                    "the workflow was deleted: make a new one and write its URL",
	"DirectApiAuthorizationRequired":      "the workflow wants a sign-in: let anyone trigger it, and copy its URL again",
	"DirectApiInvalidAuthorizationScheme": "the workflow wants a sign-in: let anyone trigger it, and copy its URL again",
	"TriggerInputSchemaMismatch":          "the workflow does not take cards: make it from the template for webhook alerts",
	"MisMatchingOAuthClaims":              "the workflow wants a sign-in: let anyone trigger it, and copy its URL again",
	"AuthorizationFailed":                 "the signature in the URL is not right: copy the workflow's URL again",
}

var byStatus = map[int]string{
	http.StatusUnauthorized: "copy the workflow's URL again, and let anyone trigger it",
	http.StatusForbidden:    "copy the workflow's URL again, and let anyone trigger it",
	http.StatusNotFound:     "the workflow was deleted: make a new one and write its URL",
	http.StatusGone:         "the workflow was deleted: make a new one and write its URL",
}
