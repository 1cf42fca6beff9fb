package alertmanager

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/freeform"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// group is a notification, version 4.
//
// https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
type group struct {
	Status            string            `json:"status"` // firing if any of the alerts is, else resolved
	Alerts            []alert           `json:"alerts"`
	TruncatedAlerts   int               `json:"truncatedAlerts"` // how many more there are, beyond max_alerts
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"` // Alertmanager's own
	GroupKey          string            `json:"groupKey"`
}

type alert struct {
	Status       string            `json:"status"` // firing, resolved
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	GeneratorURL string            `json:"generatorURL"` // the rule's graph in Prometheus
}

const (
	firing   = "firing"
	resolved = "resolved"
)

// Parse makes one event of every request.
func (source) Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	body, err := payload.JSON(r)
	if err != nil {
		return nil, err
	}
	var g group
	err = payload.Decode(body, &g)
	switch {
	case err != nil && !errors.Is(err, payload.ErrShape):
		return nil, err
	case err != nil || g.GroupKey == "" || g.Status != firing && g.Status != resolved:
		return freeform.Parse(r)
	}
	e := bellhop.Event{
		Type:     g.Status,
		Kind:     bellhop.KindAlert,
		Severity: g.severity(),
		Reason:   text.Camel("alert", g.Status),
		Link:     text.Web(g.ExternalURL),
	}
	if len(g.CommonLabels) > 0 {
		e.Metadata = g.CommonLabels
	}
	if len(g.Alerts) == 1 {
		e.Link = text.Web(g.Alerts[0].GeneratorURL, e.Link)
	}
	e.Title, e.Message = g.title(), g.message()
	describe.Other(&e, e.Title, "")
	return []bellhop.Event{e}, nil
}

// mild are severities of alerts that report no trouble. There is no list of severities but what people write.
var mild = []string{"info", "informational", "notice", "none", "debug", "ok"}

func (g *group) severity() bellhop.Severity {
	if g.Status != firing {
		return bellhop.Info
	}
	for i := range g.Alerts {
		a := &g.Alerts[i]
		if a.Status != resolved && !slices.Contains(mild, strings.ToLower(a.Labels["severity"])) {
			return bellhop.Error
		}
	}
	if len(g.Alerts) == 0 {
		return bellhop.Error
	}
	return bellhop.Info
}

// title is "HighLatency firing: The lift is slow" for one alert, for more "2 alerts firing, 1 resolved: HighLatency:
// The lift is slow" or, if they are of several rules, "3 alerts firing: DiskFull, HighLatency".
func (g *group) title() string {
	rule := text.Line(g.CommonLabels["alertname"])
	var what, about string
	if fires, ended := g.count(); len(g.Alerts) == 1 && g.TruncatedAlerts == 0 {
		what, about = cmp.Or(rule, "alert")+" "+g.Status, g.Alerts[0].about()
	} else {
		what = counted(len(g.Alerts)+g.TruncatedAlerts) + " " + g.Status
		if fires > 0 && ended > 0 {
			what = fmt.Sprintf("%s firing, %d resolved", counted(fires), ended)
		}
		about = g.names()
		if summary := text.Line(g.CommonAnnotations["summary"]); summary != "" && rule != "" {
			about = rule + ": " + summary
		}
	}
	if about != "" {
		what += ": " + about
	}
	return text.Line(what)
}

// count is how many of the listed alerts fire, and how many are resolved.
func (g *group) count() (fires, ended int) {
	for i := range g.Alerts {
		if g.Alerts[i].Status == resolved {
			ended++
		} else {
			fires++
		}
	}
	return fires, ended
}

// names are the alerts' names, each once.
func (g *group) names() string {
	seen := map[string]bool{}
	for i := range g.Alerts {
		if name := text.Line(g.Alerts[i].Labels["alertname"]); name != "" {
			seen[name] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), ", ")
}

func counted(n int) string {
	switch n {
	case 0:
		return "alerts"
	case 1:
		return "1 alert"
	}
	return fmt.Sprintf("%d alerts", n)
}

// maxAlerts is how many alerts a message lists.
const maxAlerts = 10

// message lists the alerts, firing ones first, each with what tells it from the others, and then what they have in
// common.
func (g *group) message() string {
	listed := slices.Clone(g.Alerts)
	slices.SortStableFunc(listed, func(a, b alert) int { return a.rank() - b.rank() })
	more := g.TruncatedAlerts
	if len(listed) > maxAlerts {
		more += len(listed) - maxAlerts
		listed = listed[:maxAlerts]
	}
	common := alert{Labels: g.CommonLabels} // which are the event's metadata
	if len(g.Alerts) > 1 {
		common.Annotations = g.CommonAnnotations
	}
	var b strings.Builder
	for i := range listed {
		b.WriteString("- ")
		listed[i].line(&b, &common)
		b.WriteByte('\n')
	}
	if more > 0 {
		fmt.Fprintf(&b, "- and %d more\n", more)
	}
	message := strings.TrimSuffix(b.String(), "\n")
	if message == "" {
		return ""
	}
	for _, shared := range []string{text.Escape(common.about()), common.runbook()} {
		if shared != "" {
			message += "\n\n" + shared
		}
	}
	e := bellhop.Event{Message: message}
	if description := g.CommonAnnotations["description"]; len(g.Alerts) == 0 || text.Body(description) != g.Alerts[0].about() {
		describe.Note(&e, description)
	}
	return e.Message
}

func (a *alert) rank() int {
	if a.Status == resolved {
		return 1
	}
	return 0
}

// about is what the alert says of itself in one line.
func (a *alert) about() string {
	for _, name := range []string{"summary", "message", "title", "description"} {
		if line := text.Line(a.Annotations[name]); line != "" {
			return line
		}
	}
	return ""
}

// runbook is a link to what to do, empty if there is none.
func (a *alert) runbook() string {
	if url := text.Web(a.Annotations["runbook_url"]); url != "" {
		return text.Link("runbook", url)
	}
	return ""
}

// line is "**firing** [HighLatency](graph): The lift is slow, `floor=3`, since 2026-01-02 03:04 UTC" without what
// all alerts have in common.
func (a *alert) line(b *strings.Builder, common *alert) {
	b.WriteString("**" + text.Escape(cmp.Or(a.Status, firing)) + "** ")
	b.WriteString(text.Link(cmp.Or(text.Escape(a.Labels["alertname"]), "alert"), a.GeneratorURL))
	if about := a.about(); about != "" && about != common.about() {
		b.WriteString(": " + text.Escape(about))
	}
	for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
		if value, ok := common.Labels[name]; ok && value == a.Labels[name] || name == "alertname" {
			continue
		}
		b.WriteString(", " + text.Code(name+"="+a.Labels[name]))
	}
	if a.Status != resolved && !a.StartsAt.IsZero() {
		b.WriteString(", since " + a.StartsAt.UTC().Format("2006-01-02 15:04 MST"))
	}
	if runbook := a.runbook(); runbook != "" && runbook != common.runbook() {
		b.WriteString(", " + runbook)
	}
}
