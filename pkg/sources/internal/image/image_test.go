package image

import (
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for reference, want := range map[string]bellhop.Image{
		"":                               {},
		"alpine":                         {Name: "alpine"},
		"alpine:3.20":                    {Name: "alpine", Tag: "3.20"},
		"host.example/a/b:1.0":           {Name: "host.example/a/b", Tag: "1.0"},
		"host:5000/a/b":                  {Name: "host:5000/a/b"},
		"host:5000/a/b:1":                {Name: "host:5000/a/b", Tag: "1"},
		"host:5000/a@sha256:01":          {Name: "host:5000/a", Digest: "sha256:01"},
		"host/a:1@sha256:01":             {Name: "host/a", Tag: "1", Digest: "sha256:01"},
		"https://host:8443/a:1":          {Name: "host:8443/a", Tag: "1"},
		"host/a:":                        {Name: "host/a"},
		"@sha256:01":                     {Digest: "sha256:01"},
		"localhost/harbor/alpine@sha256": {Name: "localhost/harbor/alpine", Digest: "sha256"},
	} {
		if got := Parse(reference); got != want {
			t.Errorf("%q: %+v, want %+v", reference, got, want)
		}
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	for want, parts := range map[string][]string{
		"":                 {"", "/"},
		"name":             {"", "name"},
		"host:8082/a/name": {"host:8082/", "/a/name"},
	} {
		if got := Join(parts...); got != want {
			t.Errorf("%q: %q, want %q", parts, got, want)
		}
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct {
		describe             func(*bellhop.Event)
		event                bellhop.Event
		kind                 bellhop.EventKind
		reason, title, wants string
	}{
		{Pushed, bellhop.Event{Image: bellhop.Image{Name: "h/a", Tag: "1", Digest: digest}, Actor: "ann"}, bellhop.KindImagePush, "ImagePush", "h/a:1 pushed by ann", "**ann**: h/a:1 pushed"},
		{Pushed, bellhop.Event{Image: bellhop.Image{Name: "h/a", Digest: digest}, Link: "https://h/a"}, bellhop.KindImagePush, "ImagePush", "h/a@sha256:0123456789ab pushed", "[h/a@sha256:0123456789ab pushed](https://h/a)"},
		{Deleted, bellhop.Event{Image: bellhop.Image{Name: "h/a", Digest: "sha256:0"}}, bellhop.KindImageDelete, "ImageDelete", "h/a@sha256:0 deleted", "h/a@sha256:0 deleted"},
		{Pushed, bellhop.Event{}, bellhop.KindOther, "ImagePush", "an image pushed", "an image pushed"},
		{Deleted, bellhop.Event{Image: bellhop.Image{Tag: "1"}}, bellhop.KindOther, "ImageDelete", "an image deleted", "an image deleted"},
		{func(e *bellhop.Event) { Describe(e, "pulled") }, bellhop.Event{Image: bellhop.Image{Name: "h/*a*\nb"}}, bellhop.KindOther, "ImagePulled", "h/*a* pulled", `h/\*a\* pulled`},
	} {
		e := c.event
		c.describe(&e)
		if e.Kind != c.kind || e.Reason != c.reason || e.Title != c.title || e.Message != c.wants {
			t.Errorf("%+v: %s, %s, %q, %q; want %s, %s, %q, %q", c.event.Image, e.Kind, e.Reason, e.Title, e.Message, c.kind, c.reason, c.title, c.wants)
		}
	}
}
