package harbor

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/image"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// message is a payload of either format: Default has the event's data in event_data, CloudEvents in data.
// https://github.com/goharbor/harbor/blob/main/src/pkg/notifier/formats
type message struct {
	Type      string `json:"type"`
	Operator  string `json:"operator"` // who did it: a user, a robot, MANUAL, auto
	EventData data   `json:"event_data"`

	SpecVersion string `json:"specversion"`
	ID          string `json:"id"`
	Data        data   `json:"data"`
}

// data: https://github.com/goharbor/harbor/blob/main/src/pkg/notifier/model/event.go
type data struct {
	Resources  []resource `json:"resources"`
	Repository struct {
		FullName string `json:"repo_full_name"` // project/name
	} `json:"repository"`
	Replication *replication `json:"replication"`
	Retention   *retention   `json:"retention"`
	Custom      struct {
		Details payload.Text `json:"Details"` // of a quota
	} `json:"custom_attributes"`
}

type resource struct {
	Digest string            `json:"digest"`
	Tag    string            `json:"tag"`           // the digest once more, where there is no tag
	URL    string            `json:"resource_url"`  // host/project/name:tag or host/project/name@digest; a quota has none
	Scan   map[string]report `json:"scan_overview"` // by the media type of the report
}

type report struct {
	Severity payload.Text `json:"severity"` // None, Negligible, Low, Medium, High, Critical, Unknown
	Summary  struct {
		Total   int            `json:"total"`
		Fixable int            `json:"fixable"`
		Summary map[string]int `json:"summary"` // by severity
	} `json:"summary"`
}

type replication struct {
	Hostname    string     `json:"harbor_hostname"`
	Status      string     `json:"job_status"` // Success, Failed, Stopped, InProgress
	Description string     `json:"description"`
	Source      location   `json:"src_resource"`
	Destination location   `json:"dest_resource"`
	Successful  []artifact `json:"successful_artifact"`
	Failed      []artifact `json:"failed_artifact"`
}

type location struct {
	Endpoint  string `json:"endpoint"` // https://hub.docker.com
	Namespace string `json:"namespace"`
}

// String is the host and the namespace.
func (l *location) String() string {
	_, host, _ := strings.Cut(l.Endpoint, "://")
	return image.Join(host, l.Namespace)
}

type artifact struct {
	NameTag    string `json:"name_tag"`
	FailReason string `json:"fail_reason"`
}

type retention struct {
	Hostname string     `json:"harbor_hostname"`
	Project  string     `json:"project_name"`
	Total    int        `json:"total"`
	Result   string     `json:"result"` // SUCCESS, FAILED
	Deleted  []artifact `json:"deleted_artifact"`
}

// topic is what an event type is about.
type topic struct {
	describe func(e *bellhop.Event, d *data)
	// each: every resource is an event of its own.
	each bool
}

// topics are the event types in lower case: those of Default, of CloudEvents, and of Harbor 1.
var topics = func() map[string]topic {
	pushed := topic{func(e *bellhop.Event, _ *data) { image.Pushed(e) }, true}
	deleted := topic{func(e *bellhop.Event, _ *data) { image.Deleted(e) }, true}
	pulled := topic{func(e *bellhop.Event, _ *data) { image.Describe(e, "pulled") }, true}
	chart := func(reason, deed string) topic {
		return topic{func(e *bellhop.Event, d *data) { describeChart(e, d, reason, deed) }, true}
	}
	scanned := topic{describeScan, true}
	unscanned := func(reason, outcome string, s bellhop.Severity) topic {
		return topic{func(e *bellhop.Event, _ *data) {
			describeAlert(e, reason, "scan of "+image.Short(e.Image)+": "+outcome, "", s)
		}, true}
	}
	quota := func(reason, outcome string, s bellhop.Severity) topic {
		return topic{func(e *bellhop.Event, d *data) {
			describeAlert(e, reason, "quota "+outcome+": "+d.Repository.FullName, text.Escape(string(d.Custom.Details)), s)
		}, false}
	}
	return map[string]topic{
		"push_artifact": pushed, "harbor.artifact.pushed": pushed, "pushimage": pushed,
		"create_tag": pushed, "harbor.tag.created": pushed,
		"delete_artifact": deleted, "harbor.artifact.deleted": deleted, "deleteimage": deleted,
		"delete_tag": deleted, "harbor.tag.deleted": deleted,
		"pull_artifact": pulled, "harbor.artifact.pulled": pulled, "pullimage": pulled,
		"upload_chart": chart("ChartUpload", "uploaded"), "uploadchart": chart("ChartUpload", "uploaded"),
		"delete_chart": chart("ChartDelete", "deleted"), "deletechart": chart("ChartDelete", "deleted"),
		"download_chart": chart("ChartDownload", "downloaded"), "downloadchart": chart("ChartDownload", "downloaded"),
		"scanning_completed": scanned, "harbor.scan.completed": scanned, "scanningcompleted": scanned,
		"scanning_failed":       unscanned("ScanFailed", "failed", bellhop.Error),
		"harbor.scan.failed":    unscanned("ScanFailed", "failed", bellhop.Error),
		"scanningfailed":        unscanned("ScanFailed", "failed", bellhop.Error),
		"scanning_stopped":      unscanned("ScanStopped", "stopped", bellhop.Info),
		"harbor.scan.stopped":   unscanned("ScanStopped", "stopped", bellhop.Info),
		"quota_exceed":          quota("QuotaExceeded", "exceeded", bellhop.Error),
		"harbor.quota.exceeded": quota("QuotaExceeded", "exceeded", bellhop.Error),
		"quota_warning":         quota("QuotaWarning", "nearly used up", bellhop.Info),
		"harbor.quota.warned":   quota("QuotaWarning", "nearly used up", bellhop.Info),
		"replication":           {describeReplication, false}, "harbor.replication.status.changed": {describeReplication, false},
		"tag_retention": {describeRetention, false}, "harbor.tag_retention.finished": {describeRetention, false},
	}
}()

// Parse makes one event of every request, or one for every artifact that was pushed, deleted, pulled or scanned.
func (s *source) Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	body, err := payload.JSON(r)
	if err != nil {
		return nil, err
	}
	var p message
	err = payload.Decode(body, &p)
	odd := errors.Is(err, payload.ErrShape) // half understood is not understood
	if odd {
		payload.Salvage(body, &p)
	} else if err != nil {
		return nil, err
	}
	d := &p.EventData
	e := bellhop.Event{Type: p.Type, Actor: p.Operator}
	if p.SpecVersion != "" {
		d, e.DeliveryID = &p.Data, p.ID
	}
	about, understood := topics[strings.ToLower(p.Type)]
	if odd || !understood {
		e.Reason = text.Camel(strings.ToLower(p.Type))
		describe.Other(&e, strings.TrimSpace("Harbor event "+text.Words(strings.ToLower(p.Type))), "")
		return []bellhop.Event{e}, nil
	}
	e.Image.Name = d.Repository.FullName
	if !about.each || len(d.Resources) > image.Most {
		if len(d.Resources) == 1 {
			e.Image = d.Resources[0].image(d)
		}
		about.describe(&e, d)
		return []bellhop.Event{e}, nil
	}
	resources := d.Resources
	if len(resources) == 0 {
		resources = make([]resource, 1) // of which nothing is known
	}
	events := make([]bellhop.Event, len(resources))
	for i := range resources {
		events[i] = e
		events[i].Image = resources[i].image(d)
		about.describe(&events[i], &data{Resources: resources[i : i+1], Repository: d.Repository})
	}
	return events, nil
}

func (r *resource) image(d *data) bellhop.Image {
	i := image.Parse(r.URL)
	if i.Name == "" {
		i.Name = d.Repository.FullName
	}
	if r.Digest != "" {
		i.Digest = r.Digest
	}
	if r.Tag != "" && !image.IsDigest(r.Tag) {
		i.Tag = r.Tag
	}
	return i
}

// describeChart describes a chart of ChartMuseum, which Harbor had until 2.8; those of today are artifacts.
func describeChart(e *bellhop.Event, d *data, reason, deed string) {
	chart := bellhop.Image{Name: d.Repository.FullName}
	if len(d.Resources) == 1 {
		chart.Tag = d.Resources[0].Tag
	}
	e.Kind, e.Reason, e.Image = bellhop.KindPackage, reason, bellhop.Image{}
	describe.Other(e, "chart "+chart.String()+" "+deed, "")
}

func describeAlert(e *bellhop.Event, reason, what, note string, s bellhop.Severity) {
	e.Kind, e.Reason, e.Severity = bellhop.KindAlert, reason, s
	describe.Other(e, what, note)
}

// severities from worst to best.
var severities = []string{"Critical", "High", "Medium", "Low", "Negligible", "Unknown"}

func describeScan(e *bellhop.Event, d *data) {
	severity, outcome := bellhop.Info, "no vulnerabilities"
	if len(d.Resources) == 1 {
		scans := d.Resources[0].Scan
		for _, mediaType := range slices.Sorted(maps.Keys(scans)) {
			r := scans[mediaType]
			if r.Severity == "Critical" || r.Severity == "High" {
				severity = bellhop.Error
			}
			if r.Summary.Total > 0 {
				outcome = r.outcome()
			}
		}
	} else {
		outcome = fmt.Sprintf("%d artifacts", len(d.Resources))
	}
	describeAlert(e, "ScanCompleted", "scan of "+image.Short(e.Image)+": "+outcome, "", severity)
}

// outcome is "7 vulnerabilities (1 critical, 6 low), 3 fixable".
func (r *report) outcome() string {
	s := fmt.Sprintf("%d vulnerabilities", r.Summary.Total)
	if r.Summary.Total == 1 {
		s = "1 vulnerability"
	}
	var counts []string
	for _, severity := range severities {
		if n := r.Summary.Summary[severity]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, strings.ToLower(severity)))
		}
	}
	if counts != nil {
		s += " (" + strings.Join(counts, ", ") + ")"
	}
	if r.Summary.Fixable > 0 {
		s += fmt.Sprintf(", %d fixable", r.Summary.Fixable)
	}
	return s
}

func describeReplication(e *bellhop.Event, d *data) {
	p := d.Replication
	if p == nil {
		p = new(replication)
	}
	e.Reason = text.Camel("replication", strings.ToLower(p.Status))
	status := cmp.Or(strings.ToLower(p.Status), "finished")
	switch {
	case len(p.Failed) > 0:
		e.Severity = bellhop.Error
		status += fmt.Sprintf(", %d of %d artifacts failed", len(p.Failed), len(p.Failed)+len(p.Successful))
	case strings.EqualFold(p.Status, "Failed"), strings.EqualFold(p.Status, "Error"):
		e.Severity = bellhop.Error
	}
	what := "replication"
	if from := p.Source.String(); from != "" {
		what += " from " + from
	}
	if to := p.Destination.String(); to != "" {
		what += " to " + to
	}
	describe.Other(e, what+": "+status, list(append(slices.Clip(p.Failed), p.Successful...)))
}

func describeRetention(e *bellhop.Event, d *data) {
	p := d.Retention
	if p == nil {
		p = new(retention)
	}
	e.Kind, e.Reason = bellhop.KindOther, "TagRetention"
	if len(p.Deleted) > 0 {
		e.Kind = bellhop.KindImageDelete
	}
	if len(p.Deleted) == 1 {
		e.Image = image.Parse(p.Deleted[0].NameTag)
		e.Image.Name = image.Join(p.Hostname, p.Project, e.Image.Name)
	}
	if p.Result != "" && !strings.EqualFold(p.Result, "SUCCESS") {
		e.Severity = bellhop.Error
	}
	what := strings.TrimSpace("tag retention in "+image.Join(p.Hostname, p.Project)) + ": "
	what += fmt.Sprintf("%d of %d artifacts deleted", len(p.Deleted), p.Total)
	if e.Severity == bellhop.Error {
		what += ", " + strings.ToLower(p.Result)
	}
	describe.Other(e, what, list(p.Deleted))
}

// mostListed is how many artifacts a message names.
const mostListed = 10

// list names artifacts, one a line.
func list(artifacts []artifact) string {
	var b strings.Builder
	for i, a := range artifacts {
		if i == mostListed {
			fmt.Fprintf(&b, "- and %d more\n", len(artifacts)-i)
			break
		}
		b.WriteString("- " + cmp.Or(text.Code(a.NameTag), "an artifact"))
		if reason := text.Escape(a.FailReason); reason != "" {
			b.WriteString(": " + reason)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
