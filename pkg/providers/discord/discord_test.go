package discord_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/discord"
)

// message is what the limits are found in.
type message struct {
	Embeds []embed `json:"embeds"`
}

type embed struct {
	Title       string  `json:"title"`
	Description string  `json:"description"`
	Fields      []field `json:"fields"`
	Footer      struct {
		Text string `json:"text"`
	} `json:"footer"`
}

type field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func get(part func(em embed) string) func(body []byte) string {
	return func(body []byte) string {
		var m message
		if err := json.Unmarshal(body, &m); err != nil {
			panic(err)
		}
		return part(m.Embeds[0])
	}
}

// total is what Discord counts together.
func total(em embed) string {
	s := em.Title + em.Description + em.Footer.Text
	for _, f := range em.Fields {
		s += f.Name + f.Value
	}
	return s
}

func TestProvider(t *testing.T) {
	t.Parallel()
	limit := func(name string, limit int, set func(e *bellhop.Event, text string), part func(em embed) string) bellhoptest.Limit {
		return bellhoptest.Limit{Name: name, Max: limit, Unit: httpsend.UTF16, Set: set, Get: get(part)}
	}
	bellhoptest.RunProvider(t, discord.Kind, bellhoptest.ProviderOptions{
		Answer: `{"id":"1155555555555555555","type":0,"content":"","channel_id":"42","webhook_id":"1234567890"}`,
		Answers: []bellhoptest.Answer{
			{Status: 204, Want: "accepted"},
			{Status: 200, Want: "accepted"},
			{Status: 200, Body: "<html>log in</html>", Want: "retried", Says: "not an answer of Discord"},
			{Status: 200, Body: `{"message":"Unknown Webhook","code":10015}`, Want: "retried", Says: "not an answer of Discord"},
			{Status: 429, Header: map[string]string{"Retry-After": "1"}, Body: `{"message":"You are being rate limited.","retry_after":1.336,"global":false}`, Want: "paused", Pause: 1336 * time.Millisecond},
			{Status: 429, Body: `{"message":"You are being rate limited.","retry_after":64.57,"global":true}`, Want: "paused", Pause: 64570 * time.Millisecond},
			{Status: 429, Body: `{"retry_after":0.25}`, Want: "paused", Pause: time.Second},
			{Status: 429, Body: `{"retry_after":1e300}`, Want: "paused", Pause: time.Hour},
			{Status: 429, Header: map[string]string{"Retry-After": "17"}, Body: "error code: 1015", Want: "paused", Pause: 17 * time.Second},
			{Status: 404, Body: `{"message":"Unknown Webhook","code":10015}`, Want: "permanent", Says: "make a new one"},
			{Status: 404, Body: "404: Not Found", Want: "permanent", Says: "make a new one"},
			{Status: 404, Body: `{"message":"Unknown Channel","code":10003}`, Want: "permanent", Says: "thread_id"},
			{Status: 401, Body: `{"message":"Invalid Webhook Token","code":50027}`, Want: "permanent", Says: "copy its URL again"},
			{Status: 401, Body: `{"message":"401: Unauthorized","code":0}`, Want: "permanent", Says: "make a new one"},
			{Status: 403, Body: `{"message":"Missing Permissions","code":50013}`, Want: "permanent", Says: "permissions"},
			{Status: 400, Body: `{"message":"Thread is archived","code":50083}`, Want: "permanent", Says: "archived"},
			{Status: 400, Body: `{"message":"Webhooks posted to forum channels must have a thread_name or thread_id","code":220001}`, Want: "permanent", Says: "thread_id="},
			{Status: 400, Body: `{"message":"Invalid Form Body","code":50035,"errors":{"embeds":["0"]}}`, Want: "permanent", Says: "Invalid Form Body"},
			{Status: 502, Body: "<html>", Want: "retried"},
		},
		Limits: []bellhoptest.Limit{
			limit("title", 256, func(e *bellhop.Event, text string) { e.Title = text }, func(em embed) string { return em.Title }),
			limit("message", 4096, func(e *bellhop.Event, text string) { e.Message = text }, func(em embed) string { return em.Description }),
			limit("name of a fact", 256, func(e *bellhop.Event, text string) { e.Fields = []bellhop.Field{{Name: text, Value: "v"}} },
				func(em embed) string { return em.Fields[0].Name }),
			limit("value of a fact", 1024, func(e *bellhop.Event, text string) { e.Fields = []bellhop.Field{{Name: "n", Value: text}} },
				func(em embed) string { return em.Fields[0].Value }),
			{Name: "all together", Max: 6000, Unit: httpsend.UTF16, Whole: true, Get: get(total), Set: func(e *bellhop.Event, text string) {
				e.Title, e.Message, e.Source, e.Endpoint, e.Fields = text, text, text, text, nil
				for range 30 {
					e.Fields = append(e.Fields, bellhop.Field{Name: text, Value: text})
				}
			}},
		},
	})
}
