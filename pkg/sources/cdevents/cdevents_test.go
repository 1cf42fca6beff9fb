package cdevents

import (
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
)

func TestSource(t *testing.T) { t.Parallel(); bellhoptest.RunSource(t, Kind) }

func TestFixtures(t *testing.T) { bellhoptest.RunFixtures(t, Kind, "cdevents/*", "") }

func FuzzParse(f *testing.F) { bellhoptest.FuzzParse(f, Kind) }

func TestPackaged(t *testing.T) {
	t.Parallel()
	const digest = "sha256:244fd47e07d1004f0aed9c156aa09083c82bf8944eceb67c946ff7430510a77b"
	for purl, want := range map[string]bellhop.Image{
		"pkg:oci/debian@sha256%3A244fd47e07d1004f0aed9c156aa09083c82bf8944eceb67c946ff7430510a77b?repository_url=ghcr.io/debian&tag=bookworm": {
			Name: "ghcr.io/debian", Tag: "bookworm", Digest: digest,
		},
		"pkg:oci/debian@" + digest:                                       {Name: "debian", Digest: digest},
		"pkg:oci/debian?repository_url=https%3A%2F%2Fghcr.io%2Forg%2Fd/": {Name: "ghcr.io/org/d"},
		"pkg:docker/cassandra@4":                                         {Name: "docker.io/library/cassandra", Tag: "4"},
		"pkg:docker/team/app@" + digest + "?repository_url=gcr.io":       {Name: "gcr.io/team/app", Digest: digest},
		"PKG:oci/debian":                                                 {},
		"pkg:oci/":                                                       {},
		"pkg:oci":                                                        {},
		"pkg:oci/debian?tag=%zz":                                         {},
		"pkg:golang/mygit.com/myorg/app@234":                             {},
		"docker.io/library/debian":                                       {},
		"":                                                               {},
	} {
		if got := packaged(purl); got != want {
			t.Errorf("%q is %+v, want %+v", purl, got, want)
		}
	}
}
