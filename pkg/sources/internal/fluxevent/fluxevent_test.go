package fluxevent

import (
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func TestSetRevision(t *testing.T) {
	t.Parallel()
	const hash = "6c8a85a5ab953874c7c83d50317359a0e5a352a9"
	for revision, want := range map[string]bellhop.Event{
		"main@sha1:" + hash:             {Branch: "main", Commit: hash},
		"feature/x@sha1:" + hash:        {Branch: "feature/x", Commit: hash},
		"sha1:" + hash:                  {Commit: hash},
		"HEAD/" + hash:                  {Commit: hash},
		hash:                            {Commit: hash},
		"feature/x/" + hash:             {Branch: "feature/x", Commit: hash},
		"v1.8.0/" + hash:                {Tag: "v1.8.0", Commit: hash},
		"1.8.0-rc.1@sha1:" + hash:       {Tag: "1.8.0-rc.1", Commit: hash},
		"v1@sha1:" + hash:               {Branch: "v1", Commit: hash},
		"release-1.8@sha1:" + hash:      {Branch: "release-1.8", Commit: hash},
		"refs/tags/stable@sha1:" + hash: {Ref: "refs/tags/stable", Tag: "stable", Commit: hash},
		"refs/heads/main@sha1:" + hash:  {Ref: "refs/heads/main", Branch: "main", Commit: hash},
		"refs/pull/7/head@sha1:" + hash: {Ref: "refs/pull/7/head", Commit: hash},
		"latest@sha256:" + hash:         {},
		"6.5.0":                         {},
		"main@sha1:" + hash[:7]:         {},
		"main/":                         {},
		"":                              {},
	} {
		var got bellhop.Event
		ok := setRevision(&got, revision)
		if got.Branch != want.Branch || got.Tag != want.Tag || got.Ref != want.Ref || got.Commit != want.Commit || ok != (want.Commit != "") {
			t.Errorf("%q: branch %q, tag %q, ref %q, commit %q, %v", revision, got.Branch, got.Tag, got.Ref, got.Commit, ok)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]string{
		"HealthCheckFailed": "health check failed", "OCIPullFailed": "OCI pull failed", "PullFromOCI": "pull from OCI",
		"Progressing": "progressing", "info": "info", "": "", "A": "a", "some_thing": "some thing", "ArtifactUpToDate": "artifact up to date",
	} {
		if got := words(reason); got != want {
			t.Errorf("%q is %q, want %q", reason, got, want)
		}
	}
}
