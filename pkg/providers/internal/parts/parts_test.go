package parts_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/markup"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/parts"
)

var plain = markup.Plain(httpsend.Runes.Len)

func TestTitle(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]bellhop.Event{
		"a b":          {Title: " a\n\tb "},
		"other from x": {Title: " \n", Kind: bellhop.KindOther, Endpoint: "x"},
		"alert from":   {Kind: bellhop.KindAlert},
	} {
		if got := parts.Title(&e); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestLink(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://x.example/a(b)": "https://x.example/a%28b%29",
		"mailto:a@x.example":     "",
		"javascript:alert(1)":    "",
		"":                       "",
	} {
		if got := parts.Link(&bellhop.Event{Link: in}); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestFacts(t *testing.T) {
	t.Parallel()
	fields := []bellhop.Field{{Name: "a", Value: "1"}, {}, {Name: "b"}, {Value: "3"}, {Name: "long", Value: "0123456789abcdef"}, {Name: "c", Value: "4"}}
	for _, tc := range []struct {
		name   string
		limits parts.Limits
		want   []bellhop.Field
		hidden int
	}{
		{"all", parts.Limits{Count: 9, Name: 9, Value: 99, Total: 99}, []bellhop.Field{fields[0], fields[2], fields[3], fields[4], fields[5]}, 0},
		{"three", parts.Limits{Count: 3, Name: 9, Value: 99, Total: 99}, []bellhop.Field{fields[0], fields[2], fields[3]}, 2},
		{"short", parts.Limits{Count: 9, Name: 3, Value: 5, Total: 99}, []bellhop.Field{fields[0], fields[2], fields[3], {Name: "lo…", Value: "0123…"}, fields[5]}, 0},
		{"little room", parts.Limits{Count: 9, Name: 9, Value: 99, Total: 12}, []bellhop.Field{fields[0], fields[2], fields[3]}, 2},
	} {
		got, hidden := parts.Facts(&bellhop.Event{Fields: fields}, plain, tc.limits)
		if !slices.Equal(got, tc.want) || hidden != tc.hidden {
			t.Errorf("%s: %v and %d hidden, want %v and %d", tc.name, got, hidden, tc.want, tc.hidden)
		}
	}
}

// An address among the facts is a link while it fits; a torn one leads elsewhere.
func TestFactThatIsAnAddress(t *testing.T) {
	t.Parallel()
	d := *plain
	d.Escape = markup.Backslashes("_", "")
	d.Link = func(url, _ string) string { return "<" + url + ">" }
	for in, want := range map[string]string{
		"https://x.example/a_b": "<https://x.example/a_b>",
		"a_b":                   `a\_b`,
		"mailto:a_b@x.example":  `mailto:a\_b@x.example`,
		"https://x.example/" + strings.Repeat("x", 99): "https://x.example/" + strings.Repeat("x", 21) + "…",
	} {
		got, _ := parts.Facts(&bellhop.Event{Fields: []bellhop.Field{{Name: "n", Value: in}}}, &d, parts.Limits{Count: 1, Name: 9, Value: 40, Total: 99})
		if len(got) != 1 || got[0].Value != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	at := time.Unix(1, 0)
	for _, tc := range []struct {
		e      bellhop.Event
		when   string
		hidden int
		want   string
	}{
		{bellhop.Event{}, "now", 0, "Bellhop"},
		{bellhop.Event{Source: "github", Endpoint: "app", Time: at}, "", 0, "github · app"},
		{bellhop.Event{Source: "github", Endpoint: "app", Time: at}, "now", 2, "github · app · now · … and 2 more facts"},
	} {
		if got := parts.Origin(&tc.e, plain, tc.when, tc.hidden); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}

func TestSubject(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]bellhop.Event{
		"o/r#7":                      {Repo: bellhop.Repo{Name: "o/r"}, PullRequest: bellhop.PullRequest{Number: 7}},
		"o/r":                        {Repo: bellhop.Repo{Name: "o/r"}, Image: bellhop.Image{Name: "i"}},
		"quay.io/o/i":                {Image: bellhop.Image{Name: "quay.io/o/i", Tag: "1"}},
		"Kustomization/apps/podinfo": {InvolvedObject: bellhop.ObjectReference{Kind: "Kustomization", Namespace: "apps", Name: "podinfo"}},
		"":                           {},
	} {
		if got := parts.Subject(&e); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
