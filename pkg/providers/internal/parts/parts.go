// Package parts takes out of an event the parts that messages to people have in common: a title, facts, where it
// came from, what it is about.
package parts

import (
	"strconv"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/markup"
)

// maxLine is how many bytes are looked at of what is shown on one line.
const maxLine = 16 << 10

// Title is the event's title, one line of plain text that is never empty.
func Title(e *bellhop.Event) string {
	if title := oneLine(e.Title); title != "" {
		return title
	}
	return oneLine(string(e.Kind) + " from " + e.Endpoint)
}

// Link is the event's link as far as a message can carry it: a web address of at most 2,000 bytes, else empty.
func Link(e *bellhop.Event) string {
	if strings.HasPrefix(e.Link, "mailto:") {
		return ""
	}
	return markup.URL(e.Link)
}

// Color is the colour of the bar or mark beside a message, 0xRRGGBB: green or, for errors, red.
func Color(e *bellhop.Event) int {
	if e.Severity == bellhop.Error {
		return 0xe01e5a
	}
	return 0x2eb67d
}

// Limits are a chat's limits on facts, in the units of its dialect; Total is what all together may take.
type Limits struct{ Count, Name, Value, Total int }

// Facts are as many of the event's facts as the limits allow, names and values written in the dialect, and how
// many are left out. Those that say nothing are left out without being counted.
func Facts(e *bellhop.Event, d *markup.Dialect, l Limits) (facts []bellhop.Field, hidden int) {
	used := 0
	for _, f := range e.Facts() {
		if hidden > 0 || len(facts) == l.Count {
			hidden++
			continue
		}
		f = bellhop.Field{Name: d.Line(f.Name, l.Name), Value: value(d, f.Value, l.Value)}
		if f.Name == "" && f.Value == "" {
			continue
		}
		n := d.Len(f.Name) + d.Len(f.Value)
		if used+n > l.Total {
			hidden++
			continue
		}
		used += n
		facts = append(facts, f)
	}
	return facts, hidden
}

// value is a fact's value; an address is a link, or escapes would break it.
func value(d *markup.Dialect, s string, limit int) string {
	if to := markup.URL(s); to != "" && !strings.HasPrefix(to, "mailto:") {
		if link := d.LinkTo(to, "", limit); d.Len(link) <= limit {
			return link
		}
	}
	return d.Text(s, limit)
}

// maxName is how much is shown of a source's or an endpoint's name, in the units of the dialect.
const maxName = 60

// Origin is the small print: where the event came from, when, as the chat spells a time, empty if it shows the
// time by itself, and how many facts are hidden: "github · app-repo · … and 2 more facts". It is never empty.
func Origin(e *bellhop.Event, d *markup.Dialect, when string, hidden int) string {
	var words []string
	for _, s := range []string{e.Source, e.Endpoint} {
		if s = d.Line(s, maxName); s != "" {
			words = append(words, s)
		}
	}
	if when != "" && !e.Time.IsZero() {
		words = append(words, when)
	}
	if hidden > 0 {
		words = append(words, "… and "+strconv.Itoa(hidden)+" more facts")
	}
	if words == nil {
		return "Bellhop"
	}
	return strings.Join(words, " · ")
}

// Subject is what the event is about, so that events about the same thing can be gathered: a pull request, a
// repository, an image or an object of the cluster. It is empty if nobody knows.
func Subject(e *bellhop.Event) string {
	switch o := e.InvolvedObject; {
	case e.Repo.Name != "" && e.PullRequest.Number != 0:
		return e.Repo.Name + "#" + strconv.FormatInt(e.PullRequest.Number, 10)
	case e.Repo.Name != "":
		return e.Repo.Name
	case e.Image.Name != "":
		return e.Image.Name
	case o.Name != "":
		return strings.Trim(o.Kind+"/"+o.Namespace+"/"+o.Name, "/")
	}
	return ""
}

func oneLine(s string) string { return httpsend.OneLine(s[:min(len(s), maxLine)]) }
