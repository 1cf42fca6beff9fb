package route

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func TestMessage(t *testing.T) {
	t.Parallel()
	testData(t, "message-*.txtar", func(e *bellhop.Event, source string) string {
		m, err := CompileMessage(MessageSpec{Message: source})
		if err != nil {
			return "invalid: " + err.Error()
		}
		text := m.Apply(e).Message
		if text == e.Message {
			return "the default"
		}
		return strconv.Quote(text)
	})
}

func TestMessageProblemsNameTheirPart(t *testing.T) {
	t.Parallel()
	_, err := CompileMessage(MessageSpec{
		Title: "{{ .titel }}", Message: "{{ .a }}{{ .b }}", Link: "{{", Fields: []bellhop.Field{
			{Name: "fine", Value: "{{ .branch }}"}, {Name: " ", Value: "x"}, {Name: "wrong", Value: "{{ upcase .branch }}"},
		},
		Metadata:     map[string]string{"b": "{{", "a.b/c": "{{ .nope }}", " ": "x"},
		CommitStatus: &CommitStatusSpec{State: "done", Context: "{{ .nope }}", Description: "{{ .branch }}"},
	})
	var ps bellhop.Problems
	if !errors.As(err, &ps) {
		t.Fatalf("got %T %v", err, err)
	}
	var paths []string
	for _, p := range ps {
		paths = append(paths, p.Path)
		if p.Severity != bellhop.Fatal || p.File != "" || strings.Contains(p.Message, "\n") || strings.Contains(p.Message, "template:") {
			t.Errorf("%#v", p)
		}
	}
	if diff := cmp.Diff([]string{"title", "message", "message", "link", "fields[1].name", "fields[2].value",
		"metadata", "metadata.a.b/c", "metadata.b", "commitStatus.context", "commitStatus.state"}, paths); diff != "" {
		t.Error(diff)
	}
}

func TestNoMessageChangesNothing(t *testing.T) {
	t.Parallel()
	m, err := CompileMessage(MessageSpec{})
	if m != nil || err != nil {
		t.Fatalf("no overrides: got %v, %v", m, err)
	}
	e := &bellhop.Event{Title: "t"}
	if got := m.Apply(e); got != e {
		t.Error("an event was copied for nothing")
	}
}

func compileMessage(tb testing.TB, spec MessageSpec) *Message {
	tb.Helper()
	m, err := CompileMessage(spec)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func TestApply(t *testing.T) {
	t.Parallel()
	event := bellhop.Event{
		Title: "3 commits", Message: "- one\n- two", Link: "https://example.com/compare", Branch: "main",
		Metadata: map[string]string{"team": "shop"}, Raw: []byte(`{"n": [1], "js": "javascript:alert(1)"}`),
	}
	tests := []struct {
		name string
		spec MessageSpec
		want func(*bellhop.Event) // what changes
	}{
		{"all parts", MessageSpec{
			Title: "push to {{ .branch }}", Message: "**{{ .title }}**\n\n{{ .message }}", Link: "https://ci.example.com/{{ .branch }}",
			Fields: []bellhop.Field{{Name: "team", Value: "{{ .metadata.team }}"}},
		}, func(e *bellhop.Event) {
			e.Title, e.Message, e.Link = "push to main", "**3 commits**\n\n- one\n- two", "https://ci.example.com/main"
			e.Fields = []bellhop.Field{{Name: "team", Value: "shop"}}
		}},
		{"one part leaves the others", MessageSpec{Title: "x"}, func(e *bellhop.Event) { e.Title = "x" }},
		{"no facts", MessageSpec{Fields: []bellhop.Field{}}, func(e *bellhop.Event) { e.Fields = []bellhop.Field{} }},
		{"a blank field is left out", MessageSpec{Fields: []bellhop.Field{
			{Name: "tag", Value: "{{ .tag }}"}, {Name: "none", Value: ""}, {Name: "branch", Value: "{{ .branch }}"},
		}}, func(e *bellhop.Event) { e.Fields = []bellhop.Field{{Name: "branch", Value: "main"}} }},
		{"a blank part keeps its default", MessageSpec{Title: "{{ .tag }} ", Message: "\n\t", Link: "{{ .body.link }}"}, func(*bellhop.Event) {}},
		{"a title is one line", MessageSpec{Title: "a\n b\r\n\tc\x00\x1b[31m  d\u0085e"}, func(e *bellhop.Event) { e.Title = "a b c[31m de" }},
		{"a message has lines", MessageSpec{Message: "\n a\r\nb\tc\x00\x7f\n"}, func(e *bellhop.Event) { e.Message = "a\nb\tc" }},
		{"bytes that are no UTF-8", MessageSpec{Title: "a\xff\xfeb"}, func(e *bellhop.Event) { e.Title = "a\ufffd\ufffdb" }},
		{"a failure keeps the default and is told", MessageSpec{Title: "{{ index .body.n 7 }}", Link: "{{ .branch }}"}, func(e *bellhop.Event) {
			e.Message += "\n\n(route template failed: title: <index .body.n 7>: error calling index: index out of range: 7; link: it is no http or https URL)"
		}},
		{"a link is for browsers", MessageSpec{Message: "m", Link: "{{ .body.js }}"}, func(e *bellhop.Event) {
			e.Message = "m\n\n(route template failed: link: it is no http or https URL)"
		}},
		{"a field that fails", MessageSpec{Fields: []bellhop.Field{{Name: "n", Value: "{{ index .body.n 7 }}"}}}, func(e *bellhop.Event) {
			e.Fields = []bellhop.Field{}
			e.Message += "\n\n(route template failed: fields[0].value: <index .body.n 7>: error calling index: index out of range: 7)"
		}},
		{"metadata is added", MessageSpec{Metadata: map[string]string{"cluster": "prod", "summary": "{{ .branch }}\nmoved", "gone": "{{ .tag }}"}},
			func(e *bellhop.Event) {
				e.Metadata = map[string]string{"team": "shop", "cluster": "prod", "summary": "main\nmoved"}
			}},
		{"metadata wins over the event's", MessageSpec{Metadata: map[string]string{"team": "{{ .metadata.team | upper }}"}}, func(e *bellhop.Event) {
			e.Metadata = map[string]string{"team": "SHOP"}
		}},
		{"metadata that fails is told", MessageSpec{Metadata: map[string]string{"n": "{{ index .body.n 7 }}", "team": "{{ index .body.n 7 }}"}}, func(e *bellhop.Event) {
			e.Message += "\n\n(route template failed: metadata.n: <index .body.n 7>: error calling index: index out of range: 7; " +
				"metadata.team: <index .body.n 7>: error calling index: index out of range: 7)"
		}},
		{"a commit status with all defaults", MessageSpec{CommitStatus: &CommitStatusSpec{}}, func(e *bellhop.Event) {
			e.CommitStatus = &bellhop.CommitStatus{}
		}},
		{"a commit status", MessageSpec{CommitStatus: &CommitStatusSpec{State: ` {{ upper "pending" }} `, Context: "ci/{{ .branch }}", Description: "{{ .title }}\nso far"}},
			func(e *bellhop.Event) {
				e.CommitStatus = &bellhop.CommitStatus{State: bellhop.CommitPending, Context: "ci/main", Description: "3 commits so far"}
			}},
		{"a commit's state that is none", MessageSpec{CommitStatus: &CommitStatusSpec{State: "{{ .branch }}", Context: "ci"}}, func(e *bellhop.Event) {
			e.CommitStatus = &bellhop.CommitStatus{Context: "ci"}
			e.Message += "\n\n(route template failed: commitStatus.state: \"main\" is no state of a commit: write one of pending, success, failure, error)"
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			in, before, want := event, event, event
			test.want(&want)
			got := compileMessage(t, test.spec).Apply(&in)
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(before, in); diff != "" {
				t.Errorf("the event itself was changed:\n%s", diff)
			}
		})
	}
}

// However a template runs away, it ends, and its part keeps the default.
func TestRunawayTemplates(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]string{
		"rounds":        "{{ range 1000000000 }}{{ end }}",
		"nested rounds": "{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}",
		"doubling":      `{{ $s := "12345678" }}{{ range 60 }}{{ $s = print $s $s }}{{ end }}{{ $s }}`,
		"replacing":     `{{ $s := "12345678" }}{{ range 60 }}{{ $s = replace "1" "11111111" $s }}{{ end }}{{ $s }}`,
		"joining":       `{{ $s := "12345678" }}{{ range 60 }}{{ $s = split "" $s | join $s }}{{ end }}{{ $s }}`,
		"padding":       `{{ printf "%1000d" 1 }}`,
		"star":          `{{ printf "%*d" 100000 1 }}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := compileMessage(t, MessageSpec{Message: source}).Apply(&bellhop.Event{Message: "default"}).Message
			if !strings.HasPrefix(got, "default\n\n(route template failed: message: ") || len(got) > 1_000 {
				t.Errorf("got %.200q", got)
			}
		})
	}
}

func TestLongTextIsCut(t *testing.T) {
	t.Parallel()
	body := fmt.Appendf(nil, `{"text": "%s"}`, strings.Repeat("é", 1<<19)) // 1 MiB
	m := compileMessage(t, MessageSpec{Message: "x{{ .body.text }}"})
	got := m.Apply(&bellhop.Event{Raw: body}).Message
	if !strings.HasPrefix(got, "xé") || !strings.HasSuffix(got, "é…") || !utf8.ValidString(got) ||
		len(got) > maxRendered+len("…") || len(got) < maxRendered-4 {
		t.Errorf("got %d bytes, ending in %q", len(got), got[len(got)-8:])
	}
	if _, err := CompileMessage(MessageSpec{Title: strings.Repeat("x", maxTemplate+1)}); err == nil {
		t.Error("a template of any length compiles")
	}
}

// The body is decoded where it is mentioned, and only there.
func TestBodyIsDecodedOnDemand(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]bool{
		"{{ .title }}{{ event.branch }}{{ .metadata.body }}": false,
		"{{ with .repo }}{{ .name }}{{ end }}":               false,
		"{{ headers.Get `x` }}":                              false,
		"{{ .body.x }}":                                      true,
		"{{ body.x }}":                                       true,
		"{{ .event.body.x }}":                                true,
		"{{ $.body }}":                                       true,
		"{{ range .fields }}{{ $.event.body }}{{ end }}":     true,
		"{{ with event }}{{ .body }}{{ end }}":               true,
		"{{ json . }}":                                       true,
		"{{ json $ }}":                                       true,
		"{{ index .event `body` }}":                          true,
		"{{ (event).body }}":                                 true,
		"{{ $e := event }}{{ $e.body }}":                     true,
		"{{ if true }}{{ else if .body.x }}{{ end }}":        true,
	} {
		if m := compileMessage(t, MessageSpec{Title: source}); m.usesBody != want {
			t.Errorf("%s: got %v", source, m.usesBody)
		}
	}
}

// What templates see of an event is what its JSON shows.
func TestViewHasTheNamesOfTheJSON(t *testing.T) {
	t.Parallel()
	names := func(typ reflect.Type) (names []string) {
		for f := range typ.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "-" {
				names = append(names, name)
			}
		}
		return names
	}
	root := view(&bellhop.Event{}, false)
	for _, name := range names(reflect.TypeFor[bellhop.Event]()) {
		if _, ok := root[name]; !ok {
			t.Errorf("no %q", name)
		}
		if _, ok := rootShape.fields[name]; !ok {
			t.Errorf("no %q when templates are compiled", name)
		}
		if _, err := CompileCondition("event." + name + " == event." + name); err != nil {
			t.Errorf("no %q in conditions: %v", name, err)
		}
	}
	for _, name := range names(reflect.TypeFor[bellhop.Repo]()) {
		if _, ok := root["repo"].(map[string]any)[name]; !ok {
			t.Errorf("no repo.%s", name)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, s := range []string{
		"{{ .title }}", "{{ event.repo.name | upper | truncate 3 }}", "{{ range $i, $c := body.commits }}{{ $c }}{{ end }}",
		"{{ with .repo }}{{ .name }}{{ else with .body }}{{ . }}{{ end }}", "{{ define `x` }}{{ end }}", "{{ block `x` . }}{{ end }}",
		"{{ call .title }}", "{{ (event).title }}", "{{ _text . }}", "{{/* */}}", "{{ break }}", "\x00\"\n'\u202e</script>",
		"{{ .body | json | html }}", "{{ date `2006` .time }}", "{{ $x := body }}{{ $x.y }}",
		"{{ range 100000 }}{{ break }}{{ end }}", "{{ .time.Format `2006` }}", "{{ default `a` .tag }}{{ join `,` (split ` ` .title) }}",
	} {
		f.Add(s, "</script>\u202e\x00\"\n", `{"commits": ["</script>", {"a": 1}], "y": null}`)
	}
	f.Fuzz(func(t *testing.T, source, title, body string) {
		m, err := CompileMessage(MessageSpec{Title: source, Message: source, Link: source, Fields: []bellhop.Field{{Name: "f", Value: source}}})
		if err != nil {
			if _, ok := errors.AsType[bellhop.Problems](err); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		got := m.Apply(&bellhop.Event{
			Title: title, Message: "m", Time: time.Unix(0, 0), Metadata: map[string]string{"a": title},
			Headers: map[string]string{"X-A": title}, Raw: []byte(body),
		})
		if source == "" {
			return
		}
		if got.Title != title {
			if !utf8.ValidString(got.Title) || strings.ContainsAny(got.Title, "\x00\n\r\x1b") || got.Title == "" {
				t.Errorf("title %q", got.Title)
			}
		}
		if !utf8.ValidString(got.Message) || strings.ContainsAny(got.Message, "\x00\r\x1b") || len(got.Message) > maxRendered+4_000 {
			t.Errorf("message %q", got.Message)
		}
		if got.Link != "" && !strings.HasPrefix(got.Link, "http") {
			t.Errorf("link %q", got.Link)
		}
	})
}

func BenchmarkApply(b *testing.B) {
	for name, source := range map[string]string{
		"event": "{{ .actor }} pushed to {{ .repo.name }} {{ .branch }}",
		"body":  "{{ range .body.commits }}{{ .id | short }} {{ .message | firstLine | truncate 72 }}{{ end }}",
	} {
		b.Run(name, func(b *testing.B) {
			m := compileMessage(b, MessageSpec{Title: source})
			b.ReportAllocs()
			for b.Loop() {
				m.Apply(benchmarkEvent)
			}
		})
	}
}
