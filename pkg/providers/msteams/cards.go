package msteams

import (
	"fmt"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/markup"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/parts"
)

// length is what Teams counts: the request's JSON in UTF-16.
var length = markup.JSON(httpsend.UTF16)

var plain = markup.Plain(length)

// adaptive is the Markdown of Adaptive Cards: bold, italics, links and lists. Outside of lists it takes two line
// breaks to make one.
// https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-format
var adaptive = &markup.Dialect{
	Len:        length,
	Escape:     markup.Backslashes("\\*_`[]", "#>-+.)"),
	Bold:       markup.Marks{Open: "**", Close: "**"},
	Italic:     markup.Marks{Open: "_", Close: "_"},
	Bullet:     "- ",
	Indent:     "    ",
	Quote:      "│ ",
	Rule:       "———",
	LineBreak:  "\n\n",
	BlockBreak: "\n\n",
	Link: func(url, label string) string {
		if label == "" {
			label = strings.NewReplacer("*", `\*`, "_", `\_`).Replace(url)
		}
		return "[" + label + "](" + url + ")"
	},
}

// legacy is the Markdown of connectors' cards, which read HTML as well.
var legacy = func() *markup.Dialect {
	d := *adaptive
	d.Escape = func(c markup.Char) string {
		c.Text = adaptive.Escape(c)
		return markup.Entities(c)
	}
	return &d
}()

// envelope is what a workflow takes.
// https://learn.microsoft.com/connectors/teams/?tabs=text1#microsoft-teams-webhook
type envelope struct {
	Type        string       `json:"type"` // message
	Attachments []attachment `json:"attachments"`
}

type attachment struct {
	ContentType string `json:"contentType"`
	Content     card   `json:"content"`
}

// card is an Adaptive Card.
// https://adaptivecards.io/explorer/AdaptiveCard.html
type card struct {
	Schema       string    `json:"$schema"`
	Type         string    `json:"type"`
	Version      string    `json:"version"`
	FallbackText string    `json:"fallbackText"` // where cards cannot be shown
	MSTeams      msteams   `json:"msteams"`
	Body         []element `json:"body"`
	Actions      []action  `json:"actions,omitempty"`
}

// https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-format#full-width-adaptive-card
type msteams struct {
	Width string `json:"width"`
}

// element is a TextBlock or a FactSet.
type element struct {
	Type     string `json:"type"`
	Text     string `json:"text,omitzero"`
	Size     string `json:"size,omitzero"`
	Weight   string `json:"weight,omitzero"`
	Color    string `json:"color,omitzero"`
	IsSubtle bool   `json:"isSubtle,omitzero"`
	Wrap     bool   `json:"wrap,omitzero"`
	Facts    []fact `json:"facts,omitempty"`
}

type fact struct {
	Title string `json:"title"`
	Value string `json:"value"`
}

// action is an Action.OpenUrl.
type action struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	URL   string `json:"url"`
}

func adaptiveCard(e *bellhop.Event) envelope {
	title := parts.Title(e)
	c := card{
		Schema:       "http://adaptivecards.io/schemas/adaptive-card.json",
		Type:         "AdaptiveCard",
		Version:      "1.4",
		FallbackText: plain.Line(title, maxTitle),
		MSTeams:      msteams{"Full"},
		Body:         []element{{Type: "TextBlock", Text: adaptive.Line(title, maxTitle), Size: "Large", Weight: "Bolder", Wrap: true}},
	}
	if e.Severity == bellhop.Error {
		c.Body[0].Color = "Attention"
	}
	if text := adaptive.Message(e.Message, maxMessage); text != "" {
		c.Body = append(c.Body, element{Type: "TextBlock", Text: text, Wrap: true})
	}
	facts, hidden := parts.Facts(e, adaptive, factLimits)
	if len(facts) > 0 {
		set := element{Type: "FactSet"}
		for _, f := range facts {
			set.Facts = append(set.Facts, fact{f.Name, f.Value})
		}
		c.Body = append(c.Body, set)
	}
	// Teams writes these in the reader's time zone.
	// https://learn.microsoft.com/adaptive-cards/authoring-cards/text-features#datetime-example
	t := e.Time.UTC().Format("2006-01-02T15:04:05Z")
	when := "{{DATE(" + t + ",SHORT)}} {{TIME(" + t + ")}}"
	c.Body = append(c.Body, element{Type: "TextBlock", Text: parts.Origin(e, adaptive, when, hidden), Size: "Small", IsSubtle: true, Wrap: true})
	if to := parts.Link(e); to != "" {
		c.Actions = []action{{"Action.OpenUrl", "Open", to}}
	}
	return envelope{"message", []attachment{{"application/vnd.microsoft.card.adaptive", c}}}
}

// connectorCard is a MessageCard.
// https://learn.microsoft.com/outlook/actionable-messages/message-card-reference
type connectorCard struct {
	Type       string    `json:"@type"`
	Context    string    `json:"@context"`
	ThemeColor string    `json:"themeColor"`
	Summary    string    `json:"summary"` // what notifications show
	Title      string    `json:"title"`   // no Markdown
	Sections   []section `json:"sections"`
	Actions    []openURI `json:"potentialAction,omitempty"`
}

type section struct {
	Text     string          `json:"text,omitzero"`
	Facts    []connectorFact `json:"facts,omitempty"`
	Markdown bool            `json:"markdown"`
}

type connectorFact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type openURI struct {
	Type    string   `json:"@type"`
	Name    string   `json:"name"`
	Targets []target `json:"targets"`
}

type target struct {
	OS  string `json:"os"`
	URI string `json:"uri"`
}

func messageCard(e *bellhop.Event) connectorCard {
	title := plain.Line(parts.Title(e), maxTitle)
	c := connectorCard{
		Type:       "MessageCard",
		Context:    "https://schema.org/extensions",
		ThemeColor: fmt.Sprintf("%06X", parts.Color(e)),
		Summary:    title,
		Title:      title,
	}
	s := section{Text: legacy.Message(e.Message, maxMessage), Markdown: true}
	facts, hidden := parts.Facts(e, legacy, factLimits)
	for _, f := range facts {
		s.Facts = append(s.Facts, connectorFact{f.Name, f.Value})
	}
	if s.Text != "" || s.Facts != nil {
		c.Sections = append(c.Sections, s)
	}
	c.Sections = append(c.Sections, section{Text: parts.Origin(e, legacy, "", hidden), Markdown: true})
	if to := parts.Link(e); to != "" {
		c.Actions = []openURI{{"OpenUri", "Open", []target{{"default", to}}}}
	}
	return c
}
