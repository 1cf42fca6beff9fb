package quay

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/git"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/image"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// message is what all notifications have, and what tells them apart.
// https://docs.redhat.com/en/documentation/red_hat_quay/3/html/use_red_hat_quay/repository-events
type message struct {
	DockerURL string `json:"docker_url"` // quay.io/namespace/name
	Homepage  string `json:"homepage"`   // of the repository, or the build

	// A push.
	UpdatedTags []string `json:"updated_tags"`
	Pruned      int      `json:"pruned_image_count"`

	// Vulnerabilities, one or several, and images about to expire.
	Tags            []string        `json:"tags"`
	Vulnerability   vulnerability   `json:"vulnerability"`
	Vulnerabilities []vulnerability `json:"vulnerabilities"` // worst first
	ExpiringIn      string          `json:"expiring_in"`     // "5 days"

	// A build. What became of it only some of these fields tell.
	BuildID         string           `json:"build_id"`
	DockerTags      []string         `json:"docker_tags"`
	IsManual        *bool            `json:"is_manual"`        // of a queued one
	ImageID         string           `json:"image_id"`         // of one that succeeded
	ManifestDigests []string         `json:"manifest_digests"` // likewise
	ErrorMessage    string           `json:"error_message"`    // of one that failed
	ManualUser      string           `json:"manual_user"`
	Trigger         *triggerMetadata `json:"trigger_metadata"`

	// Mirroring: what is mirrored, and how that goes.
	Message payload.Text `json:"message"`
}

type vulnerability struct {
	ID          string `json:"id"`
	Description string `json:"description"`
	Link        string `json:"link"`
	Priority    string `json:"priority"` // Critical, High, Medium, Low, Negligible, Unknown
}

type triggerMetadata struct {
	Ref        string `json:"ref"`
	Commit     string `json:"commit"`
	GitURL     string `json:"git_url"`
	CommitInfo struct {
		Message string `json:"message"`
		Author  struct {
			Username string `json:"username"`
		} `json:"author"`
	} `json:"commit_info"`
}

// Parse makes one event of every notification, of a push one for every tag.
func (source) Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	body, err := payload.JSON(r)
	if err != nil {
		return nil, err
	}
	var p message
	err = payload.Decode(body, &p)
	if err != nil && !errors.Is(err, payload.ErrShape) {
		return nil, err
	}
	e := bellhop.Event{}
	if err == nil {
		e.Image.Name, e.Link = p.DockerURL, text.Web(p.Homepage)
	}
	switch {
	case err != nil || p.DockerURL == "": // half understood is not understood
	case p.isTest():
		e.Type, e.Kind, e.Reason = "test", bellhop.KindPing, "Ping"
		describe.Other(&e, "test notification of "+p.DockerURL, "")
	case p.UpdatedTags != nil:
		return p.pushes(e), nil
	case p.worst() != nil:
		p.vulnerable(&e)
	case p.ExpiringIn != "":
		e.Type, e.Kind, e.Reason = "repo_image_expiry", bellhop.KindAlert, "ImageExpiry"
		describe.Other(&e, "images expire in "+p.ExpiringIn+": "+p.tagged(&e, p.Tags), "")
	case p.BuildID != "":
		p.build(&e)
	case p.Message != "":
		e.Type, e.Reason = "repo_mirror", "RepoMirror"
		describe.Other(&e, "mirroring to "+p.DockerURL+": "+string(p.Message), "")
	}
	if e.Title == "" {
		e.Reason = "Event"
		describe.Other(&e, strings.TrimSpace("Quay notification "+e.Image.Name), "")
	}
	return []bellhop.Event{e}, nil
}

// isTest recognises what "Test Notification" sends.
// https://github.com/quay/quay/blob/master/notifications/notificationevent.py (get_sample_data)
func (p *message) isTest() bool {
	return slices.Equal(p.UpdatedTags, []string{"latest", "foo"}) && p.Pruned == 3 ||
		p.Vulnerability.ID == "CVE-FAKE-CVE" ||
		p.BuildID == "fake-build-id" ||
		p.Message == "TEST NOTIFICATION"
}

func (p *message) pushes(template bellhop.Event) []bellhop.Event {
	template.Type = "repo_push"
	switch n := len(p.UpdatedTags); {
	case n == 0:
		image.Pushed(&template)
		return []bellhop.Event{template}
	case n > image.Most:
		template.Kind, template.Reason = bellhop.KindImagePush, "ImagePush"
		image.Describe(&template, fmt.Sprintf("pushed with %d tags", n))
		return []bellhop.Event{template}
	}
	events := make([]bellhop.Event, len(p.UpdatedTags))
	for i, tag := range p.UpdatedTags {
		e := &events[i]
		*e = template
		e.Image.Tag = tag
		image.Pushed(e)
	}
	return events
}

// worst is the vulnerability that the notification is about, nil if it is about something else.
func (p *message) worst() *vulnerability {
	switch {
	case len(p.Vulnerabilities) > 0:
		return &p.Vulnerabilities[0]
	case p.Vulnerability != vulnerability{}:
		return &p.Vulnerability
	}
	return nil
}

func (p *message) vulnerable(e *bellhop.Event) {
	v := p.worst()
	e.Type, e.Kind, e.Reason = "vulnerability_found", bellhop.KindAlert, "VulnerabilityFound"
	if v.Priority == "Critical" || v.Priority == "High" {
		e.Severity = bellhop.Error
	}
	what := strings.TrimSpace(v.Priority + " vulnerability")
	if v.ID != "" {
		what += " " + v.ID
	}
	if more := len(p.Vulnerabilities) - 1; more > 0 {
		what += fmt.Sprintf(" and %d more", more)
	}
	note := text.Escape(v.Description)
	if link := text.Web(v.Link); link != "" {
		note = strings.TrimSpace(note + "\n" + text.Link(text.Escape(cmp.Or(v.ID, "details")), link))
	}
	describe.Other(e, what+" in "+p.tagged(e, p.Tags), note)
}

// tagged names the image with its tags, of which the first becomes the event's.
func (p *message) tagged(e *bellhop.Event, tags []string) string {
	if len(tags) == 0 {
		return p.DockerURL
	}
	e.Image.Tag = tags[0]
	name := image.Short(e.Image)
	if more := len(tags) - 1; more > 0 {
		name += fmt.Sprintf(" (and %d more)", more)
	}
	return name
}

func (p *message) build(e *bellhop.Event) {
	e.Type, e.Kind, e.Reason = "build", bellhop.KindCI, "Build"
	outcome, note := "started or cancelled", ""
	switch {
	case p.ErrorMessage != "":
		e.Type, e.Reason, e.Severity, outcome, note = "build_failure", "BuildFailed", bellhop.Error, "failed", text.Escape(p.ErrorMessage)
	case p.ImageID != "" || len(p.ManifestDigests) > 0:
		e.Type, e.Reason, outcome = "build_success", "BuildSucceeded", "succeeded"
	case p.IsManual != nil:
		e.Type, e.Reason, outcome = "build_queued", "BuildQueued", "queued"
	}
	if len(p.ManifestDigests) == 1 {
		e.Image.Digest = p.ManifestDigests[0]
	}
	e.Actor = p.ManualUser
	if t := p.Trigger; t != nil {
		git.SetRef(e, t.Ref)
		e.Commit, e.Actor = t.Commit, cmp.Or(e.Actor, t.CommitInfo.Author.Username)
		if strings.HasPrefix(t.GitURL, "https://") || strings.HasPrefix(t.GitURL, "http://") {
			e.Repo.HTTPURL = t.GitURL
		} else {
			e.Repo.SSHURL = t.GitURL
		}
	}
	describe.Other(e, "build of "+p.tagged(e, p.DockerTags)+": "+outcome, note)
}
