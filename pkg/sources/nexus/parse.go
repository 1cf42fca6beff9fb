package nexus

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/image"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// message is every payload; which of its objects is there depends on the event type.
// https://help.sonatype.com/en/example-headers-and-payloads.html
type message struct {
	Initiator      string     `json:"initiator"` // user/address
	RepositoryName string     `json:"repositoryName"`
	Action         string     `json:"action"`
	Component      *component `json:"component"`
	Components     []string   `json:"components"` // ids of those that were purged
	Asset          *asset     `json:"asset"`
	Assets         []string   `json:"assets"`
	Repository     *struct {
		Format string `json:"format"`
		Name   string `json:"name"`
		Type   string `json:"type"` // hosted, proxy, group
	} `json:"repository"`
	Audit *struct {
		Domain  string `json:"domain"`
		Type    string `json:"type"`
		Context string `json:"context"`
	} `json:"audit"`
}

type component struct {
	Format  string `json:"format"` // docker, npm, maven2, …
	Name    string `json:"name"`
	Group   string `json:"group"`
	Version string `json:"version"`
}

type asset struct {
	Format string `json:"format"`
	Name   string `json:"name"` // a path, such as v2/app/manifests/1.0
}

// docker is the format of container images.
const docker = "docker"

// Parse makes one event of every request.
func (s *source) Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	body, err := payload.JSON(r)
	if err != nil {
		return nil, err
	}
	var p message
	err = payload.Decode(body, &p)
	if errors.Is(err, payload.ErrShape) {
		payload.Salvage(body, &p)
		p = message{Initiator: p.Initiator, Action: p.Action} // half understood is not understood
	} else if err != nil {
		return nil, err
	}
	e := bellhop.Event{
		Type:       r.Header.Get(headerEvent),
		Action:     p.Action,
		DeliveryID: r.Header.Get(headerDelivery),
		Actor:      p.Initiator,
	}
	_, topic, _ := strings.Cut(strings.TrimPrefix(e.Type, "rm:"), ":") // rm:repository:asset is about an asset
	e.Reason = text.Camel(topic, strings.ToLower(p.Action))
	switch {
	case p.Component != nil:
		s.component(&e, &p)
	case p.Asset != nil:
		s.asset(&e, &p)
	case len(p.Components)+len(p.Assets) > 0:
		what := fmt.Sprintf("%d components", len(p.Components))
		if p.Components == nil {
			what = fmt.Sprintf("%d assets", len(p.Assets))
		}
		describe.Other(&e, what+p.done()+in(p.RepositoryName), "")
	case p.Repository != nil:
		describe.Other(&e, strings.TrimSpace(p.Repository.Type+" repository "+p.Repository.Name)+p.done(), "")
	case p.Audit != nil:
		e.Reason = text.Camel("audit", p.Audit.Domain, p.Audit.Type)
		describe.Other(&e, "audit: "+strings.Join(strings.Fields(p.Audit.Domain+" "+p.Audit.Type+" "+p.Audit.Context), " "), "")
	default:
		describe.Other(&e, strings.TrimSpace("Nexus event "+text.Words(e.Type))+p.done(), "")
	}
	return []bellhop.Event{e}, nil
}

func (s *source) component(e *bellhop.Event, p *message) {
	c := p.Component
	if c.Format == docker {
		e.Image = bellhop.Image{Name: image.Join(s.registryHost, c.Name), Tag: c.Version}
		if image.IsDigest(c.Version) {
			e.Image.Tag, e.Image.Digest = "", c.Version
		}
		switch p.Action {
		case "CREATED", "UPDATED":
			image.Pushed(e)
		case "DELETED", "PURGED":
			image.Deleted(e)
		default:
			image.Describe(e, cmp.Or(strings.ToLower(p.Action), "changed"))
		}
		return
	}
	e.Kind = bellhop.KindPackage
	name := image.Join(c.Group, c.Name)
	describe.Other(e, strings.Join(strings.Fields(c.Format+" "+name+" "+c.Version), " ")+p.done()+in(p.RepositoryName), "")
}

func (s *source) asset(e *bellhop.Event, p *message) {
	a := p.Asset
	if name, reference, ok := manifest(a.Name); ok && a.Format == docker {
		e.Image = bellhop.Image{Name: image.Join(s.registryHost, name), Tag: reference}
		if image.IsDigest(reference) {
			e.Image.Tag, e.Image.Digest = "", reference
		}
		switch p.Action {
		case "CREATED":
			image.Pushed(e)
		case "DELETED", "PURGED":
			image.Deleted(e)
		default:
			image.Describe(e, cmp.Or(strings.ToLower(p.Action), "changed"))
		}
		return
	}
	if a.Format != docker { // else a layer
		e.Kind = bellhop.KindPackage
	}
	describe.Other(e, strings.TrimSpace(a.Format+" asset "+a.Name)+p.done()+in(p.RepositoryName), "")
}

// manifest splits the path of an image's manifest: v2/team/app/manifests/1.0 is team/app and 1.0.
func manifest(path string) (name, reference string, ok bool) {
	name, ok = strings.CutPrefix(strings.TrimPrefix(path, "/"), "v2/")
	if !ok {
		return "", "", false
	}
	i := strings.LastIndex(name, "/manifests/")
	if i <= 0 {
		return "", "", false
	}
	return name[:i], name[i+len("/manifests/"):], true
}

// done is the action as it follows a noun.
func (p *message) done() string {
	if p.Action == "" {
		return ""
	}
	return " " + text.Words(strings.ToLower(p.Action))
}

func in(repository string) string {
	if repository == "" {
		return ""
	}
	return " in " + repository
}
