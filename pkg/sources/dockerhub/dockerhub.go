// Package dockerhub receives the webhooks of Docker Hub.
//
// At Docker Hub, open the repository, "Webhooks": the URL is the endpoint's hook URL; there is nothing else to
// fill in. Docker Hub signs nothing and carries no secret, so whoever knows the URL is believed. Keep it as
// you keep a password, and let the endpoint's auth name the networks that may post, where you know them.
//
// There is one event type, push, for one tag at a time. It tells neither a digest nor a delivery id; Docker
// Hub sends no ping.
//
// https://docs.docker.com/docker-hub/repos/manage/webhooks/
package dockerhub

import (
	"context"
	"errors"
	"net/http"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// Kind is the manifest.
var Kind = bellhop.Define("dockerhub", "Docker Hub: pushed image tags, known by the URL alone",
	Settings{}, func(bellhop.Setup, Settings) (bellhop.Source, error) { return source{}, nil },
	bellhop.Aliases{"docker-hub"},
	bellhop.SourceTraits{
		Verification: bellhop.ByPath,
		Sign:         func(bellhop.Secret, http.Header, []byte) {},
	})

// Settings of an endpoint: there are none.
type Settings struct{}

type source struct{}

// Verify believes everyone: Docker Hub carries no proof.
func (source) Verify(context.Context, *bellhop.Request) error { return nil }

// message: https://docs.docker.com/docker-hub/repos/manage/webhooks/#example-webhook-payload
type message struct {
	PushData struct {
		Pusher string `json:"pusher"`
		Tag    string `json:"tag"`
	} `json:"push_data"`
	Repository struct {
		RepoName string `json:"repo_name"` // owner/name; library/name for official images
		RepoURL  string `json:"repo_url"`
	} `json:"repository"`
}

// Parse makes one event of every request.
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
	if understood := err == nil && p.Repository.RepoName != ""; !understood {
		e := bellhop.Event{Reason: "Event"}
		describe.Other(&e, "Docker Hub event", "")
		return []bellhop.Event{e}, nil
	}
	e := bellhop.Event{
		Type:   "push",
		Kind:   bellhop.KindImagePush,
		Reason: "ImagePush",
		Actor:  p.PushData.Pusher,
		Image:  bellhop.Image{Name: "docker.io/" + p.Repository.RepoName, Tag: p.PushData.Tag},
		Link:   text.Web(p.Repository.RepoURL),
	}
	phrase := e.Image.String() + " pushed"
	if e.Actor != "" {
		e.Title = text.Line(phrase) + " by " + text.Line(e.Actor)
	}
	describe.Other(&e, phrase, "")
	return []bellhop.Event{e}, nil
}
