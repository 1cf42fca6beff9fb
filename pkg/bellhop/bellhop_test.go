package bellhop_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func TestSecretIsNeverSeen(t *testing.T) {
	t.Parallel()
	const canary = "c4nary-value"
	s := bellhop.NewSecret([]byte(canary))
	type holder struct{ S bellhop.Secret }
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p", "%U"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", holder{s})
		fmt.Fprintf(&out, verb+"\n", []bellhop.Secret{s})
	}
	fmt.Fprintln(&out, s, holder{s})
	j, err := json.Marshal(map[string]any{"s": s, "h": holder{s}, "p": &s})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "s", s, "h", holder{s})
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "s", s, "h", holder{s})
	out.WriteString(fmt.Errorf("with %v: %w", s, io.EOF).Error())
	for _, leak := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprint([]byte(canary))} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("printed the secret as %q", leak)
		}
	}
	if !strings.Contains(out.String(), `"s":"<secret>"`) {
		t.Error("does not print <secret>")
	}
	if got := string(s.Reveal()); got != canary {
		t.Errorf("Reveal is %q", got)
	}
}

func TestSecretEqual(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		secret, got string
		want        bool
	}{
		{"", "", false}, // an unset key must not let an unset header in
		{"", "x", false},
		{"x", "", false},
		{"abc", "abd", false},
		{"abc", "abcd", false},
		{"abc\n", "abc", false},
		{"abc", "abc", true},
	} {
		if got := bellhop.NewSecret([]byte(tc.secret)).Equal([]byte(tc.got)); got != tc.want {
			t.Errorf("%q Equal %q is %v", tc.secret, tc.got, got)
		}
	}
	if (bellhop.Secret{}).Equal(nil) {
		t.Error("the zero secret equals nil")
	}
}

func TestSecretVariants(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]string{
		"key":     {"key"},
		"key\n":   {"key\n", "key"},
		"key\r\n": {"key\r\n", "key"},
		"key\n\n": {"key\n\n", "key\n"}, // one break is an editor's, two are meant
		"\n":      {"\n"},
		" key ":   {" key "},
	} {
		var got []string
		for _, v := range bellhop.NewSecret([]byte(in)).Variants() {
			got = append(got, string(v.Reveal()))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", in, diff)
		}
	}
}

// The vectors were computed with sha256sum over the key file (and the host, where there is one).
func TestFingerprint(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ key, host, want string }{
		{"s3cret-key", "", "817b823905cc7853f381992575a9041fcdb17fc70e776707abfb4d7c59ecbf3f"},
		{"s3cret-key\n", "", "d0ae269272ee2d429eaf89f6b77ba43ca3111f813659368e51fa9294ebead94b"},
		{"s3cret-key", "nexus.example:8082", "91a895e1126b50e02a926d3efb9280e6fd496118d015106d03b514d09657ab6c"},
	} {
		if got := bellhop.NewSecret([]byte(tc.key)).Fingerprint(tc.host); got != tc.want {
			t.Errorf("%q + %q: %s", tc.key, tc.host, got)
		}
	}
}

func TestErrorsMeanOneThing(t *testing.T) {
	t.Parallel()
	base := errors.New("base")
	for _, tc := range []struct {
		name                         string
		err                          error
		permanent, paused, stopping_ bool
	}{
		{"plain", base, false, false, false},
		{"permanent", fmt.Errorf("sending: %w", bellhop.Permanent(base)), true, false, false},
		{"pause", fmt.Errorf("sending: %w", bellhop.RetryAfter(time.Minute, base)), false, true, false},
		{"pause without a cause", bellhop.RetryAfter(time.Minute, nil), false, true, false},
		{"stopping", fmt.Errorf("sending: %w", bellhop.ErrStopping), false, false, true},
		{"cancelled", fmt.Errorf("sending: %w", context.Canceled), false, false, true},
		{"timed out", context.DeadlineExceeded, false, false, false},
		{"nil", nil, false, false, false},
	} {
		_, paused := bellhop.RetryDelay(tc.err)
		if bellhop.IsPermanent(tc.err) != tc.permanent || paused != tc.paused || bellhop.IsStopping(tc.err) != tc.stopping_ {
			t.Errorf("%s: permanent %v, paused %v, stopping %v", tc.name, bellhop.IsPermanent(tc.err), paused, bellhop.IsStopping(tc.err))
		}
	}
	if bellhop.Permanent(nil) != nil {
		t.Error("Permanent(nil) is an error")
	}
	if d, _ := bellhop.RetryDelay(bellhop.RetryAfter(-time.Second, base)); d != 0 {
		t.Errorf("a negative delay is %v", d)
	}
	if err := bellhop.Permanent(base); !errors.Is(err, base) || err.Error() != "base" {
		t.Errorf("Permanent hides its cause: %v", err)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]bellhop.Problem{
		"c.yaml:3:5: providers[0].type: unknown": {File: "c.yaml", Line: 3, Col: 5, Path: "providers[0].type", Message: "unknown"},
		"c.yaml:3:1: unknown":                    {File: "c.yaml", Line: 3, Message: "unknown"},
		"c.yaml: warning: empty":                 {File: "c.yaml", Severity: bellhop.Warning, Message: "empty"},
		"channel: missing":                       bellhop.Wrong("channel", "missing"),
	} {
		if got := p.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	joined := errors.Join(bellhop.Wrong("a", "one"), fmt.Errorf("two"), bellhop.Problems{bellhop.Doubtful("b", "three")})
	got := bellhop.AsProblems(joined)
	if len(got) != 3 || len(got.Fatal()) != 2 || len(got.Warnings()) != 1 {
		t.Errorf("AsProblems: %v", got)
	}
	if bellhop.AsProblems(nil) != nil || got.Warnings().Err() != nil || got.Err() == nil {
		t.Error("warnings alone must not be an error, and a fatal one must")
	}
}

func TestUnits(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bellhop.Size{"0": 0, "512": 512, "1kB": 1000, "25MiB": 25 << 20, "1.5 GiB": 3 << 29, "7B": 7} {
		var s bellhop.Size
		if err := s.UnmarshalText([]byte(in)); err != nil || s != want {
			t.Errorf("%q: %d, %v", in, s, err)
		}
	}
	for _, in := range []string{"", "-1", "MiB", "1XB", "1e30TiB", "NaN", "Inf", "+Inf", "1 2"} {
		var s bellhop.Size
		if err := s.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("size %q is accepted as %d", in, s)
		}
	}
	for in, want := range map[string]float64{"1/s": 1, "30/m": .5, "30 / min": .5, "3600/h": 1, "0.5/s": .5} {
		var r bellhop.Rate
		if err := r.UnmarshalText([]byte(in)); err != nil || r.PerSecond() != want || !r.Limited() {
			t.Errorf("%q: %v, %v", in, r, err)
		}
	}
	for _, in := range []string{"", "1", "0/s", "-1/s", "1/y", "/s", "1/s/s", "NaN/s", "Inf/s"} {
		var r bellhop.Rate
		if err := r.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("rate %q is accepted as %v", in, r)
		}
	}
	if (bellhop.Rate{}).Limited() || bellhop.Size(25<<20).String() != "25MiB" || bellhop.Size(1001).String() != "1001" {
		t.Error("zero rate limits, or sizes print otherwise")
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"keyPath", "keyPaths", "events", "when", "to", "startsWith"}
	for word, want := range map[string]string{
		"keypath": "keyPath", "keyPth": "keyPath", "keyPahts": "keyPaths", "event": "events", "whne": "when", "ot": "to",
		"starswith": "startsWith", "colour": "", "channel": "", "": "", strings.Repeat("k", 1000): "",
	} {
		if got, ok := bellhop.Nearest(word, known); got != want || ok != (want != "") {
			t.Errorf("Nearest(%.20q) = %q, want %q", word, got, want)
		}
	}
}

func TestEventJSON(t *testing.T) {
	t.Parallel()
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
	for _, tc := range []struct {
		name, raw, want string
		headers         map[string]string
	}{
		{"JSON", `{"a": 1}`, `{"a":1}`, nil},
		{"array", `[1]`, `[1]`, nil},
		{"text", `hello "you"`, `"hello \"you\""`, nil},
		{"no UTF-8", "a\xff", "\"a\uFFFD\"", nil},
		{"JSON, no UTF-8", "{\"a\":\"\xff\"}", "{\"a\":\"\uFFFD\"}", nil},
		{"nothing", "", ``, nil},
		{"form", "x=1&payload=%7B%22a%22%3A1%7D", `{"a":1}`, form},
		{"form without payload", "x=1", ``, form},
		{"broken form", "payload=%zz", ``, form},
	} {
		e := bellhop.Event{ID: "1", Raw: []byte(tc.raw), Headers: tc.headers}
		b, err := e.JSON()
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		var got struct {
			ID   string          `json:"id"`
			Body json.RawMessage `json:"body"`
		}
		if err := json.Unmarshal(b, &got); err != nil {
			t.Errorf("%s: %v in %s", tc.name, err, b)
			continue
		}
		if s := strings.ReplaceAll(string(got.Body), " ", ""); got.ID != "1" || s != strings.ReplaceAll(tc.want, " ", "") {
			t.Errorf("%s: body %s, want %s", tc.name, got.Body, tc.want)
		}
	}
}

func TestFacts(t *testing.T) {
	t.Parallel()
	e := bellhop.Event{
		Repo: bellhop.Repo{Name: "o/r"}, Branch: "main", Commit: "abc", Actor: "me",
		Image:       bellhop.Image{Name: "docker.io/o/i", Tag: "1", Digest: "sha256:0"},
		PullRequest: bellhop.PullRequest{Number: 7, Title: "Mend"},
		Metadata:    map[string]string{"z": "1", "b": "2"},
	}
	want := []bellhop.Field{
		{Name: "repository", Value: "o/r"}, {Name: "branch", Value: "main"}, {Name: "commit", Value: "abc"},
		{Name: "image", Value: "docker.io/o/i:1@sha256:0"}, {Name: "pull request", Value: "#7 Mend"},
		{Name: "actor", Value: "me"}, {Name: "b", Value: "2"}, {Name: "z", Value: "1"},
	}
	if diff := cmp.Diff(want, e.Facts()); diff != "" {
		t.Error(diff)
	}
	e.Fields = []bellhop.Field{}
	if got := e.Facts(); len(got) != 0 {
		t.Errorf("an empty override shows %v", got)
	}
}

type settings struct{ A string }

func TestDefine(t *testing.T) {
	t.Parallel()
	build := func(s bellhop.Setup, v settings) (bellhop.Provider, error) {
		if v.A == "bad" {
			return nil, bellhop.Wrong("a", "is bad")
		}
		return provider{v.A}, nil
	}
	k := bellhop.Define("thing", "A thing.", settings{A: "default"}, build, bellhop.Aliases{"Thingy"}, bellhop.ProviderTraits{Rate: bellhop.Rate{Events: 1, Per: time.Second}})
	decode := func(to string) func(any) error {
		return func(v any) error { v.(*settings).A = to; return nil }
	}
	if p, err := k.Build(bellhop.Setup{}); err != nil || p.(provider).a != "default" {
		t.Errorf("defaults: %v, %v", p, err)
	}
	if p, err := k.Build(bellhop.Setup{Decode: decode("x")}); err != nil || p.(provider).a != "x" {
		t.Errorf("decoded: %v, %v", p, err)
	}
	if p, err := k.Build(bellhop.Setup{}); err != nil || p.(provider).a != "default" {
		t.Errorf("a build changed the defaults: %v, %v", p, err)
	}
	if _, err := k.Build(bellhop.Setup{Decode: decode("bad")}); err == nil {
		t.Error("bad settings build")
	}
	boom := errors.New("boom")
	if _, err := k.Build(bellhop.Setup{Decode: func(any) error { return boom }}); !errors.Is(err, boom) {
		t.Errorf("decode's error is lost: %v", err)
	}
	c := bellhop.Catalog{Providers: []bellhop.Kind[bellhop.Provider]{k}}
	for _, name := range []string{"thing", "THING", "thingy"} {
		if got, ok := c.Provider(name); !ok || got.Name != "thing" || !got.Provider.Rate.Limited() {
			t.Errorf("%q is not found", name)
		}
	}
	if _, ok := c.Provider("thin"); ok {
		t.Error("a prefix is found")
	}
	defer func() {
		if recover() == nil {
			t.Error("an unknown trait is taken")
		}
	}()
	bellhop.Define("x", "", settings{}, build, "nonsense")
}

type provider struct{ a string }

func (provider) Send(context.Context, *bellhop.Event) error { return nil }
