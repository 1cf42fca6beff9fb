package rocket_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/rocket"
)

// message is what the limits are found in.
type message struct {
	Text        string `json:"text"`
	Attachments []struct {
		Text   string `json:"text"`
		Fields []struct {
			Title string `json:"title"`
			Value string `json:"value"`
		} `json:"fields"`
	} `json:"attachments"`
}

func TestProvider(t *testing.T) {
	t.Parallel()
	limit := func(name string, limit int, set func(e *bellhop.Event, text string), part func(m message) string) bellhoptest.Limit {
		return bellhoptest.Limit{Name: name, Max: limit, Unit: httpsend.UTF16, Set: set, Get: func(body []byte) string {
			var m message
			if err := json.Unmarshal(body, &m); err != nil {
				panic(err)
			}
			return part(m)
		}}
	}
	bellhoptest.RunProvider(t, rocket.Kind, bellhoptest.ProviderOptions{
		Answer: `{"success":true}`,
		Answers: []bellhoptest.Answer{
			{Status: 200, Want: "accepted"},
			{Status: 200, Body: "ok", Want: "retried", Says: "not an answer of Rocket.Chat"},
			{Status: 200, Body: "<html>log in</html>", Want: "retried", Says: "not an answer of Rocket.Chat"},
			{Status: 200, Body: `{"success":false}`, Want: "retried", Says: "no success"},
			{Status: 200, Body: `{"success":false,"error":"invalid-channel"}`, Want: "permanent", Says: "#general"},
			{Status: 200, Body: `{"success":false,"error":"something else"}`, Want: "permanent", Says: "something else"},
			{Status: 200, Body: `{"success":false,"error":"Error, too many requests. Please slow down. [error-too-many-requests]"}`, Want: "paused", Pause: 30 * time.Second},
			{Status: 429, Header: map[string]string{"Retry-After": "8"}, Body: `{"success":false,"error":"Error, too many requests. Please slow down. [error-too-many-requests]"}`, Want: "paused", Pause: 8 * time.Second},
			{Status: 429, Want: "paused", Pause: 30 * time.Second},
			{Status: 400, Body: `{"success":false,"error":"error-too-many-requests"}`, Want: "paused", Pause: 30 * time.Second},
			{Status: 400, Body: `{"success":false,"error":"invalid-channel"}`, Want: "permanent", Says: "#general"},
			{Status: 400, Body: `{"success":false,"error":"error-not-allowed"}`, Want: "permanent", Says: "may not post"},
			{Status: 404, Body: `{"success":false,"error":"Invalid integration id or token provided."}`, Want: "permanent", Says: "copy its URL again"},
			{Status: 400, Body: `{"success":false,"error":"Match error: Expected string"}`, Want: "permanent", Says: "Match error"},
			{Status: 503, Body: "<html>", Want: "retried"},
		},
		Limits: []bellhoptest.Limit{
			limit("title", 200, func(e *bellhop.Event, text string) { e.Title, e.Link = text, "" }, func(m message) string { return m.Text }),
			limit("message", 4800, func(e *bellhop.Event, text string) { e.Message = text }, func(m message) string {
				text := m.Attachments[0].Text
				return text[:max(strings.LastIndex(text, "\n"), 0)] // without the small print
			}),
			limit("name of a fact", 60, func(e *bellhop.Event, text string) { e.Fields = []bellhop.Field{{Name: text, Value: "v"}} },
				func(m message) string { return m.Attachments[0].Fields[0].Title }),
			limit("value of a fact", 500, func(e *bellhop.Event, text string) { e.Fields = []bellhop.Field{{Name: "n", Value: text}} },
				func(m message) string { return m.Attachments[0].Fields[0].Value }),
		},
	})
}
