package msteams_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/msteams"
)

// request is what the limits are found in: an Adaptive Card or a MessageCard.
type request struct {
	Attachments []struct {
		Content struct {
			FallbackText string `json:"fallbackText"`
			Body         []struct {
				Type, Text string
				Facts      []fact `json:"facts"`
			} `json:"body"`
		} `json:"content"`
	} `json:"attachments"`

	Title    string `json:"title"`
	Sections []struct {
		Text  string `json:"text"`
		Facts []fact `json:"facts"`
	} `json:"sections"`
}

type fact struct{ Title, Name, Value string }

func get(part func(r request) string) func(body []byte) string {
	return func(body []byte) string {
		var r request
		if err := json.Unmarshal(body, &r); err != nil {
			panic(err)
		}
		return part(r)
	}
}

func setTitle(e *bellhop.Event, text string)   { e.Title = text }
func setMessage(e *bellhop.Event, text string) { e.Message = text }
func setName(e *bellhop.Event, text string)    { e.Fields = []bellhop.Field{{Name: text, Value: "v"}} }
func setValue(e *bellhop.Event, text string)   { e.Fields = []bellhop.Field{{Name: "n", Value: text}} }

func setAll(e *bellhop.Event, text string) {
	e.Title, e.Message, e.Source, e.Endpoint, e.Fields = text, text, text, text, nil
	e.Link = "https://example.com/" + text[:min(len(text), 1900)]
	for range 30 {
		e.Fields = append(e.Fields, bellhop.Field{Name: text, Value: text})
	}
}

// utf16 is a body as Teams counts it: a character for every two bytes.
func utf16(body []byte) string { return string(body) }

func TestProvider(t *testing.T) {
	t.Parallel()
	const connector = "connector-push"
	limit := func(inCase, name string, limit int, set func(e *bellhop.Event, text string), part func(r request) string) bellhoptest.Limit {
		return bellhoptest.Limit{Case: inCase, Name: inCase + name, Max: limit, Unit: httpsend.UTF16, Set: set, Get: get(part)}
	}
	failure := func(code string) string {
		return "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error " + code + " with ContextId tcid=0,server=X."
	}
	bellhoptest.RunProvider(t, msteams.Kind, bellhoptest.ProviderOptions{
		Answer: "1",
		Answers: []bellhoptest.Answer{
			{Status: 202, Want: "accepted"},
			{Status: 200, Want: "accepted"},
			{Status: 202, Body: failure("429"), Want: "paused", Pause: 30 * time.Second, Says: "HTTP error 429"},
			{Status: 429, Header: map[string]string{"Retry-After": "12"}, Want: "paused", Pause: 12 * time.Second},
			{Status: 429, Body: `{"error":{"code":"WorkflowRunActionRepetitionLimitExceeded"}}`, Want: "paused", Pause: 30 * time.Second},
			{Status: 400, Body: `{"error":{"code":"WorkflowTriggerIsNotEnabled","message":"Could not execute workflow"}}`, Want: "permanent", Says: "switch it on"},
			{Status: 400, Body: `{"error":{"code":"TriggerInputSchemaMismatch","message":"The input body does not match"}}`, Want: "permanent", Says: "template"},
			{Status: 401, Body: `{"error":{"code":"DirectApiAuthorizationRequired","message":"The request must be authenticated"}}`, Want: "permanent", Says: "anyone"},
			{Status: 401, Want: "permanent", Says: "copy the workflow's URL again"},
			{Status: 404, Body: `{"error":{"code":"WorkflowNotFound","message":"The workflow could not be found."}}`, Want: "permanent", Says: "make a new one"},
			{Status: 413, Want: "permanent"},
			{Status: 502, Body: `{"error":{"code":"NoResponse","message":"The server did not receive a response"}}`, Want: "retried"},

			{Case: connector, Status: 200, Body: "1\n", Want: "accepted"},
			{Case: connector, Status: 200, Want: "retried", Says: "not the answer"},
			{Case: connector, Status: 202, Want: "retried", Says: "not the answer"},
			{Case: connector, Status: 200, Body: "<html>log in</html>", Want: "retried", Says: "not the answer"},
			{Case: connector, Status: 200, Body: failure("429"), Want: "paused", Pause: 30 * time.Second, Says: "HTTP error 429"},
			{Case: connector, Status: 200, Header: map[string]string{"Retry-After": "9"}, Body: failure("429"), Want: "paused", Pause: 9 * time.Second},
			{Case: connector, Status: 200, Body: failure("413"), Want: "permanent", Says: "HTTP error 413"},
			{Case: connector, Status: 200, Body: failure("403"), Want: "permanent", Says: "HTTP error 403"},
			{Case: connector, Status: 200, Body: failure("500"), Want: "retried", Says: "HTTP error 500"},
			{Case: connector, Status: 400, Body: "Summary or Text is required.", Want: "permanent", Says: "Summary or Text"},
			{Case: connector, Status: 404, Body: "Invalid webhook URL", Want: "permanent", Says: "make a workflow"},
			{Case: connector, Status: 410, Body: "Connector configuration not found", Want: "permanent", Says: "make a workflow"},
			{Case: connector, Status: 429, Want: "paused", Pause: 30 * time.Second},
		},
		Limits: []bellhoptest.Limit{
			limit("push", "title", 200, setTitle, func(r request) string { return r.Attachments[0].Content.Body[0].Text }),
			limit("push", "fallback", 200, setTitle, func(r request) string { return r.Attachments[0].Content.FallbackText }),
			limit("push", "message", 6000, setMessage, func(r request) string { return r.Attachments[0].Content.Body[1].Text }),
			limit("bare", "name of a fact", 60, setName, func(r request) string { return r.Attachments[0].Content.Body[1].Facts[0].Title }),
			limit("bare", "value of a fact", 500, setValue, func(r request) string { return r.Attachments[0].Content.Body[1].Facts[0].Value }),
			{Name: "all of a card", Case: "push", Max: 14_000, Unit: httpsend.UTF16, Whole: true, Set: setAll, Get: utf16},

			limit(connector, "title", 200, setTitle, func(r request) string { return r.Title }),
			limit(connector, "message", 6000, setMessage, func(r request) string { return r.Sections[0].Text }),
			limit(connector, "name of a fact", 60, setName, func(r request) string { return r.Sections[0].Facts[0].Name }),
			limit(connector, "value of a fact", 500, setValue, func(r request) string { return r.Sections[0].Facts[0].Value }),
			{Name: "all of a connector's card", Case: connector, Max: 14_000, Unit: httpsend.UTF16, Whole: true, Set: setAll, Get: utf16},
		},
	})
}
