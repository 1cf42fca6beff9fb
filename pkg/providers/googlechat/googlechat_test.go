package googlechat_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/googlechat"
)

// message is what the limits are found in.
type message struct {
	Cards []struct {
		Card struct {
			Header struct {
				Title string `json:"title"`
			} `json:"header"`
			Sections []struct {
				Widgets []struct {
					TextParagraph struct {
						Text string `json:"text"`
					} `json:"textParagraph"`
				} `json:"widgets"`
			} `json:"sections"`
		} `json:"card"`
	} `json:"cardsV2"`
	Thread struct {
		Key string `json:"threadKey"`
	} `json:"thread"`
}

func get(part func(m message) string) func(body []byte) string {
	return func(body []byte) string {
		var m message
		if err := json.Unmarshal(body, &m); err != nil {
			panic(err)
		}
		return part(m)
	}
}

// first is the text of the first section.
func first(m message) string { return m.Cards[0].Card.Sections[0].Widgets[0].TextParagraph.Text }

func TestProvider(t *testing.T) {
	t.Parallel()
	bellhoptest.RunProvider(t, googlechat.Kind, bellhoptest.ProviderOptions{
		Answer: `{"name":"spaces/AAAA/messages/BBBB.CCCC","thread":{"name":"spaces/AAAA/threads/BBBB"}}`,
		Answers: []bellhoptest.Answer{
			{Status: 200, Want: "accepted"},
			{Status: 200, Body: "{}", Want: "accepted"},
			{Status: 200, Body: "<html>log in</html>", Want: "retried", Says: "not an answer of Google Chat"},
			{Status: 200, Body: `{"error":{"code":404,"status":"NOT_FOUND"}}`, Want: "retried", Says: "NOT_FOUND"},
			{Status: 429, Body: `{"error":{"code":429,"message":"Resource has been exhausted (e.g. check quota).","status":"RESOURCE_EXHAUSTED"}}`, Want: "paused", Pause: 30 * time.Second},
			{Status: 429, Header: map[string]string{"Retry-After": "5"}, Want: "paused", Pause: 5 * time.Second},
			{Status: 403, Body: `{"error":{"code":403,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED"}}`, Want: "paused", Pause: 30 * time.Second},
			{Status: 400, Body: `{"error":{"code":400,"message":"Message is too long.","status":"INVALID_ARGUMENT"}}`, Want: "permanent", Says: "too long"},
			{Status: 401, Body: `{"error":{"code":401,"status":"UNAUTHENTICATED"}}`, Want: "permanent", Says: "copy the webhook's URL"},
			{Status: 403, Body: `{"error":{"code":403,"status":"PERMISSION_DENIED"}}`, Want: "permanent", Says: "administrator"},
			{Status: 404, Body: `{"error":{"code":404,"status":"NOT_FOUND"}}`, Want: "permanent", Says: "make a new webhook"},
			{Status: 503, Body: `{"error":{"code":503,"status":"UNAVAILABLE"}}`, Want: "retried"},
		},
		Limits: []bellhoptest.Limit{
			{Name: "title", Max: 200, Unit: httpsend.Bytes, Set: func(e *bellhop.Event, text string) { e.Title = text },
				Get: get(func(m message) string { return m.Cards[0].Card.Header.Title })},
			{Name: "message", Max: 8000, Unit: httpsend.Bytes, Set: func(e *bellhop.Event, text string) { e.Message = text }, Get: get(first)},
			{Name: "name of a fact", Case: "bare", Max: 100 + len("<b></b> v"), Unit: httpsend.Bytes, Whole: true,
				Set: func(e *bellhop.Event, text string) { e.Fields = []bellhop.Field{{Name: text, Value: "v"}} }, Get: get(first)},
			{Name: "value of a fact", Case: "bare", Max: 1000 + len("<b>n</b> "), Unit: httpsend.Bytes, Whole: true,
				Set: func(e *bellhop.Event, text string) { e.Fields = []bellhop.Field{{Name: "n", Value: text}} }, Get: get(first)},
			{Name: "thread", Max: 500, Unit: httpsend.Bytes, Set: func(e *bellhop.Event, text string) { e.Repo.Name = text },
				Get: get(func(m message) string { return m.Thread.Key })},
			{Name: "all together", Max: 32_000, Unit: httpsend.Bytes, Whole: true, Get: func(body []byte) string { return string(body) },
				Set: func(e *bellhop.Event, text string) {
					e.Title, e.Message, e.Source, e.Endpoint, e.Repo.Name, e.Fields = text, text, text, text, text, nil
					e.Link = "https://example.com/" + text[:min(len(text), 1900)]
					for range 30 {
						e.Fields = append(e.Fields, bellhop.Field{Name: text, Value: text})
					}
				}},
		},
	})
}
