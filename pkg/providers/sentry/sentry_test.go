package sentry_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/sentry"
)

// event is what the limits are found in.
type event struct {
	ID          string `json:"event_id"`
	Transaction string `json:"transaction"`
	LogEntry    struct {
		Formatted string `json:"formatted"`
	} `json:"logentry"`
	Tags     map[string]string `json:"tags"`
	Contexts struct {
		Facts map[string]string `json:"facts"`
	} `json:"contexts"`
}

// read takes an envelope apart as strictly as a server does.
func read(envelope []byte) event {
	var head struct {
		ID string `json:"event_id"`
	}
	var item struct {
		Type   string `json:"type"`
		Length int    `json:"length"`
	}
	lines := bytes.SplitN(envelope, []byte("\n"), 3)
	var ev event
	for i, into := range []any{&head, &item} {
		if err := json.Unmarshal(lines[i], into); err != nil {
			panic(err)
		}
	}
	if len(lines[2]) != item.Length+1 || lines[2][item.Length] != '\n' {
		panic("the length is not that of the event")
	}
	if err := json.Unmarshal(lines[2], &ev); err != nil {
		panic(err)
	}
	if ev.ID != head.ID || item.Type != "event" || len(ev.ID) != 32 {
		panic("the lines of the envelope do not agree")
	}
	return ev
}

func get(part func(ev event) string) func(body []byte) string {
	return func(body []byte) string { return part(read(body)) }
}

// setFact sets the only fact, and nothing else that would make tags.
func setFact(name, value string) func(*bellhop.Event, string) {
	return func(e *bellhop.Event, text string) {
		e.Fields = []bellhop.Field{{Name: strings.ReplaceAll(name, "TEXT", text), Value: strings.ReplaceAll(value, "TEXT", text)}}
	}
}

// only is the value of the only entry, or its name.
func only(m map[string]string, name bool) string {
	for k, v := range m {
		if name {
			return k
		}
		return v
	}
	return ""
}

func TestProvider(t *testing.T) {
	t.Parallel()
	limits := func(value string) map[string]string { return map[string]string{"X-Sentry-Rate-Limits": value} }
	bellhoptest.RunProvider(t, sentry.Kind, bellhoptest.ProviderOptions{
		AnswerTo: func(request []byte) string { return `{"id":"` + read(request).ID + `"}` },
		Answers: []bellhoptest.Answer{
			{Status: 200, Want: "accepted"},
			{Status: 200, Body: "{}", Want: "accepted"},
			{Status: 200, Body: `{"detail":"project is disabled"}`, Want: "retried", Says: "does not name the event"},
			{Status: 200, Body: `{"id":"fc6d8c0c43fc4630ad850ee518f1b9d0"}`, Want: "retried", Says: "does not name the event"},
			{Status: 200, Body: "<html>log in</html>", Want: "retried", Says: "does not name the event"},
			// A server that writes ids with dashes.
			{Case: "bare", Status: 200, Body: `{"id":"A40AF824-1FBF-8B5E-AA87-FD88E7227D8E"}`, Want: "accepted"},
			{Status: 429, Want: "paused", Pause: time.Minute},
			{Status: 429, Header: map[string]string{"Retry-After": "13"}, Want: "paused", Pause: 13 * time.Second},
			{Status: 429, Header: limits("90:error:organization"), Want: "paused", Pause: 90 * time.Second},
			{Status: 429, Header: limits("90::organization"), Want: "paused", Pause: 90 * time.Second},
			{Status: 429, Header: limits("90"), Want: "paused", Pause: 90 * time.Second},
			{Status: 429, Header: limits("60:transaction:key, 2700:default;error;security:organization:quota_exceeded"), Want: "paused", Pause: 45 * time.Minute},
			{Status: 429, Header: limits("120:error:key,60:error:project"), Want: "paused", Pause: 2 * time.Minute},
			{Status: 429, Header: limits("999999:error:key"), Want: "paused", Pause: time.Hour},
			{Status: 429, Header: limits("2700:transaction;session:key"), Want: "paused", Pause: time.Minute},
			{Status: 429, Header: map[string]string{"Retry-After": "7", "X-Sentry-Rate-Limits": "soon:error:key,:,"}, Want: "paused", Pause: 7 * time.Second},
			{Status: 400, Body: `{"detail":"invalid event envelope","causes":["missing newline"]}`, Want: "permanent", Says: "invalid event envelope"},
			{Status: 401, Body: `{"detail":"missing authorization information"}`, Want: "permanent", Says: "Client Keys"},
			{Status: 403, Body: `{"detail":"event submission rejected with_reason: ProjectId"}`, Want: "permanent", Says: "Client Keys"},
			{Status: 404, Want: "permanent", Says: "Client Keys"},
			{Status: 413, Body: `{"detail":"envelope exceeded size limits for type 'event'"}`, Want: "permanent", Says: "size limits"},
			{Status: 503, Body: `{"detail":"queue is full"}`, Want: "retried"},
		},
		Limits: []bellhoptest.Limit{
			{Name: "title", Max: 250, Unit: httpsend.Runes, Set: func(e *bellhop.Event, text string) { e.Title = text },
				Get: get(func(ev event) string { title, _, _ := strings.Cut(ev.LogEntry.Formatted, "\n"); return title })},
			{Name: "message", Max: 8192 - 250 - 2, Unit: httpsend.Runes, Set: func(e *bellhop.Event, text string) { e.Message = text },
				Get: get(func(ev event) string { _, message, _ := strings.Cut(ev.LogEntry.Formatted, "\n\n"); return message })},
			{Name: "title and message", Max: 8192, Unit: httpsend.Runes, Whole: true, Set: func(e *bellhop.Event, text string) { e.Title, e.Message = text, text },
				Get: get(func(ev event) string { return ev.LogEntry.Formatted })},
			{Name: "subject", Max: 200, Unit: httpsend.Runes, Set: func(e *bellhop.Event, text string) { e.Repo.Name = text },
				Get: get(func(ev event) string { return ev.Transaction })},
			{Name: "value of a tag", Max: 200, Unit: httpsend.Runes, Set: setFact("n", "TEXT"), Get: get(func(ev event) string { return ev.Tags["n"] })},
			{Name: "value of a fact", Max: 1000, Unit: httpsend.Runes, Set: setFact("n", "TEXT"), Get: get(func(ev event) string { return ev.Contexts.Facts["n"] })},
			{Name: "name of a fact", Max: 200, Unit: httpsend.Runes, Set: setFact("TEXT", "v"),
				Get: get(func(ev event) string { return only(ev.Contexts.Facts, true) })},
			{Name: "all together", Max: 200_000, Unit: httpsend.Bytes, Whole: true, Get: func(body []byte) string { return string(body) },
				Set: func(e *bellhop.Event, text string) {
					e.Title, e.Message, e.Source, e.Endpoint, e.Reason, e.Fields = text, text, text, text, text, nil
					for range 60 {
						e.Fields = append(e.Fields, bellhop.Field{Name: text, Value: text})
					}
				}},
		},
	})
}
