// Package cdevents receives CDEvents, the common words of continuous delivery tools, as CloudEvents over HTTP.
//
// Give the tool the endpoint's hook URL as the address of an HTTP sink. Both modes of CloudEvents are understood:
// binary (ce-type, ce-id and ce-source in headers, the CDEvent in the body) and structured (content type
// application/cloudevents+json), one event a request. What headers or envelope say of a CDEvent's type, id and
// source has to be what its context says; a request that contradicts itself is answered 400.
//
// CDEvents define no proof of who sends, so whoever knows the URL is believed. Tools can often carry a bearer
// token, a header of their own or a client certificate, which the endpoint's auth asks for. A sender that asks for
// permission first, with OPTIONS, is given it.
//
// The event's type is the CDEvent's with its version, such as dev.cdevents.change.merged.0.2.0, its action the
// predicate, such as merged, its delivery id source and id. Every version of the specification is read; what is
// not there is left out. A change is a pull_request; a published artifact an image.push if its package URL is of a
// container image, else a package; runs, builds, tests and services are ci, an error if their outcome is;
// an incident is an alert. Custom events, and CloudEvents that are no CDEvents, are of kind other.
//
// https://cdevents.dev/docs/
// https://github.com/cdevents/spec/blob/main/cloudevents-binding.md
package cdevents

import (
	"context"
	"net/http"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Kind is the manifest.
var Kind = bellhop.Define("cdevents", "CDEvents of continuous delivery tools, as CloudEvents, known by the URL alone",
	Settings{}, func(bellhop.Setup, Settings) (bellhop.Source, error) { return source{}, nil },
	bellhop.SourceTraits{
		Verification: bellhop.ByPath,
		Sign:         func(bellhop.Secret, http.Header, []byte) {},
		EventHeader:  headerType,
		AsksFirst:    true,
	})

// Settings of an endpoint: there are none.
type Settings struct{}

type source struct{}

// Verify believes everyone: a CDEvent carries no proof.
func (source) Verify(context.Context, *bellhop.Request) error { return nil }
