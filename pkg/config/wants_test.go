package config_test

import (
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
)

func TestWants(t *testing.T) {
	t.Parallel()
	const merged = "dev.cdevents.change.merged.0.2.0"
	for _, tc := range []struct {
		listed string
		event  bellhop.Event
		want   bool
	}{
		{"push", bellhop.Event{Type: "push"}, true},
		{"PUSH", bellhop.Event{Type: "push"}, true},
		{"push", bellhop.Event{Type: "pull_request"}, false},
		{"git.push", bellhop.Event{Type: "Push Hook", Kind: bellhop.KindGitPush}, true},
		{"pull_request.opened", bellhop.Event{Type: "pull_request", Action: "opened"}, true},
		{"pull_request.closed", bellhop.Event{Type: "pull_request", Action: "opened"}, false},
		{"pull_request.", bellhop.Event{Type: "pull_request"}, false},
		{"push", bellhop.Event{Type: "Push Hook"}, true},
		{"tag_push", bellhop.Event{Type: "Tag Push Hook"}, true},
		{"Tag Push Hook", bellhop.Event{Type: "Tag Push Hook"}, true},
		{merged, bellhop.Event{Type: merged}, true},
		{"dev.cdevents.change.merged", bellhop.Event{Type: merged}, true},
		{"Dev.CDEvents.change.merged", bellhop.Event{Type: merged}, true},
		{"dev.cdevents.change.merged.0.2", bellhop.Event{Type: merged}, true},
		{"dev.cdevents.change.merged.0.1.0", bellhop.Event{Type: merged}, false},
		{"dev.cdevents.change", bellhop.Event{Type: merged}, false},
		{"dev.cdevents.change.m", bellhop.Event{Type: merged}, false},
		{"dev.cdevents", bellhop.Event{Type: "dev.cdevents.1"}, false},
		{"com.example.build", bellhop.Event{Type: "com.example.build.1"}, false},
	} {
		ep := config.Endpoint{Events: []string{"other", tc.listed}}
		if ep.Wants(&tc.event) != tc.want {
			t.Errorf("%q and type %q, action %q, kind %q: want %t", tc.listed, tc.event.Type, tc.event.Action, tc.event.Kind, tc.want)
		}
	}
	if !(&config.Endpoint{}).Wants(&bellhop.Event{Type: "any"}) {
		t.Error("an endpoint that lists nothing does not want all")
	}
}
