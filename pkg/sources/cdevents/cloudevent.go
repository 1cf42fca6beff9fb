package cdevents

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// The headers of the binary mode, in the case of net/http.
//
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
const (
	headerID      = "Ce-Id"
	headerSource  = "Ce-Source"
	headerType    = "Ce-Type"
	headerSubject = "Ce-Subject"
)

// The content types of CloudEvents that bring their attributes in the body.
const (
	structured = "application/cloudevents+json"
	batch      = "application/cloudevents-batch+json"
)

// attributes are what a CloudEvent says of itself, in headers or in an envelope. Together, ID and Source are
// unique.
type attributes struct {
	ID      string `json:"id"`
	Source  string `json:"source"`
	Type    string `json:"type"`
	Subject string `json:"subject"`
}

// Parse makes one event of every request.
func (source) Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	outer, data, err := open(r)
	if err != nil {
		return nil, err
	}
	var m message
	misshapen := false
	if data != nil {
		if err := payload.Decode(data, &m); errors.Is(err, payload.ErrShape) {
			misshapen = true
			payload.Salvage(data, &m)
		} else if err != nil {
			return nil, err
		}
	}
	if !isCDEvent(outer.Type) && !isCDEvent(m.Context.Type) {
		return []bellhop.Event{outer.event()}, nil
	}
	if err := outer.agree(&m.Context); err != nil {
		return nil, err
	}
	if misshapen { // half understood is not understood
		return []bellhop.Event{m.Context.event()}, nil
	}
	return []bellhop.Event{m.event()}, nil
}

// open takes a CloudEvent apart. The data is nil if it is not JSON; the attributes are empty where a CDEvent comes
// without a CloudEvent around it.
func open(r *bellhop.Request) (a attributes, data []byte, err error) {
	switch payload.MediaType(r) {
	case batch:
		return a, nil, fmt.Errorf("content type %q: let the sender post one event a request", batch)
	case structured:
		var e struct {
			attributes
			Data jsontext.Value `json:"data"`
		}
		if err := payload.Decode(r.Body, &e); errors.Is(err, payload.ErrShape) {
			payload.Salvage(r.Body, &e)
		} else if err != nil {
			return a, nil, err
		}
		return e.attributes, e.Data, nil
	}
	a = attributes{
		ID:      r.Header.Get(headerID),
		Source:  r.Header.Get(headerSource),
		Type:    r.Header.Get(headerType),
		Subject: r.Header.Get(headerSubject),
	}
	data, err = payload.JSON(r)
	if err != nil && a.Type != "" && !isCDEvent(a.Type) {
		return a, nil, nil // a CloudEvent may be of anything
	}
	return a, data, err
}

// agree holds the attributes against what the CDEvent says of itself. What was left out contradicts nothing.
func (a *attributes) agree(c *attributes) error {
	for _, pair := range []struct{ name, outer, inner string }{
		{"type", a.Type, c.Type}, {"id", a.ID, c.ID}, {"source", a.Source, c.Source},
	} {
		if pair.outer == "" || pair.outer == pair.inner {
			continue
		}
		// Headers are percent-encoded; not every sender knows.
		if decoded, err := url.PathUnescape(pair.outer); err == nil && decoded == pair.inner {
			continue
		}
		return fmt.Errorf("reading the event: the CloudEvent's %s %q is not the CDEvent's %q; let the sender send one event under one name",
			pair.name, text.Line(pair.outer), text.Line(pair.inner))
	}
	return nil
}

// deliveryID is what is unique, empty if the sender told no id.
func (a *attributes) deliveryID() string {
	if a.ID == "" {
		return ""
	}
	return strings.TrimSpace(a.Source + " " + a.ID)
}

// event is a CloudEvent of which no more is known than its attributes.
func (a *attributes) event() bellhop.Event {
	e := bellhop.Event{Type: a.Type, DeliveryID: a.deliveryID(), Reason: text.Camel(a.Type)}
	phrase := cmp.Or(text.Line(a.Type), "event")
	if isCDEvent(a.Type) {
		subject, predicate := split(a.Type)
		e.Action, e.Reason = predicate, text.Camel(noun(subject), predicate)
		phrase = noun(subject) + " " + text.Words(predicate)
	}
	if subject := text.Line(a.Subject); subject != "" {
		phrase += ": " + subject
	}
	describe.Other(&e, phrase, "")
	return e
}
