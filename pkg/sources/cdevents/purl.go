package cdevents

import (
	"cmp"
	"net/url"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/image"
)

// packaged is the container image that a package URL names, empty if it names none.
//
//	pkg:oci/debian@sha256%3A244f…?repository_url=docker.io/library/debian&tag=bookworm
//	pkg:docker/library/debian@bookworm?repository_url=registry.example
//
// https://github.com/package-url/purl-spec/blob/main/types-doc/oci-definition.md
// https://github.com/package-url/purl-spec/blob/main/types-doc/docker-definition.md
func packaged(purl string) bellhop.Image {
	rest, ok := strings.CutPrefix(purl, "pkg:")
	if !ok {
		return bellhop.Image{}
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	kind, rest, _ := strings.Cut(strings.Trim(rest, "/"), "/")
	name, version := rest, ""
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		name, version = rest[:at], decoded(rest[at+1:])
	}
	name = decoded(name)
	qualifiers, err := url.ParseQuery(query)
	if err != nil || name == "" {
		return bellhop.Image{}
	}
	repository := strings.Trim(qualifiers.Get("repository_url"), "/")
	if _, after, ok := strings.Cut(repository, "://"); ok {
		repository = after
	}
	i := bellhop.Image{Name: name, Tag: qualifiers.Get("tag")}
	switch strings.ToLower(kind) {
	case "oci": // the repository is the whole name, with the registry's host
		if repository != "" {
			i.Name = repository
		}
	case "docker": // the repository is the registry
		if !strings.Contains(name, "/") && repository == "" {
			name = "library/" + name
		}
		i.Name = image.Join(cmp.Or(repository, "docker.io"), name)
	default:
		return bellhop.Image{}
	}
	if image.IsDigest(version) {
		i.Digest = version
	} else if i.Tag == "" {
		i.Tag = version
	}
	return i
}

// decoded is s without percent encoding, or s if that is broken.
func decoded(s string) string {
	if d, err := url.PathUnescape(s); err == nil {
		return d
	}
	return s
}
