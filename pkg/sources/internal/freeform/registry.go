package freeform

import (
	"cmp"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/image"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
)

// registry is what registries without a source of their own post.
type registry struct {
	// CNCF Distribution, the registry that many others are made of; some copies of it capitalise the names.
	// https://distribution.github.io/distribution/about/notifications/#envelope
	Events []distributed `json:",case:ignore"`

	// Alibaba Cloud: https://www.alibabacloud.com/help/en/acr/user-guide/manage-webhooks
	PushData struct {
		Digest payload.Text `json:"digest"`
		Tag    payload.Text `json:"tag"`
	} `json:"push_data"`
	Repository struct {
		FullName payload.Text `json:"repo_full_name"`
	} `json:"repository"`

	// JFrog Artifactory, in its domain "docker": https://jfrog.com/help/r/jfrog-platform-administration-documentation/domain-docker
	Domain    payload.Text `json:"domain"`
	EventType payload.Text `json:"event_type"` // pushed, deleted, promoted
	Data      struct {
		RepoKey   payload.Text `json:"repo_key"`
		ImageName payload.Text `json:"image_name"`
		Tag       payload.Text `json:"tag"`
		SHA256    payload.Text `json:"sha256"` // of the manifest
	} `json:"data"`
	Origin payload.Text `json:"jpd_origin"` // https://example.jfrog.io
	Source payload.Text `json:"source"`     // jfrog/user
}

// distributed is one event of Distribution.
type distributed struct {
	ID     payload.Text `json:",case:ignore"`
	Action payload.Text `json:",case:ignore"` // push, pull, mount, delete
	Target struct {
		MediaType  payload.Text `json:",case:ignore"`
		Digest     payload.Text `json:",case:ignore"`
		Repository payload.Text `json:",case:ignore"`
		URL        payload.Text `json:",case:ignore"`
		Tag        payload.Text `json:",case:ignore"`
	} `json:",case:ignore"`
	Request struct {
		Host payload.Text `json:",case:ignore"`
	} `json:",case:ignore"`
	Actor struct {
		Name payload.Text `json:",case:ignore"`
	} `json:",case:ignore"`
}

// images makes the events of what a registry posted: an event for each image, none for layers. It reports false for
// JSON of other shapes.
func images(body []byte) ([]bellhop.Event, bool) {
	var p registry
	payload.Salvage(body, &p)
	switch {
	case len(p.Events) > 0 && p.Events[0].Action != "" && p.Events[0].Target.Repository != "":
		var events []bellhop.Event
		for i := range p.Events {
			if d := &p.Events[i]; d.isImage() {
				events = append(events, d.event())
			}
		}
		if len(events) > image.Most {
			events = events[:1]
			events[0].Image.Tag, events[0].Image.Digest = "", ""
		}
		for i := range events {
			settle(&events[i])
		}
		return events, true
	case p.PushData.Tag != "" && p.Repository.FullName != "":
		e := bellhop.Event{
			Type:  "push",
			Image: bellhop.Image{Name: string(p.Repository.FullName), Tag: string(p.PushData.Tag), Digest: string(p.PushData.Digest)},
		}
		settle(&e)
		return []bellhop.Event{e}, true
	case p.Domain == "docker" && p.Data.ImageName != "":
		e := bellhop.Event{Type: string(p.EventType), Actor: string(p.Source)}
		e.Image = bellhop.Image{Name: image.Join(host(p.Origin), string(p.Data.RepoKey), string(p.Data.ImageName)), Tag: string(p.Data.Tag)}
		if p.Data.SHA256 != "" {
			e.Image.Digest = "sha256:" + string(p.Data.SHA256)
		}
		settle(&e)
		return []bellhop.Event{e}, true
	}
	return nil, false
}

// settle finds the words by the type.
func settle(e *bellhop.Event) {
	switch e.Type {
	case "push", "pushed":
		image.Pushed(e)
	case "delete", "deleted":
		image.Deleted(e)
	case "pull":
		image.Describe(e, "pulled")
	default:
		image.Describe(e, cmp.Or(e.Type, "changed"))
	}
}

// isImage reports whether it is about a manifest. Of a deletion nobody knows.
func (d *distributed) isImage() bool {
	if d.Target.MediaType == "" {
		return !strings.Contains(string(d.Target.URL), "/blobs/")
	}
	return strings.Contains(string(d.Target.MediaType), "manifest") || strings.Contains(string(d.Target.MediaType), "image.index")
}

func (d *distributed) event() bellhop.Event {
	at := string(d.Request.Host)
	if at == "" {
		at = host(d.Target.URL)
	}
	return bellhop.Event{
		Type:       string(d.Action),
		DeliveryID: string(d.ID),
		Actor:      string(d.Actor.Name),
		Image:      bellhop.Image{Name: image.Join(at, string(d.Target.Repository)), Tag: string(d.Target.Tag), Digest: string(d.Target.Digest)},
	}
}

// host is that of a web address, with its port.
func host(address payload.Text) string {
	_, rest, _ := strings.Cut(string(address), "://")
	at, _, _ := strings.Cut(rest, "/")
	return at
}
