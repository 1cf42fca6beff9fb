package slack_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/slack"
)

// message is what the limits are found in.
type message struct {
	Text        string `json:"text"`
	Attachments []struct {
		Fallback string `json:"fallback"`
		Blocks   []struct {
			Type   string   `json:"type"`
			Text   object   `json:"text"`
			Fields []object `json:"fields"`
		} `json:"blocks"`
	} `json:"attachments"`
}

type object struct {
	Text string `json:"text"`
}

// get finds a part of a message; no such part is an empty one.
func get(part func(m message) string) func(body []byte) string {
	return func(body []byte) string {
		var m message
		if err := json.Unmarshal(body, &m); err != nil {
			panic(err)
		}
		return part(m)
	}
}

func section(m message) string {
	for _, b := range m.Attachments[0].Blocks {
		if b.Type == "section" && b.Fields == nil {
			return b.Text.Text
		}
	}
	return ""
}

func field(m message) string {
	for _, b := range m.Attachments[0].Blocks {
		if len(b.Fields) > 0 {
			return b.Fields[0].Text
		}
	}
	return ""
}

func setValue(e *bellhop.Event, text string) { e.Fields = []bellhop.Field{{Name: "n", Value: text}} }

func TestProvider(t *testing.T) {
	t.Parallel()
	bellhoptest.RunProvider(t, slack.Kind, bellhoptest.ProviderOptions{
		Answer: `{"ok":true,"channel":"C1","ts":"1.2"}`,
		Limits: []bellhoptest.Limit{
			{Name: "title", Max: 150, Unit: httpsend.UTF16, Set: func(e *bellhop.Event, text string) { e.Title, e.Link = text, "" },
				Get: get(func(m message) string { return strings.TrimSuffix(strings.TrimPrefix(m.Text, "*"), "*") })},
			{Name: "fallback", Max: 150, Unit: httpsend.UTF16, Set: func(e *bellhop.Event, text string) { e.Title = text },
				Get: get(func(m message) string { return m.Attachments[0].Fallback })},
			{Name: "message", Max: 3000, Unit: httpsend.UTF16, Set: func(e *bellhop.Event, text string) { e.Message = text },
				Get: get(section)},
			{Name: "value of a fact", Max: 300, Unit: httpsend.UTF16, Set: setValue,
				Get: get(func(m message) string { return strings.TrimPrefix(field(m), "*n*\n") })},
			{Name: "name of a fact", Max: 60, Unit: httpsend.UTF16,
				Set: func(e *bellhop.Event, text string) { e.Fields = []bellhop.Field{{Name: text, Value: "v"}} },
				Get: get(func(m message) string { return strings.TrimSuffix(strings.TrimPrefix(field(m), "*"), "*\nv") })},
		},
	})
}
