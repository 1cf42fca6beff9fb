// Package image reads references of container images and finds the words for what became of one, so that a
// push reads the same whichever registry it comes from.
package image

import (
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// Most is how many images of one request get an event each. Of more, which no registry sends in earnest, there is
// one event of their repository.
const Most = 100

// shortDigest is how many hex digits of a digest a person is shown, as docker does.
const shortDigest = 12

// Parse splits host/name:tag@digest into its parts; a scheme in front is left out.
func Parse(reference string) bellhop.Image {
	if _, rest, ok := strings.Cut(reference, "://"); ok {
		reference = rest
	}
	name, digest, _ := strings.Cut(reference, "@")
	i := bellhop.Image{Name: name, Digest: digest}
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') { // else a port
		i.Name, i.Tag = name[:colon], name[colon+1:]
	}
	return i
}

// Join puts the parts of a name together, such as a registry's host and a repository; empty ones and slashes
// around them are left out.
func Join(parts ...string) string {
	var named []string
	for _, p := range parts {
		if p = strings.Trim(p, "/"); p != "" {
			named = append(named, p)
		}
	}
	return strings.Join(named, "/")
}

// IsDigest reports whether what a registry calls a tag is a digest.
func IsDigest(tag string) bool {
	return strings.HasPrefix(tag, "sha256:") || strings.HasPrefix(tag, "sha512:")
}

// Short is the image as a person wants to see it: with its tag, or without one with the beginning of its digest.
func Short(i bellhop.Image) string {
	switch algorithm, digits, ok := strings.Cut(i.Digest, ":"); {
	case i.Name == "":
		return "an image"
	case i.Tag != "":
		return i.Name + ":" + i.Tag
	case ok && len(digits) > shortDigest:
		return i.Name + "@" + algorithm + ":" + digits[:shortDigest]
	case i.Digest != "":
		return i.Name + "@" + i.Digest
	}
	return i.Name
}

// Pushed completes an event of which the Image is known, and the Actor and the Link if there are any. Without a
// name of the image it is of kind other: who acts on pushes acts on names.
func Pushed(e *bellhop.Event) {
	if e.Kind, e.Reason = bellhop.KindImagePush, "ImagePush"; e.Image.Name == "" {
		e.Kind = bellhop.KindOther
	}
	Describe(e, "pushed")
}

// Deleted is Pushed for an image that is gone.
func Deleted(e *bellhop.Event) {
	if e.Kind, e.Reason = bellhop.KindImageDelete, "ImageDelete"; e.Image.Name == "" {
		e.Kind = bellhop.KindOther
	}
	Describe(e, "deleted")
}

// Describe says that the image was so treated, in a past participle such as "pulled". It completes what is not
// set yet of Kind (other), Reason, Severity, Title and Message.
func Describe(e *bellhop.Event, deed string) {
	if e.Reason == "" {
		e.Reason = text.Camel("image", deed)
	}
	phrase := text.Line(Short(e.Image)) + " " + text.Line(deed)
	if e.Actor != "" && e.Title == "" {
		e.Title = phrase + " by " + text.Line(e.Actor)
	}
	describe.Other(e, phrase, "")
}
