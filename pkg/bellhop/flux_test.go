package bellhop_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func TestFluxObject(t *testing.T) {
	t.Parallel()
	commit := "0123456789abcdef0123456789abcdef01234567"
	at := time.Date(2026, 1, 2, 3, 4, 5, 678, time.FixedZone("", 3600))
	endpoint := bellhop.ObjectReference{APIVersion: "bellhop.dev/v1", Kind: "Endpoint", Name: "app"}
	for _, tc := range []struct {
		name string
		in   bellhop.Event
		want bellhop.FluxEvent
	}{
		{
			"nothing known",
			bellhop.Event{Endpoint: "app", Time: at, Kind: bellhop.KindOther, Title: "t"},
			bellhop.FluxEvent{InvolvedObject: endpoint, Severity: bellhop.Info, Timestamp: at.UTC().Truncate(time.Second),
				Message: "t", Reason: "Other", ReportingController: "bellhop", ReportingInstance: "bellhop/app"},
		}, {
			"a tag",
			bellhop.Event{Endpoint: "app", Time: at, Kind: bellhop.KindPullRequest, Title: "t", Message: "m", Severity: bellhop.Error,
				Tag: "v1", Commit: commit, PullRequest: bellhop.PullRequest{Number: 7}, Metadata: map[string]string{"tag": "own"}},
			bellhop.FluxEvent{InvolvedObject: endpoint, Severity: bellhop.Error, Timestamp: at.UTC().Truncate(time.Second),
				Message: "t\nm", Reason: "PullRequest", ReportingController: "bellhop", ReportingInstance: "bellhop/app",
				Metadata: map[string]string{"tag": "own", "commit": commit, "revision": "v1@sha1:" + commit, "pullRequest": "7"}},
		}, {
			"an image",
			bellhop.Event{Endpoint: "app", Time: at, Kind: bellhop.KindImagePush, Message: "m",
				Image: bellhop.Image{Name: "quay.io/o/r", Tag: "v1", Digest: "sha256:aa"}},
			bellhop.FluxEvent{InvolvedObject: endpoint, Severity: bellhop.Info, Timestamp: at.UTC().Truncate(time.Second),
				Message: "m", Reason: "ImagePush", ReportingController: "bellhop", ReportingInstance: "bellhop/app",
				Metadata: map[string]string{"image": "quay.io/o/r:v1", "digest": "sha256:aa"}},
		}, {
			"of Flux, its time in the body",
			bellhop.Event{Endpoint: "app", Time: at, Kind: bellhop.KindFlux, Title: "not Flux's", Message: "m", Reason: "r",
				InvolvedObject: bellhop.ObjectReference{APIVersion: "a.b/v1", Kind: "K", Name: "n"}, ReportingController: "c",
				Metadata: map[string]string{"a.b/x": "1", "event.toolkit.fluxcd.io/x": "2", "x": "3", "event.toolkit.fluxcd.io/y": "4", "a.b/": "5"},
				Raw:      []byte(`{"timestamp":"2025-01-01T00:00:00Z"}`)},
			bellhop.FluxEvent{InvolvedObject: bellhop.ObjectReference{APIVersion: "a.b/v1", Kind: "K", Name: "n"}, Severity: bellhop.Info,
				Timestamp: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), Message: "m", Reason: "r", ReportingController: "c",
				Metadata: map[string]string{"x": "1", "y": "4"}},
		},
	} {
		if diff := cmp.Diff(tc.want, tc.in.FluxObject()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}
