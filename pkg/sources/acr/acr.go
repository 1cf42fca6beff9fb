// Package acr receives the webhooks of Azure Container Registry.
//
// At Azure, open the registry, "Services", "Webhooks", "Add": the service URI is the endpoint's hook URL. Azure signs
// nothing, but sends the custom headers that you write: with auth: {header: X-Key} at the endpoint, the custom header
// is "X-Key: " and the content of the endpoint's key. Without it, whoever knows the URL is believed.
//
// The event's type is Azure's action: push and delete for images, chart_push and chart_delete for Helm charts of
// the old kind, which are events of kind package, and quarantine. The delivery id is the event's. A deletion of a
// whole repository has neither tag nor digest; deleting a tag alone is not told. "Ping" in the portal, az acr webhook
// ping on the command line, is answered "pong".
//
// https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference
package acr

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/image"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// Kind is the manifest.
var Kind = bellhop.Define("acr", "Azure Container Registry: pushed and deleted images and charts, known by the URL and a header",
	Settings{}, func(bellhop.Setup, Settings) (bellhop.Source, error) { return source{}, nil },
	bellhop.SourceTraits{
		Verification: bellhop.ByPath,
		Sign:         func(bellhop.Secret, http.Header, []byte) {},
	})

// Settings of an endpoint: there are none.
type Settings struct{}

type source struct{}

// Verify believes everyone: the custom header, if any, is for the endpoint's auth.
func (source) Verify(context.Context, *bellhop.Request) error { return nil }

// message: https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference#push-event-payload
type message struct {
	ID     string `json:"id"`
	Action string `json:"action"`
	Target struct {
		Repository string `json:"repository"`
		Tag        string `json:"tag"`
		Digest     string `json:"digest"`
		Name       string `json:"name"` // of a chart
		Version    string `json:"version"`
	} `json:"target"`
	Request struct {
		Host string `json:"host"` // myregistry.azurecr.io; charts have no request
	} `json:"request"`
	Actor struct {
		Name string `json:"name"`
	} `json:"actor"`
}

// Parse makes one event of every request.
func (source) Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	body, err := payload.JSON(r)
	if err != nil {
		return nil, err
	}
	var p message
	err = payload.Decode(body, &p)
	if errors.Is(err, payload.ErrShape) {
		payload.Salvage(body, &p)
		p = message{ID: p.ID, Action: p.Action} // half understood is not understood
	} else if err != nil {
		return nil, err
	}
	e := bellhop.Event{Type: p.Action, DeliveryID: p.ID, Actor: p.Actor.Name, Reason: text.Camel(p.Action)}
	if p.Target.Repository != "" {
		e.Image = bellhop.Image{Name: image.Join(p.Request.Host, p.Target.Repository), Tag: p.Target.Tag, Digest: p.Target.Digest}
	}
	switch {
	case p.Action == "ping":
		e.Kind = bellhop.KindPing
		describe.Other(&e, "ping", "")
	case p.Action == "chart_push":
		p.chart(&e, "pushed")
	case p.Action == "chart_delete":
		p.chart(&e, "deleted")
	case p.Target.Repository == "":
		describe.Other(&e, strings.TrimSpace("Azure Container Registry event "+text.Words(p.Action)), "")
	case p.Action == "push":
		image.Pushed(&e)
	case p.Action == "delete":
		image.Deleted(&e)
	case p.Action == "quarantine":
		image.Describe(&e, "quarantined")
	default:
		image.Describe(&e, cmp.Or(text.Words(p.Action), "changed"))
	}
	return []bellhop.Event{e}, nil
}

// chart is a chart of the registry's Helm repository: no image, but with the coordinates of one.
func (p *message) chart(e *bellhop.Event, deed string) {
	e.Kind = bellhop.KindPackage
	name := p.Target.Tag
	if p.Target.Name != "" {
		name = p.Target.Name + " " + strings.TrimSuffix(p.Target.Version, ".tgz")
	}
	e.Image = bellhop.Image{}
	describe.Other(e, strings.Join(strings.Fields("chart "+name), " ")+" "+deed, "")
}
