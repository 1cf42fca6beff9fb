package webex_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/webex"
)

// get finds the text between two marks of a message; up to its end without the second.
func get(begin, end string) func(body []byte) string {
	return func(body []byte) string {
		var m struct {
			Markdown string `json:"markdown"`
		}
		if err := json.Unmarshal(body, &m); err != nil {
			panic(err)
		}
		_, text, _ := strings.Cut(m.Markdown, begin)
		if end != "" {
			text = text[:max(strings.LastIndex(text, end), 0)]
		}
		return text
	}
}

func TestProvider(t *testing.T) {
	t.Parallel()
	retryAfter := map[string]string{"Retry-After": "11"}
	bellhoptest.RunProvider(t, webex.Kind, bellhoptest.ProviderOptions{
		Answer: `{"id":"Y2lzY29zcGFyazovL3VzL01FU1NBR0Uv","roomId":"Y2lzY29zcGFyazovL3VzL1JPT00v","roomType":"group"}`,
		Pauses: []int{423},
		Answers: []bellhoptest.Answer{
			{Status: 200, Want: "accepted"},
			{Status: 200, Body: "{}", Want: "accepted"},
			{Status: 200, Body: "<html>log in</html>", Want: "retried", Says: "not an answer of Webex"},
			{Status: 200, Body: `{"message":"The server failed","errors":[],"trackingId":"X"}`, Want: "retried", Says: "not an answer of Webex"},
			{Status: 429, Header: retryAfter, Body: `{"message":"Too many requests"}`, Want: "paused", Pause: 11 * time.Second},
			{Status: 429, Want: "paused", Pause: 30 * time.Second},
			{Status: 423, Header: retryAfter, Want: "paused", Pause: 11 * time.Second},
			{Status: 423, Want: "permanent"},
			{Status: 400, Body: `{"message":"Message length limited to 7439 characters"}`, Want: "permanent", Says: "7439"},
			{Status: 401, Body: `{"message":"The request requires a valid access token set in the Authorization request header."}`, Want: "permanent", Says: "the key token"},
			{Status: 403, Body: `{"message":"The server understood the request, but refused to fulfill it"}`, Want: "permanent", Says: "add the bot"},
			{Status: 404, Body: `{"message":"Could not find a room with provided ID."}`, Want: "permanent", Says: "add the bot"},
			{Status: 502, Want: "retried"},
		},
		Limits: []bellhoptest.Limit{
			{Name: "title", Max: 300, Unit: httpsend.Bytes, Get: get("**", "**\n\n_"),
				Set: func(e *bellhop.Event, text string) {
					e.Title, e.Link, e.Message, e.Fields = text, "", "", []bellhop.Field{}
				}},
			{Name: "message", Max: 3400, Unit: httpsend.Bytes, Get: get("\n\n", "\n\n_"),
				Set: func(e *bellhop.Event, text string) { e.Message, e.Fields = text, []bellhop.Field{} }},
			{Name: "name of a fact", Max: 60, Unit: httpsend.Bytes, Get: get("\n> **", "** v\n\n_"),
				Set: func(e *bellhop.Event, text string) {
					e.Message, e.Fields = "", []bellhop.Field{{Name: text, Value: "v"}}
				}},
			{Name: "value of a fact", Max: 500, Unit: httpsend.Bytes, Whole: true, Get: func(body []byte) string { return strings.ReplaceAll(get("** ", "\n\n_")(body), "\n> ", "\n") },
				Set: func(e *bellhop.Event, text string) {
					e.Title, e.Link, e.Message, e.Fields = "t", "", "", []bellhop.Field{{Name: "** ", Value: text}}
				}},
			{Name: "all together", Max: 7439, Unit: httpsend.Bytes, Whole: true, Get: get("", ""),
				Set: func(e *bellhop.Event, text string) {
					e.Title, e.Message, e.Source, e.Endpoint, e.Fields = text, text, text, text, nil
					e.Link = "https://example.com/" + text[:min(len(text), 900)]
					for range 30 {
						e.Fields = append(e.Fields, bellhop.Field{Name: text, Value: text})
					}
				}},
		},
	})
}
